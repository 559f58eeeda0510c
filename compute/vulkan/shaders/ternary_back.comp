#version 450
#extension GL_GOOGLE_include_directive : require
/* dx[t][c] (+)= (sum_o W[o][c] dy[t][o]) scale + what stands behind      dy: int8 with a scale for each row (Q8), or f32 */
#include "common.glsl"
#define BEHIND
#define BACK
#include "gemm.glsl"
#include "weights.glsl"
#ifdef Q8
layout(set = 0, binding = 0) readonly buffer B0 { uint q[]; };
#else
layout(set = 0, binding = 0) readonly buffer B0 { float dy[]; };
#endif
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float scales[]; };
layout(set = 0, binding = 3) buffer B3 { float dx[]; };

void fill_a(uint i0, uint k0)
{
    uint n = push.in_cols[0];
#ifdef Q8
    uint words = (n + 63) / 64 * 16;
    [[unroll]] for (uint e = 0; e < 2; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, i = i0 + l / 4, k = l % 4;
        int four = i < window() ? int(q[at(0) + (push.first + i) * words + k0 / 4 + k]) : 0;
        [[unroll]] for (int b = 0; b < 4; b++) {
            ta[k * 4 + b][l / 4] = float(bitfieldExtract(four, 8 * b, 8));
        }
    }
#else
    [[unroll]] for (uint e = 0; e < 8; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, i = i0 + l / 16, k = k0 + l % 16;
        ta[l % 16][l / 16] = i < window() && k < n ? dy[at(0) + i * n + k] : 0.0;
    }
#endif
}

void fill_b(uint k0, uint j0)
{
    uint l = gl_LocalInvocationIndex, k = k0 + l / 8, word_ = j0 / 16 + l % 8 / 2, from = l % 2 * 8;
    bool there = k < push.in_cols[0] && word_ < words_of(push.out_cols);
    uint word = there ? w[at(1) + k * words_of(push.out_cols) + word_] : 0x55555555;
    float scale =
        has(ONE_SCALE) || !there ? 1.0 : scales[at(2) + k * ((push.out_cols + 255) / 256) + word_ / 16];
    [[unroll]] for (uint e = 0; e < 8; e++) {
        tb[l / 8][(l % 8 / 2) * 16 + from + e] = code(word, from + e) * scale;
    }
}

void put(uint i, uint j, float v, float more)
{
    uint at_ = at(3) + i * push.out_cols + j;
    float scale = has(ONE_SCALE) ? scales[at(2)] : 1.0;
#ifdef Q8
    scale *= uintBitsToFloat(q[at(0) + push.extra[0] + push.first + i]);
#endif
    v = v * scale + more;
    dx[at_] = has(ADD) ? dx[at_] + v : v;
}

void main()
{
    gemm(window(), push.out_cols, push.in_cols[0]);
}
