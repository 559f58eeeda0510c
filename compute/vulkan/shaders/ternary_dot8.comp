#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_integer_dot_product : require
/* y[t][o] = (sum_c W[o][c] q[t][c]) s scale[t], or BACK: dx[t][c] (+)= (sum_o W[o][c] q[t][o]) s scale[t]
 * and what stands behind. q: int8 with a scale for each row; s: the weights' one scale. Four products at a time, sums are exact. */
#include "common.glsl"
#define SUM int
#define CELL int
#define MULTIPLY(sum, a, b) sum += dotPacked4x8EXT(a, b)
#define TO_CELL(v) floatBitsToInt(v)
#define OF_CELL(v) intBitsToFloat(v)
#define BEHIND
#include "gemm.glsl"
#include "weights.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { uint q[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float scales[]; };
layout(set = 0, binding = 3) buffer B3 { float y[]; };

/* k counts words of four here and below */
void fill_a(uint i0, uint k0)
{
    uint words = (push.in_cols[0] + 63) / 64 * 16;
    [[unroll]] for (uint e = 0; e < 8; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, i = i0 + l / 16;
        ta[l % 16][l / 16] = i < window() ? int(q[at(0) + (push.first + i) * words + k0 + l % 16]) : 0;
    }
}

#ifdef BACK
/* Half a word of codes in each of four rows: eight columns of four. */
void fill_b(uint k0, uint j0)
{
    uint l = gl_LocalInvocationIndex, k = l / 8, word = j0 / 16 + l % 8 / 2, from = l % 2 * 8;
    uint rows[4];
    [[unroll]] for (uint r = 0; r < 4; r++) {
        uint o = (k0 + k) * 4 + r;
        bool there = o < push.in_cols[0] && word < words_of(push.out_cols);
        rows[r] = (there ? w[at(1) + o * words_of(push.out_cols) + word] : NOTHING) >> 2 * from;
    }
    [[unroll]] for (uint c = 0; c < 8; c++) {
        uint four = rows[0] & 3 | (rows[1] & 3) << 8 | (rows[2] & 3) << 16 | (rows[3] & 3) << 24;
        tb[k][(l % 8 / 2) * 16 + from + c] = int(signed_bytes(four));
        [[unroll]] for (uint r = 0; r < 4; r++) {
            rows[r] >>= 2;
        }
    }
}
#else
void fill_b(uint k0, uint j0)
{
    uint words = words_of(push.in_cols[0]);
    [[unroll]] for (uint e = 0; e < 2; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, j = j0 + l / 4, word_ = k0 / 4 + l % 4;
        uint word = j < push.out_cols && word_ < words ? w[at(1) + j * words + word_] : NOTHING;
        [[unroll]] for (uint b = 0; b < 4; b++) {
            tb[l % 4 * 4 + b][l / 4] = int(bytes_of(word >> 8 * b));
        }
    }
}
#endif

void put(uint i, uint j, int v, float more)
{
    uint at_ = at(3) + i * push.out_cols + j;
    float scaled = float(v) * (scales[at(2)] * uintBitsToFloat(q[at(0) + push.extra[0] + push.first + i])) + more;
    y[at_] = has(ADD) ? y[at_] + scaled : scaled;
}

void main()
{
    gemm(window(), push.out_cols, (push.in_cols[0] + 3) / 4);
}
