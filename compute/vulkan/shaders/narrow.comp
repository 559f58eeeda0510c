#version 450
#extension GL_GOOGLE_include_directive : require
/* y[t][j] (+)= scale sum_k x[t][k] W(k, j) for at most 16 columns j, as an adapter's rank is: a work group for each row, so that
 * few columns keep a whole device busy. W(k, j) = W[j][k], or W[k][j] for BACK. */
#include "common.glsl"
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float w[]; };
layout(set = 0, binding = 2) buffer B2 { float y[]; };

const uint MOST = 16;

shared float parts[64 * MOST], quarters[64];

void main()
{
    uint t = gl_WorkGroupID.y, l = gl_LocalInvocationIndex, n = push.in_cols[0], m = push.out_cols;
    float acc[MOST];
    if (t >= window()) {
        return;
    }
    [[unroll]] for (uint j = 0; j < MOST; j++) {
        acc[j] = 0.0;
    }
    for (uint k = l; k < n; k += 64) {
        float v = x[at(0) + t * n + k];
        [[unroll]] for (uint j = 0; j < MOST; j++) {
            if (j < m) {
#ifdef BACK
                acc[j] += v * w[at(1) + k * m + j];
#else
                acc[j] += v * w[at(1) + j * n + k];
#endif
            }
        }
    }
    [[unroll]] for (uint j = 0; j < MOST; j++) {
        parts[l * MOST + j] = acc[j];
    }
    barrier();
    float sum = 0.0;
    for (uint i = 0; i < 16; i++) {
        sum += parts[(l / MOST * 16 + i) * MOST + l % MOST];
    }
    quarters[l] = sum;
    barrier();
    if (l < m) {
        sum = push.scale * (quarters[l] + quarters[l + 16] + quarters[l + 32] + quarters[l + 48]);
        uint i = at(2) + t * m + l;
        y[i] = has(ADD) ? y[i] + sum : sum;
    }
}
