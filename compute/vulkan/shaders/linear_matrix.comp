#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#pragma use_vulkan_memory_model
/* As linear.comp and, for SOFTMAX, linear_back_x.comp, where W is f16 and its rows are whole words: by cooperative matrices of f16 into
 * f32. x is split, x = high + low / 2048, which keeps 22 of its bits; low is scaled so that no part of it is too small for f16. */
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 128;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(constant_id = 4) const uint TILE = 64;
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) buffer B2 { float y[]; };
#ifdef SOFTMAX
layout(set = 0, binding = 3) readonly buffer B3 { vec4 state[]; };
#endif

const uint SUBGROUPS = 4, DEEP = 32, LA = DEEP / 2 + 4; /* words from row to row: rows begin in different banks */
#ifdef SOFTMAX
const uint LB = TILE / 2 + 4, ROWS_B = DEEP; /* a row for each k */
#else
const uint LB = LA, ROWS_B = TILE; /* a row for each column */
#endif
/* How subgroups share the tile's results: DOWN of them below each other, each with ROWS x COLS. */
const uint DOWN = TILE / M < 2 ? 1 : TILE / N < 2 ? SUBGROUPS : 2;
const uint ROWS = TILE / M / DOWN, COLS = TILE / N / (SUBGROUPS / DOWN);
const float LOW = 2048.0, LEAST = 6.2e-5; /* below it a half is not exact */

shared uint high[TILE * LA], low[TILE * LA], tb[ROWS_B * LB];
shared float results[SUBGROUPS * M * N];

uint n_deep()
{
#ifdef SOFTMAX
    return push.table_count;
#else
    return push.in_cols[0];
#endif
}

uint n_across()
{
#ifdef SOFTMAX
    return push.out_cols;
#else
    return push.table_count;
#endif
}

float x_at(uint i, uint k)
{
    return i < window() && k < n_deep() ? x[at(0) + i * push.in_cols[0] + k] : 0.0;
}

void fill_a(uint i0, uint k0)
{
    for (uint e = gl_LocalInvocationIndex; e < TILE * DEEP / 2; e += WG) {
        uint i = e / (DEEP / 2), k = e % (DEEP / 2);
        vec2 v = vec2(x_at(i0 + i, k0 + 2 * k), x_at(i0 + i, k0 + 2 * k + 1));
        uint top = packHalf2x16(mix(v, vec2(0.0), lessThan(abs(v), vec2(LEAST))));
        high[i * LA + k] = top;
        low[i * LA + k] = packHalf2x16((v - unpackHalf2x16(top)) * LOW);
    }
}

void fill_b(uint k0, uint j0)
{
#ifdef SOFTMAX
    uint per_row = TILE / 2, row0 = k0, col0 = j0, n_rows = n_deep(), n_cols = n_across();
#else
    uint per_row = DEEP / 2, row0 = j0, col0 = k0, n_rows = n_across(), n_cols = n_deep();
#endif
    for (uint e = gl_LocalInvocationIndex; e < ROWS_B * per_row; e += WG) {
        uint r = e / per_row, c = e % per_row;
        bool there = row0 + r < n_rows && col0 + 2 * c < n_cols;
        tb[r * LB + c] = there ? w[at(1) + (row0 + r) * (n_cols / 2) + col0 / 2 + c] : 0;
    }
}

/* A subgroup's result, by way of its place in shared memory. */
void put(uint i0, uint j0)
{
    for (uint e = gl_SubgroupInvocationID; e < M * N; e += gl_SubgroupSize) {
        uint i = i0 + e / N, j = j0 + e % N;
        if (i < window() && j < n_across()) {
            float v = results[gl_SubgroupID * M * N + e];
#ifdef SOFTMAX
            uint to = at(2) + i * push.out_cols + j;
            y[to] = has(FIRST) ? v : y[to] * state[i].w + v;
#else
            uint to = at(2) + i * push.out_cols + push.extra[0] + j;
            v *= push.scale;
            y[to] = has(ADD) ? y[to] + v : v;
#endif
        }
    }
}

#define SUMS coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>

void main()
{
    uint i0 = gl_WorkGroupID.y * TILE, j0 = gl_WorkGroupID.x * TILE;
    uint own_i = gl_SubgroupID / (SUBGROUPS / DOWN) * ROWS * M, own_j = gl_SubgroupID % (SUBGROUPS / DOWN) * COLS * N;
    SUMS tops[ROWS * COLS], rests[ROWS * COLS];
    for (uint a = 0; a < ROWS * COLS; a++) {
        tops[a] = SUMS(0.0);
        rests[a] = SUMS(0.0);
    }
    for (uint k0 = 0; k0 < n_deep(); k0 += DEEP) {
        fill_a(i0, k0);
        fill_b(k0, j0);
        barrier();
        for (uint k = 0; k < DEEP; k += K) {
            coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> top[ROWS], rest[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                coopMatLoad(top[r], high, (own_i + r * M) * LA + k / 2, LA, gl_CooperativeMatrixLayoutRowMajor);
                coopMatLoad(rest[r], low, (own_i + r * M) * LA + k / 2, LA, gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (uint c = 0; c < COLS; c++) {
                coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> right;
                uint j = own_j + c * N;
#ifdef SOFTMAX
                coopMatLoad(right, tb, k * LB + j / 2, LB, gl_CooperativeMatrixLayoutRowMajor);
#else
                coopMatLoad(right, tb, j * LB + k / 2, LB, gl_CooperativeMatrixLayoutColumnMajor);
#endif
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    tops[r * COLS + c] = coopMatMulAdd(top[r], right, tops[r * COLS + c]);
                    rests[r * COLS + c] = coopMatMulAdd(rest[r], right, rests[r * COLS + c]);
                }
            }
        }
        barrier();
    }
    [[unroll]] for (uint a = 0; a < ROWS * COLS; a++) {
        coopMatStore(tops[a] + rests[a] * (1.0 / LOW), results, gl_SubgroupID * M * N, N, gl_CooperativeMatrixLayoutRowMajor);
        barrier();
        put(i0 + own_i + a / COLS * M, j0 + own_j + a % COLS * N);
        barrier();
    }
}
