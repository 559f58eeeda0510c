/* gemm: C(i, j) = sum_k A(i, k) B(k, j) for a tile of 64 x 64 by 128 invocations, 16 of k at a time through shared memory.
 * The includer fills a tile of A and of B, zeroes where there is nothing, and puts results.
 * SUM, CELL, MULTIPLY: what is summed, what a tile is made of, and how two cells enter a sum. BEHIND: put() gets the sum of
 * behind.glsl too, whose floats go through the same tiles, by TO_CELL and OF_CELL. */
layout(local_size_x = 128) in;

#ifndef SUM
#define SUM float
#define CELL float
#define MULTIPLY(sum, a, b) sum += a * b
#define TO_CELL(v) v
#define OF_CELL(v) v
#endif

const uint TILE = 64, DEEP = 16;

shared CELL ta[DEEP][TILE + 4], tb[DEEP][TILE + 4];

void fill_a(uint i0, uint k0);
void fill_b(uint k0, uint j0);
#ifdef BEHIND
#include "behind.glsl"
void put(uint i, uint j, SUM v, float more);

void behind(uint i0, uint j0, inout float more[8][4])
{
    uint l = gl_LocalInvocationIndex, ti = l / 16, tj = l % 16;
    for (uint r0 = 0; r0 < push.extra[1]; r0 += DEEP) {
        [[unroll]] for (uint e = 0; e < 8; e++) {
            uint r = l % 16, x = l / 16 + 8 * e;
            ta[r][x] = TO_CELL(behind_u(i0 + x, r0 + r));
            tb[r][x] = TO_CELL(behind_b(r0 + r, j0 + x));
        }
        barrier();
        for (uint k = 0; k < min(DEEP, push.extra[1] - r0); k++) {
            [[unroll]] for (uint r = 0; r < 8; r++) {
                float a = OF_CELL(ta[k][ti * 8 + r]);
                [[unroll]] for (uint c = 0; c < 4; c++) {
                    more[r][c] += a * OF_CELL(tb[k][tj + 16 * c]);
                }
            }
        }
        barrier();
    }
}
#else
void put(uint i, uint j, SUM v);
#endif

void gemm(uint n_i, uint n_j, uint n_k)
{
    uint l = gl_LocalInvocationIndex, ti = l / 16, tj = l % 16;
    uint i0 = gl_WorkGroupID.y * TILE, j0 = gl_WorkGroupID.x * TILE;
    uint deep = i0 + ti * 8 < n_i ? DEEP : 0; /* nothing is multiplied for rows that are not there */
    SUM acc[8][4];
    [[unroll]] for (uint r = 0; r < 8; r++) {
        [[unroll]] for (uint c = 0; c < 4; c++) {
            acc[r][c] = SUM(0);
        }
    }
    for (uint k0 = 0; k0 < n_k; k0 += DEEP) {
        fill_a(i0, k0);
        fill_b(k0, j0);
        barrier();
        for (uint k = 0; k < deep; k++) {
            CELL b[4];
            [[unroll]] for (uint c = 0; c < 4; c++) {
                b[c] = tb[k][tj + 16 * c];
            }
            [[unroll]] for (uint r = 0; r < 8; r++) {
                CELL a = ta[k][ti * 8 + r];
                [[unroll]] for (uint c = 0; c < 4; c++) {
                    MULTIPLY(acc[r][c], a, b[c]);
                }
            }
        }
        barrier();
    }
#ifdef BEHIND
    float more[8][4];
    [[unroll]] for (uint i = 0; i < 32; i++) {
        more[i / 4][i % 4] = 0.0;
    }
    behind(i0, j0, more);
#endif
    [[unroll]] for (uint r = 0; r < 8; r++) {
        [[unroll]] for (uint c = 0; c < 4; c++) {
            uint i = i0 + ti * 8 + r, j = j0 + tj + 16 * c;
            if (i < n_i && j < n_j) {
#ifdef BEHIND
                put(i, j, acc[r][c], push.scale * more[r][c]);
#else
                put(i, j, acc[r][c]);
#endif
            }
        }
    }
}
