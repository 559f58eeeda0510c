#version 450
#extension GL_GOOGLE_include_directive : require
/* y[t][from + o] (+)= scale sum_c x[t][c] W[o][c] for at most four rows t, as the head sees them: W is read once for all. o lies in the
 * window of W's rows, which begins at column `from` = extra[0] of y. A work group does four of them, 16 invocations share each sum. */
#include "common.glsl"
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint w[]; };
layout(set = 0, binding = 2) buffer B2 { float y[]; };

const uint ROWS = 4, COLS = 4, SHARES = 16;

shared float sums[ROWS][COLS * SHARES];

/* A word of W has one float, or two halves where rows begin at whole words. */
void main()
{
    uint l = gl_LocalInvocationIndex, o = gl_WorkGroupID.x * COLS + l / SHARES, share = l % SHARES, rows = window();
    uint n = push.in_cols[0];
    bool pairs = has(HALF) && n % 2 == 0;
    float acc[ROWS];
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        acc[t] = 0.0;
    }
    for (uint k = share; k < (pairs ? n / 2 : n) && o < push.table_count; k += SHARES) {
        uint i = o * n + k, c = pairs ? 2 * k : k;
        vec2 v = pairs       ? unpackHalf2x16(w[at(1) + o * (n / 2) + k])
                 : has(HALF) ? vec2(unpackHalf2x16(w[at(1) + i / 2])[i % 2], 0.0)
                             : vec2(uintBitsToFloat(w[at(1) + i]), 0.0);
        [[unroll]] for (uint t = 0; t < ROWS; t++) {
            if (t < rows) {
                acc[t] += v.x * x[at(0) + t * n + c];
                acc[t] += pairs ? v.y * x[at(0) + t * n + c + 1] : 0.0;
            }
        }
    }
    [[unroll]] for (uint t = 0; t < ROWS; t++) {
        sums[t][l] = acc[t];
    }
    barrier();
    uint t = l / COLS;
    o = gl_WorkGroupID.x * COLS + l % COLS;
    if (t < rows && o < push.table_count) {
        float sum = 0.0;
        for (uint i = 0; i < SHARES; i++) {
            sum += sums[t][l % COLS * SHARES + i];
        }
        uint to = at(2) + t * push.out_cols + push.extra[0] + o;
        sum *= push.scale;
        y[to] = has(ADD) ? y[to] + sum : sum;
    }
}
