#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
/* y[t][o] = (sum_c W[o][c] q[t][c]) s scale[t], or BACK: dx[t][c] (+)= (sum_o W[o][c] q[t][o]) s scale[t]
 * and what stands behind. q: int8 with a scale for each row; s: the weights' one scale. Sums of 16 products are whole numbers of at most 2032, which f16
 * holds exactly, two columns at a time; then they go into f32. */
#include "common.glsl"
#include "weights.glsl"
#include "behind.glsl"
layout(local_size_x = 128) in;
layout(set = 0, binding = 0) readonly buffer B0 { uint q[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float scales[]; };
layout(set = 0, binding = 3) buffer B3 { float y[]; };

const uint TILE = 64, DEEP = 16;

shared float16_t ta[DEEP][TILE + 4];
shared f16vec2 tb[DEEP][TILE / 2 + 2]; /* columns j and j + 32 */
shared float tu[DEEP][TILE + 4], tv[DEEP][TILE + 4]; /* of what stands behind */

void fill_a(uint i0, uint k0)
{
    uint words = (push.in_cols[0] + 63) / 64 * 16;
    [[unroll]] for (uint e = 0; e < 2; e++) {
        uint l = gl_LocalInvocationIndex + 128 * e, i = i0 + l / 4, k = l % 4;
        int four = i < window() ? int(q[at(0) + (push.first + i) * words + k0 / 4 + k]) : 0;
        [[unroll]] for (int b = 0; b < 4; b++) {
            ta[k * 4 + b][l / 4] = float16_t(bitfieldExtract(four, 8 * b, 8));
        }
    }
}

/* The word that has weights (k, j .. j + 15), or (k .. k + 15, j). */
uint word_at(uint k, uint j)
{
#ifdef BACK
    uint words = words_of(push.out_cols);
    return k < push.in_cols[0] && j / 16 < words ? w[at(1) + k * words + j / 16] : NOTHING;
#else
    return j < push.out_cols ? w[at(1) + j * words_of(push.in_cols[0]) + k / 16] : NOTHING;
#endif
}

void fill_b(uint k0, uint j0)
{
    uint l = gl_LocalInvocationIndex;
#ifdef BACK
    uint k = l / 8, j = l % 8 * 4; /* four of the pairs of one row */
    uint one = word_at(k0 + k, j0 + j) >> 2 * (j % 16), two = word_at(k0 + k, j0 + j + 32) >> 2 * (j % 16);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        tb[k][j + e] = f16vec2(code(one, e), code(two, e));
    }
#else
    uint j = l / 4, k = l % 4 * 4; /* four rows of one pair */
    uint one = word_at(k0, j0 + j) >> 2 * k, two = word_at(k0, j0 + j + 32) >> 2 * k;
    [[unroll]] for (uint e = 0; e < 4; e++) {
        tb[k + e][j] = f16vec2(code(one, e), code(two, e));
    }
#endif
}

/* As gemm.glsl: acc[r][c] are columns j and j + 32. */
void behind(uint i0, uint j0, inout vec2 more[8][2])
{
    uint l = gl_LocalInvocationIndex, ti = l / 16, tj = l % 16;
    for (uint r0 = 0; r0 < push.extra[1]; r0 += DEEP) {
        [[unroll]] for (uint e = 0; e < 8; e++) {
            uint r = l % 16, x = l / 16 + 8 * e;
            tu[r][x] = behind_u(i0 + x, r0 + r);
            tv[r][x] = behind_b(r0 + r, j0 + x);
        }
        barrier();
        for (uint k = 0; k < min(DEEP, push.extra[1] - r0); k++) {
            vec2 b0 = vec2(tv[k][tj], tv[k][tj + 32]), b1 = vec2(tv[k][tj + 16], tv[k][tj + 48]);
            [[unroll]] for (uint r = 0; r < 8; r++) {
                float a = tu[k][ti * 8 + r];
                more[r][0] += a * b0;
                more[r][1] += a * b1;
            }
        }
        barrier();
    }
}

void put(uint i, uint j, float v, float more)
{
    uint at_ = at(3) + i * push.out_cols + j;
    if (i < window() && j < push.out_cols) {
        v *= scales[at(2)] * uintBitsToFloat(q[at(0) + push.extra[0] + push.first + i]);
        v += push.scale * more;
        y[at_] = has(ADD) ? y[at_] + v : v;
    }
}

void main()
{
    uint l = gl_LocalInvocationIndex, ti = l / 16, tj = l % 16;
    uint i0 = gl_WorkGroupID.y * TILE, j0 = gl_WorkGroupID.x * TILE;
    uint deep = i0 + ti * 8 < window() ? DEEP : 0; /* nothing is multiplied for rows that are not there */
    vec2 acc[8][2];
    [[unroll]] for (uint r = 0; r < 8; r++) {
        acc[r][0] = acc[r][1] = vec2(0.0);
    }
    for (uint k0 = 0; k0 < push.in_cols[0]; k0 += DEEP) {
        f16vec2 sums[8][2];
        fill_a(i0, k0);
        fill_b(k0, j0);
        barrier();
        [[unroll]] for (uint r = 0; r < 8; r++) {
            sums[r][0] = sums[r][1] = f16vec2(0.0);
        }
        for (uint k = 0; k < deep; k++) {
            f16vec2 b0 = tb[k][tj], b1 = tb[k][tj + 16];
            [[unroll]] for (uint r = 0; r < 8; r++) {
                f16vec2 a = f16vec2(ta[k][ti * 8 + r]);
                sums[r][0] = fma(a, b0, sums[r][0]);
                sums[r][1] = fma(a, b1, sums[r][1]);
            }
        }
        [[unroll]] for (uint r = 0; r < 8; r++) {
            acc[r][0] += vec2(sums[r][0]);
            acc[r][1] += vec2(sums[r][1]);
        }
        barrier();
    }
    vec2 more[8][2];
    [[unroll]] for (uint r = 0; r < 8; r++) {
        more[r][0] = more[r][1] = vec2(0.0);
    }
    behind(i0, j0, more);
    [[unroll]] for (uint r = 0; r < 8; r++) {
        [[unroll]] for (uint c = 0; c < 2; c++) {
            put(i0 + ti * 8 + r, j0 + tj + 16 * c, acc[r][c].x, more[r][c].x);
            put(i0 + ti * 8 + r, j0 + tj + 16 * c + 32, acc[r][c].y, more[r][c].y);
        }
    }
}
