#version 450
#extension GL_GOOGLE_include_directive : require
/* y[t][o] = (sum_c W[o][c] x[t][c]) scale + what stands behind      x: int8 with a scale for each row (Q8), or f32 */
#include "common.glsl"
#define BEHIND
#include "gemm.glsl"
#include "weights.glsl"
#ifdef Q8
layout(set = 0, binding = 0) readonly buffer B0 { uint q[]; };
#else
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
#endif
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float scales[]; };
layout(set = 0, binding = 3) writeonly buffer B3 { float y[]; };

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
        ta[l % 16][l / 16] = i < window() && k < n ? x[at(0) + i * n + k] : 0.0;
    }
#endif
}

void fill_b(uint k0, uint j0)
{
    uint n = push.in_cols[0], l = gl_LocalInvocationIndex, j = j0 + l / 2, from = l % 2 * 8;
    uint word = j < push.out_cols ? w[at(1) + j * words_of(n) + k0 / 16] : 0x55555555;
    float scale = has(ONE_SCALE) || j >= push.out_cols ? 1.0 : scales[at(2) + j * ((n + 255) / 256) + k0 / 256];
    [[unroll]] for (uint e = 0; e < 8; e++) {
        tb[from + e][l / 2] = code(word, from + e) * scale;
    }
}

void put(uint i, uint j, float v, float more)
{
    float scale = has(ONE_SCALE) ? scales[at(2)] : 1.0;
#ifdef Q8
    scale *= uintBitsToFloat(q[at(0) + push.extra[0] + push.first + i]);
#endif
    y[at(3) + i * push.out_cols + j] = v * scale + more;
}

void main()
{
    gemm(window(), push.out_cols, push.in_cols[0]);
}
