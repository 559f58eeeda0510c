#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_ballot : require
/* y[t][o] = (sum_c W[o][c] q[t][c]) s scale[t], or BACK: dx[t][c] (+)= (sum_o W[o][c] q[t][o]) s scale[t]
 * and what stands behind. q: int8 with a scale for each row; s: the weights' one scale. For a processor that plays a GPU with 8 lanes:
 * there a load takes as long as tens of products. A subgroup does 16 rows by 128 columns, 16 columns to a lane, without shared
 * memory; words of rows are loaded by one lane and read by all. Two rows are summed in one integer, S + 65536 S' with |S| at most
 * 127 x 256, which is then taken apart: sums are exact. */
#include "common.glsl"
#include "weights.glsl"
#include "behind.glsl"
layout(local_size_x = 8) in;
layout(set = 0, binding = 0) readonly buffer B0 { uint q[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float scales[]; };
layout(set = 0, binding = 3) buffer B3 { float y[]; };

const uint ROWS = 16, COLS = 16, PAIRS = ROWS / 2;

int pairs[PAIRS][COLS];
int sums[ROWS][COLS];
int even, odd; /* four columns of this lane's two rows */

/* For each pair of rows p, of which lane p has something: lanes that are read must be constants. */
#define FOR_PAIRS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

void add_pair(uint p, int x, int weights[COLS])
{
    [[unroll]] for (uint c = 0; c < COLS; c++) {
        pairs[p][c] += x * weights[c];
    }
}

/* The next of the four columns. */
void add_products(int weights[COLS])
{
    int both = bitfieldExtract(even, 0, 8) + (bitfieldExtract(odd, 0, 8) << 16);
    even >>= 8;
    odd >>= 8;
#define ADD_PAIR(p) add_pair(p, subgroupBroadcast(both, p), weights);
    FOR_PAIRS(ADD_PAIR)
}

void take_apart()
{
    [[unroll]] for (uint p = 0; p < PAIRS; p++) {
        [[unroll]] for (uint c = 0; c < COLS; c++) {
            int low = bitfieldExtract(pairs[p][c], 0, 16);
            sums[2 * p][c] += low;
            sums[2 * p + 1][c] += (pairs[p][c] - low) >> 16;
            pairs[p][c] = 0;
        }
    }
}

void multiply(uint i0, uint j0)
{
    uint l = gl_SubgroupInvocationID, n = push.in_cols[0], words = (n + 63) / 64 * 16, last = window() - 1;
    uint at_even = at(0) + (push.first + min(i0 + 2 * l, last)) * words;
    uint at_odd = at(0) + (push.first + min(i0 + 2 * l + 1, last)) * words;
    int weights[COLS];
#ifdef BACK
    /* what is behind the last row of W meets zeroes of q */
    uint width = words_of(push.out_cols), column = at(1) + min(j0 / 16, width - 1), k_words = (n + 3) / 4;
    for (uint from = 0; from < k_words; from += 64) {
        for (uint k = from; k < min(from + 64, k_words); k++) {
            even = int(q[at_even + k]);
            odd = int(q[at_odd + k]);
            for (uint b = 0; b < 4; b++) {
                uint word = w[column + min(k * 4 + b, n - 1) * width];
                [[unroll]] for (uint c = 0; c < COLS; c++) {
                    weights[c] = int(word >> 2 * c & 3) - 1;
                }
                add_products(weights);
            }
        }
        take_apart();
    }
#else
    uint width = words_of(n), row[COLS];
    for (uint from = 0; from < width; from += 16) {
        for (uint k = from; k < min(from + 16, width); k++) {
            [[unroll]] for (uint c = 0; c < COLS; c++) {
                row[c] = w[at(1) + min(j0 + c, push.out_cols - 1) * width + k];
            }
            for (uint b = 0; b < 16; b++) {
                if (b % 4 == 0) {
                    even = int(q[at_even + k * 4 + b / 4]);
                    odd = int(q[at_odd + k * 4 + b / 4]);
                }
                [[unroll]] for (uint c = 0; c < COLS; c++) {
                    weights[c] = int(row[c] & 3) - 1;
                    row[c] >>= 2;
                }
                add_products(weights);
            }
        }
        take_apart();
    }
#endif
}

void main()
{
    uint l = gl_SubgroupInvocationID, i0 = gl_WorkGroupID.y * ROWS, j0 = (gl_WorkGroupID.x * 8 + l) * COLS, last = window() - 1;
    float more[ROWS][COLS], factors[COLS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        [[unroll]] for (uint c = 0; c < COLS; c++) {
            pairs[r / 2][c] = sums[r][c] = 0;
            more[r][c] = 0.0;
        }
    }
    multiply(i0, j0);
    for (uint r = 0; r < push.extra[1]; r++) {
        float u = behind_u(i0 + 2 * l, r), v = behind_u(i0 + 2 * l + 1, r);
        [[unroll]] for (uint c = 0; c < COLS; c++) {
            factors[c] = behind_b(r, j0 + c);
        }
#define ADD_MORE(p)                                                                                                    \
    [[unroll]] for (uint c = 0; c < COLS; c++) {                                                                       \
        more[2 * p][c] += subgroupBroadcast(u, p) * factors[c];                                                        \
        more[2 * p + 1][c] += subgroupBroadcast(v, p) * factors[c];                                                    \
    }
        FOR_PAIRS(ADD_MORE)
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint i = i0 + r;
        float scale = scales[at(2)] * uintBitsToFloat(q[at(0) + push.extra[0] + push.first + min(i, last)]);
        [[unroll]] for (uint c = 0; c < COLS; c++) {
            uint j = j0 + c, at_ = at(3) + i * push.out_cols + j;
            if (i <= last && j < push.out_cols) {
                float sum = float(sums[r][c]) * scale + push.scale * more[r][c];
                y[at_] = has(ADD) ? y[at_] + sum : sum;
            }
        }
    }
}
