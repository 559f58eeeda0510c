#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#pragma use_vulkan_memory_model
/* y[t][o] = (sum_c W[o][c] q[t][c]) s scale[t], or BACK: dx[t][c] (+)= (sum_o W[o][c] q[t][o]) s scale[t]
 * and what stands behind. q: int8 with a scale for each row; s: the weights' one scale. By cooperative matrices (M, K) by (K, N) of int8 into int32, or
 * HALF_: of f16 into f32, in which both are exact. A work group is SUBGROUPS subgroups for a tile of TILE x TILE. */
#include "common.glsl"
#include "weights.glsl"
#include "behind.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 128;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(constant_id = 4) const uint TILE = 64;
layout(set = 0, binding = 0) readonly buffer B0 { uint q[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float scales[]; };
layout(set = 0, binding = 3) buffer B3 { float y[]; };

#ifdef HALF_
#define CELL float16_t
#define SUM float
const uint TO_WORD = 2;
#else
#define CELL int8_t
#define SUM int
const uint TO_WORD = 4;
#endif

const uint SUBGROUPS = 4, DEEP = 16 * TO_WORD; /* of k at a time: 16 words of a row */
const uint LA = 16 + 4;                        /* words from row to row: rows begin in different banks */
#ifdef BACK
const uint LB = TILE / TO_WORD + 4, ROWS_B = DEEP; /* a row for each k */
#else
const uint LB = LA, ROWS_B = TILE; /* a row for each column */
#endif
/* How subgroups share the tile's results: DOWN of them below each other, each with ROWS x COLS. */
const uint DOWN = TILE / M < 2 ? 1 : TILE / N < 2 ? SUBGROUPS : 2;
const uint ROWS = TILE / M / DOWN, COLS = TILE / N / (SUBGROUPS / DOWN);

shared uint ta[TILE * LA], tb[ROWS_B * LB];
shared SUM results[SUBGROUPS * M * N];

void fill_a(uint i0, uint k0)
{
    uint words = (push.in_cols[0] + 63) / 64 * 16;
    for (uint e = gl_LocalInvocationIndex; e < TILE * DEEP / 4; e += WG) {
        uint i = e / (DEEP / 4), k = e % (DEEP / 4);
        int four = i0 + i < window() ? int(q[at(0) + (push.first + i0 + i) * words + k0 / 4 + k]) : 0;
#ifdef HALF_
        ta[i * LA + 2 * k] = packHalf2x16(vec2(bitfieldExtract(four, 0, 8), bitfieldExtract(four, 8, 8)));
        ta[i * LA + 2 * k + 1] = packHalf2x16(vec2(bitfieldExtract(four, 16, 8), bitfieldExtract(four, 24, 8)));
#else
        ta[i * LA + k] = uint(four);
#endif
    }
}

/* A word of codes becomes 16 / TO_WORD words. */
void fill_b(uint k0, uint j0)
{
#ifdef BACK
    uint per_row = TILE / 16, words = words_of(push.out_cols), n_rows = push.in_cols[0], row0 = k0, word0 = j0 / 16;
#else
    uint per_row = DEEP / 16, words = words_of(push.in_cols[0]), n_rows = push.out_cols, row0 = j0, word0 = k0 / 16;
#endif
    for (uint e = gl_LocalInvocationIndex; e < ROWS_B * per_row; e += WG) {
        uint row_ = e / per_row, word_ = e % per_row, to = row_ * LB + word_ * (16 / TO_WORD);
        bool there = row0 + row_ < n_rows && word0 + word_ < words;
        uint word = there ? w[at(1) + (row0 + row_) * words + word0 + word_] : NOTHING;
        [[unroll]] for (uint b = 0; b < 16 / TO_WORD; b++) {
#ifdef HALF_
            tb[to + b] = packHalf2x16(vec2(code(word, 2 * b), code(word, 2 * b + 1)));
#else
            tb[to + b] = bytes_of(word >> 8 * b);
#endif
        }
    }
}

const uint SOME = 16; /* of what stands behind at a time: what fits into the tiles */

/* u's part to ta[i][r], b's to tb[r][j] */
void fill_behind(uint i0, uint j0, uint r0)
{
    for (uint e = gl_LocalInvocationIndex; e < TILE * SOME; e += WG) {
        ta[e / SOME * LA + e % SOME] = floatBitsToUint(behind_u(i0 + e / SOME, r0 + e % SOME));
#ifdef BACK
        tb[e] = floatBitsToUint(behind_b(r0 + e / TILE, j0 + e % TILE));
#else
        tb[e % SOME * TILE + e / SOME] = floatBitsToUint(behind_b(r0 + e % SOME, j0 + e / SOME));
#endif
    }
}

/* A subgroup's M x N at (in_i, in_j) of the tile: the product, by way of its place in shared memory, and SOME of what stands behind,
 * the first of it for r0 = 0. */
void put(uint i0, uint j0, uint in_i, uint in_j, uint r0)
{
    float scale = scales[at(2)];
    for (uint e = gl_SubgroupInvocationID; e < M * N; e += gl_SubgroupSize) {
        uint ti = in_i + e / N, tj = in_j + e % N, i = i0 + ti, j = j0 + tj, at_ = at(3) + i * push.out_cols + j;
        if (i < window() && j < push.out_cols) {
            float v = 0.0, more = 0.0;
            if (r0 == 0) {
                v = float(results[gl_SubgroupID * M * N + e]);
                v *= scale * uintBitsToFloat(q[at(0) + push.extra[0] + push.first + i]);
            }
            for (uint r = 0; r < min(SOME, push.extra[1] - r0); r++) {
                more += uintBitsToFloat(ta[ti * LA + r]) * uintBitsToFloat(tb[r * TILE + tj]);
            }
            v += push.scale * more;
            y[at_] = has(ADD) || r0 > 0 ? y[at_] + v : v;
        }
    }
}

void main()
{
    uint i0 = gl_WorkGroupID.y * TILE, j0 = gl_WorkGroupID.x * TILE;
    uint own_i = gl_SubgroupID / (SUBGROUPS / DOWN) * ROWS * M, own_j = gl_SubgroupID % (SUBGROUPS / DOWN) * COLS * N;
    coopmat<SUM, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> acc[ROWS * COLS];
    for (uint a = 0; a < ROWS * COLS; a++) {
        acc[a] = coopmat<SUM, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(SUM(0));
    }
    for (uint k0 = 0; k0 < push.in_cols[0]; k0 += DEEP) {
        fill_a(i0, k0);
        fill_b(k0, j0);
        barrier();
        for (uint k = 0; k < DEEP; k += K) {
            coopmat<CELL, gl_ScopeSubgroup, M, K, gl_MatrixUseA> left[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                coopMatLoad(left[r], ta, (own_i + r * M) * LA + k / TO_WORD, LA, gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (uint c = 0; c < COLS; c++) {
                coopmat<CELL, gl_ScopeSubgroup, K, N, gl_MatrixUseB> right;
                uint j = own_j + c * N;
#ifdef BACK
                coopMatLoad(right, tb, k * LB + j / TO_WORD, LB, gl_CooperativeMatrixLayoutRowMajor);
#else
                coopMatLoad(right, tb, j * LB + k / TO_WORD, LB, gl_CooperativeMatrixLayoutColumnMajor);
#endif
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    acc[r * COLS + c] = coopMatMulAdd(left[r], right, acc[r * COLS + c]);
                }
            }
        }
        barrier();
    }
    for (uint r0 = 0; r0 == 0 || r0 < push.extra[1]; r0 += SOME) {
        fill_behind(i0, j0, r0);
        barrier();
        [[unroll]] for (uint a = 0; a < ROWS * COLS; a++) {
            if (r0 == 0) {
                coopMatStore(acc[a], results, gl_SubgroupID * M * N, N, gl_CooperativeMatrixLayoutRowMajor);
                barrier();
            }
            put(i0, j0, own_i + a / COLS * M, own_j + a % COLS * N, r0);
            barrier();
        }
    }
}
