#version 450
#extension GL_GOOGLE_include_directive : require
/* cache[rows[t]] = x[t] */
#include "common.glsl"
#include "cells.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
layout(set = 0, binding = 1) readonly buffer B1 { int rows[]; };
layout(set = 0, binding = 2) writeonly buffer B2 { float cache[]; };

void main()
{
    if (row_() < window() && column() < push.out_cols) {
        uint n = push.out_cols;
        cache[at(2) + uint(rows[at(1) + row_()]) * n + column()] = x[at(0) + row_() * n + column()];
    }
}
