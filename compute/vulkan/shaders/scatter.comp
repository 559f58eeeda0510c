#version 450
#extension GL_GOOGLE_include_directive : require
/* dx[rows[i]] (+)= dy[i]; rows that nobody names are zero, or as they were. Rows may repeat: each of ours looks for its own. */
#include "common.glsl"
#include "cells.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float dy[]; };
layout(set = 0, binding = 1) readonly buffer B1 { int rows[]; };
layout(set = 0, binding = 2) buffer B2 { float dx[]; };

void main()
{
    if (row_() >= window() || column() >= push.out_cols) {
        return;
    }
    uint n = push.out_cols, i = at(2) + row_() * n + column();
    float sum = has(ADD) ? dx[i] : 0.0;
    for (uint k = 0; k < today(push.in_rows[0]); k++) {
        if (uint(rows[at(1) + k]) == push.first + row_()) {
            sum += dy[at(0) + k * n + column()];
        }
    }
    dx[i] = sum;
}
