#version 450
#extension GL_GOOGLE_include_directive : require
/* b (+)= a */
#include "common.glsl"
#include "cells.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float a[]; };
layout(set = 0, binding = 1) buffer B1 { float b[]; };

void main()
{
    if (row_() < window() && column() < push.out_cols) {
        uint i = row_() * push.out_cols + column();
        b[at(1) + i] = has(ADD) ? b[at(1) + i] + a[at(0) + i] : a[at(0) + i];
    }
}
