#version 450
#extension GL_GOOGLE_include_directive : require
/* y[t][j] (+)= scale sum_k x[t][k] W(k, j) for at most 16 columns j, as an adapter's rank is; W(k, j) = W[j][k], or W[k][j] for BACK.
 * A work group does four rows, so that few columns keep a whole device busy, and up to three W of one x, and rounds x to int8 as
 * quantise.comp does (BACK: by chance): x comes from memory once. extra[1]: how many W there are beside the first, and ROUNDS. */
#include "common.glsl"
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
#ifdef BACK
layout(set = 0, binding = 1) readonly buffer B1 { float w0[]; };
layout(set = 0, binding = 2) buffer B2 { float y0[]; };
layout(set = 0, binding = 3) readonly buffer B3 { uint seed[]; };
layout(set = 0, binding = 4) writeonly buffer B4 { uint q[]; };
#define RANDOM
#include "mix.glsl"
#include "quantise.glsl"
#define PRODUCTS 1
#define OUT 2
#define Q 4
#else
layout(set = 0, binding = 1) readonly buffer B1 { float w0[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float w1[]; };
layout(set = 0, binding = 3) readonly buffer B3 { float w2[]; };
layout(set = 0, binding = 4) buffer B4 { float y0[]; };
layout(set = 0, binding = 5) buffer B5 { float y1[]; };
layout(set = 0, binding = 6) buffer B6 { float y2[]; };
layout(set = 0, binding = 7) writeonly buffer B7 { uint q[]; };
#include "quantise.glsl"
#define PRODUCTS 3
#define OUT 4
#define Q 7
#endif

const uint ROWS = 4, COLS = 8; /* of results at a time */
const uint ROUNDS = 4;

shared float parts[ROWS * COLS * 64], halves[64];

float weight(uint g, uint k, uint j)
{
#ifdef BACK
    return w0[at(1) + k * push.out_cols + j];
#else
    uint i = j * push.in_cols[0] + k;
    return g == 0 ? w0[at(1) + i] : g == 1 ? w1[at(2) + i] : w2[at(3) + i];
#endif
}

void put(uint g, uint i, float v)
{
    v *= push.scale;
    if (g == 0) {
        y0[at(OUT) + i] = has(ADD) ? y0[at(OUT) + i] + v : v;
    }
#ifndef BACK
    if (g == 1) {
        y1[at(OUT + 1) + i] = has(ADD) ? y1[at(OUT + 1) + i] + v : v;
    }
    if (g == 2) {
        y2[at(OUT + 2) + i] = has(ADD) ? y2[at(OUT + 2) + i] + v : v;
    }
#endif
}

/* Columns j0 to j0 + COLS of product g for rows t0 to t0 + rows. */
void multiply(uint g, uint j0, uint t0, uint rows)
{
    uint l = gl_LocalInvocationIndex, n = push.in_cols[0], m = push.out_cols;
    float acc[ROWS * COLS], v[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS * COLS; i++) {
        acc[i] = 0.0;
    }
    for (uint k = l; k < n; k += 64) {
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            v[r] = r < rows ? x[at(0) + (t0 + r) * n + k] : 0.0;
        }
        [[unroll]] for (uint j = 0; j < COLS; j++) {
            float w = j0 + j < m ? weight(g, k, j0 + j) : 0.0;
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                acc[r * COLS + j] += v[r] * w;
            }
        }
    }
    [[unroll]] for (uint i = 0; i < ROWS * COLS; i++) {
        parts[i * 64 + l] = acc[i];
    }
    barrier();
    uint cell = l % (ROWS * COLS);
    float sum = 0.0;
    for (uint i = 0; i < 32; i++) {
        sum += parts[cell * 64 + l / (ROWS * COLS) * 32 + (i + cell) % 32]; /* neighbours begin in different banks */
    }
    halves[l] = sum;
    barrier();
    if (l < rows * COLS && j0 + l % COLS < m) {
        put(g, (t0 + l / COLS) * m + j0 + l % COLS, halves[l] + halves[l + 32]);
    }
}

/* Sixteen invocations for each row. */
void quantise(uint t0, uint rows)
{
    uint l = gl_LocalInvocationIndex, n = push.in_cols[0], words = (n + 63) / 64 * 16, t = t0 + l / 16, row = push.first + t;
    float most = 1e-5;
    for (uint c = l % 16; c < n && l / 16 < rows; c += 16) {
        float v = abs(x[at(0) + t * n + c]);
        most = v > most ? v : most;
    }
    parts[l] = most;
    barrier();
    for (uint i = 0; i < 16; i++) {
        float v = parts[l / 16 * 16 + i];
        most = v > most ? v : most;
    }
#ifdef BACK
    uvec2 key = key_of(uvec2(seed[at(3)], seed[at(3) + 1]), row);
#else
    uvec2 key = uvec2(0);
#endif
    for (uint w = l % 16; w < words && l / 16 < rows; w += 16) {
        q[at(Q) + row * words + w] = word_of(t, w, n, 127.0 / most, key);
    }
    if (l % 16 == 0 && l / 16 < rows) {
        q[at(Q) + push.extra[0] + row] = floatBitsToUint(most / 127.0);
    }
}

void main()
{
    uint t0 = gl_WorkGroupID.y * ROWS;
    if (t0 >= window()) {
        return;
    }
    [[unroll]] for (uint g = 0; g < PRODUCTS; g++) {
        for (uint j0 = 0; g <= push.extra[1] % ROUNDS && j0 < push.out_cols; j0 += COLS) {
            multiply(g, j0, t0, min(ROWS, window() - t0));
        }
    }
    if (push.extra[1] >= ROUNDS) {
        quantise(t0, min(ROWS, window() - t0));
    }
}
