#version 450
#extension GL_GOOGLE_include_directive : require
/* y[t][from + o] (+)= scale sum_c x[t][c] W[o][c]      o in the window of W's rows, which begins at column `from` = extra[0] of y */
#include "common.glsl"
#include "gemm.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) buffer B2 { float y[]; };

void fill_a(uint i0, uint k0)
{
    uint n = push.in_cols[0];
    [[unroll]] for (uint e = 0; e < 8; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, i = i0 + l / 16, k = k0 + l % 16;
        ta[l % 16][l / 16] = i < window() && k < n ? x[at(0) + i * n + k] : 0.0;
    }
}

void fill_b(uint k0, uint j0)
{
    uint n = push.in_cols[0];
    [[unroll]] for (uint e = 0; e < 8; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, j = j0 + l / 16, k = k0 + l % 16, i = j * n + k;
        float v = 0.0;
        if (j < push.table_count && k < n) {
            v = has(HALF) ? unpackHalf2x16(w[at(1) + i / 2])[i % 2] : uintBitsToFloat(w[at(1) + i]);
        }
        tb[l % 16][l / 16] = v;
    }
}

void put(uint i, uint j, float v)
{
    uint at_ = at(2) + i * push.out_cols + push.extra[0] + j;
    v *= push.scale;
    y[at_] = has(ADD) ? y[at_] + v : v;
}

void main()
{
    gemm(window(), push.table_count, push.in_cols[0]);
}
