#version 450
#extension GL_GOOGLE_include_directive : require
/* dx[t][c] (+)= scale sum_o dy[t][o] W[o][c]      o in the window of W's rows
 * SOFTMAX: dy are a tile's exponentials, and what dx held shrinks to the new maximum first: state[t] of take_in.comp */
#include "common.glsl"
#include "gemm.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float dy[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) buffer B2 { float dx[]; };
#ifdef SOFTMAX
layout(set = 0, binding = 3) readonly buffer B3 { vec4 state[]; };
#endif

void fill_a(uint i0, uint k0)
{
    [[unroll]] for (uint e = 0; e < 8; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, i = i0 + l / 16, k = k0 + l % 16;
        ta[l % 16][l / 16] = i < window() && k < push.table_count ? dy[at(0) + i * push.in_cols[0] + k] : 0.0;
    }
}

void fill_b(uint k0, uint j0)
{
    uint n = push.out_cols;
    [[unroll]] for (uint e = 0; e < 8; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, k = k0 + l / 64, j = j0 + l % 64, i = k * n + j;
        float v = 0.0;
        if (k < push.table_count && j < n) {
            v = has(HALF) ? unpackHalf2x16(w[at(1) + i / 2])[i % 2] : uintBitsToFloat(w[at(1) + i]);
        }
        tb[l / 64][l % 64] = v;
    }
}

void put(uint i, uint j, float v)
{
    uint at_ = at(2) + i * push.out_cols + j;
#ifdef SOFTMAX
    dx[at_] = has(FIRST) ? v : dx[at_] * state[i].w + v;
#else
    v *= push.scale;
    dx[at_] = has(ADD) ? dx[at_] + v : v;
#endif
}

void main()
{
    gemm(window(), push.out_cols, push.table_count);
}
