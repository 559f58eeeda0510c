#version 450
#extension GL_GOOGLE_include_directive : require
/* c = a + b */
#include "common.glsl"
#include "cells.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float a[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float b[]; };
layout(set = 0, binding = 2) writeonly buffer B2 { float c[]; };

void main()
{
    if (row_() < window() && column() < push.out_cols) {
        uint i = row_() * push.out_cols + column();
        c[at(2) + i] = a[at(0) + i] + b[at(1) + i];
    }
}
