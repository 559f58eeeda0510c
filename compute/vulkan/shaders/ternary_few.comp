#version 450
#extension GL_GOOGLE_include_directive : require
#ifdef DOT8
#extension GL_EXT_integer_dot_product : require
#endif
/* y[t][o] = (sum_c W[o][c] q[t][c]) s scale[t] + what stands behind, for at most four rows t: a word of weights is read once for all.
 * q: int8 with a scale for each row; s: the weights' one scale. A work group does four columns o, 16 invocations share each sum,
 * whose parts are whole numbers: exact. */
#include "common.glsl"
#include "weights.glsl"
#include "behind.glsl"
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) readonly buffer B0 { uint q[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float scales[]; };
layout(set = 0, binding = 3) writeonly buffer B3 { float y[]; };

#ifdef DOT8
#define SUM int
#else
#define SUM float
#endif

const uint ROWS = 4, COLS = 4, SHARES = 16;

shared SUM sums[ROWS][COLS * SHARES];
shared float mores[ROWS][COLS * SHARES];

/* The products of four of a word's codes, from the first on, with four int8. */
SUM four_products(uint codes, uint four)
{
#ifdef DOT8
    return dotPacked4x8EXT(int(bytes_of(codes)), int(four));
#else
    float sum = 0.0;
    [[unroll]] for (int i = 0; i < 4; i++) {
        sum += code(codes, uint(i)) * float(bitfieldExtract(int(four), 8 * i, 8));
    }
    return sum;
#endif
}

void main()
{
    uint l = gl_LocalInvocationIndex, o = gl_WorkGroupID.x * COLS + l / SHARES, share = l % SHARES, rows = window();
    uint words = words_of(push.in_cols[0]), q_words = (push.in_cols[0] + 63) / 64 * 16;
    SUM acc[ROWS];
    float more[ROWS];
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        acc[t] = SUM(0);
        more[t] = 0.0;
    }
    for (uint k = share; k < words && o < push.out_cols; k += SHARES) {
        uint word = w[at(1) + o * words + k];
        [[unroll]] for (uint b = 0; b < 4; b++) {
            [[unroll]] for (uint t = 0; t < ROWS; t++) {
                if (t < rows) {
                    acc[t] += four_products(word >> 8 * b, q[at(0) + (push.first + t) * q_words + 4 * k + b]);
                }
            }
        }
    }
    for (uint r = share; r < push.extra[1]; r += SHARES) {
        float v = behind_b(r, o);
        [[unroll]] for (uint t = 0; t < ROWS; t++) {
            more[t] += behind_u(t, r) * v;
        }
    }
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        sums[t][l] = acc[t];
        mores[t][l] = more[t];
    }
    barrier();
    uint t = l / COLS;
    o = gl_WorkGroupID.x * COLS + l % COLS;
    if (t < rows && o < push.out_cols) {
        SUM sum = SUM(0);
        float also = 0.0;
        for (uint i = 0; i < SHARES; i++) {
            sum += sums[t][l % COLS * SHARES + i];
            also += mores[t][l % COLS * SHARES + i];
        }
        float scale = scales[at(2)] * uintBitsToFloat(q[at(0) + push.extra[0] + push.first + t]);
        y[at(3) + t * push.out_cols + o] = float(sum) * scale + push.scale * also;
    }
}
