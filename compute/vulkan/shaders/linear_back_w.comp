#version 450
#extension GL_GOOGLE_include_directive : require
/* dW[o][c] (+)= scale sum_t dy[t][o] x[t][c] */
#include "common.glsl"
#include "gemm.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float dy[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float x[]; };
layout(set = 0, binding = 2) buffer B2 { float dw[]; };

void fill_a(uint i0, uint k0)
{
    uint n = push.out_rows;
    [[unroll]] for (uint e = 0; e < 8; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, k = k0 + l / 64, i = i0 + l % 64;
        ta[l / 64][l % 64] = k < window() && i < n ? dy[at(0) + k * n + i] : 0.0;
    }
}

void fill_b(uint k0, uint j0)
{
    uint n = push.out_cols;
    [[unroll]] for (uint e = 0; e < 8; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, k = k0 + l / 64, j = j0 + l % 64;
        tb[l / 64][l % 64] = k < window() && j < n ? x[at(1) + k * n + j] : 0.0;
    }
}

void put(uint i, uint j, float v)
{
    uint at_ = at(2) + i * push.out_cols + j;
    v *= push.scale;
    dw[at_] = has(ADD) ? dw[at_] + v : v;
}

void main()
{
    gemm(push.out_rows, push.out_cols, window());
}
