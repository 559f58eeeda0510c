#version 450
#extension GL_GOOGLE_include_directive : require
/* For row t, head h, key and value head g = h / (H / K); a query sees keys from starts[t] to starts[t] + positions[t]:
 *   s[j] = scale q[t][h] . k[j][g],  p = softmax(s),  o[t][h] = sum_j p[j] v[j][g],  lse[t][h] = log sum_j exp(s[j])
 * A work group for BQ rows of one head; the softmax grows tile by tile (Dao et al. 2022). */
#include "common.glsl"
#include "attend.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float q[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float k[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float v[]; };
layout(set = 0, binding = 3) readonly buffer B3 { int starts[]; };
layout(set = 0, binding = 4) readonly buffer B4 { int positions[]; };
layout(set = 0, binding = 5) writeonly buffer B5 { float o[]; };
layout(set = 0, binding = 6) writeonly buffer B6 { float lse[]; };

shared float tq[BQ * L], tk[BK * L], ts[BQ * BK], peak[BQ], sums[BQ], shrink[BQ];
shared uint from[BQ], to[BQ];

const uint N = (BQ * D + 63) / 64;

/* Row r's softmax takes in its scores: they become p. */
void take_in(uint r)
{
    float top = peak[r], sum = 0.0;
    for (uint j = 0; j < BK; j++) {
        top = ts[r * BK + j] > top ? ts[r * BK + j] : top;
    }
    for (uint j = 0; j < BK; j++) {
        float p = ts[r * BK + j] > lowest ? exponential(ts[r * BK + j] - top) : 0.0;
        ts[r * BK + j] = p;
        sum += p;
    }
    shrink[r] = sums[r] > 0.0 ? exponential(peak[r] - top) : 0.0;
    sums[r] = sums[r] * shrink[r] + sum;
    peak[r] = top;
}

void main()
{
    uint l = gl_LocalInvocationIndex, h = gl_WorkGroupID.x, t0 = gl_WorkGroupID.y * BQ, n = window();
    uint g = h / (push.heads / push.kv_heads), low = 0xffffffffu, high = 0;
    float acc[N];
    for (uint e = l; e < BQ * D; e += 64) {
        uint t = t0 + e / D;
        tq[e / D * L + e % D] = t < n ? q[at(0) + (t * push.heads + h) * D + e % D] : 0.0;
    }
    if (l < BQ) {
        uint t = t0 + l;
        from[l] = t < n ? uint(starts[at(3) + t]) : 0;
        to[l] = t < n ? from[l] + uint(positions[at(4) + t]) + 1 : 0;
        peak[l] = lowest;
        sums[l] = 0.0;
    }
    for (uint a = 0; a < N; a++) {
        acc[a] = 0.0;
    }
    barrier();
    for (uint r = 0; r < BQ; r++) {
        low = to[r] > 0 ? min(low, from[r]) : low;
        high = max(high, to[r]);
    }
    for (uint k0 = low; k0 < high; k0 += BK) {
        for (uint e = l; e < BK * D; e += 64) {
            uint j = k0 + e / D;
            tk[e / D * L + e % D] = j < high ? k[at(1) + (j * push.kv_heads + g) * D + e % D] : 0.0;
        }
        barrier();
        for (uint s = l; s < BQ * BK; s += 64) {
            uint r = s / BK, j = s % BK;
            float sum = 0.0;
            for (uint c = 0; c < D; c++) {
                sum += tq[r * L + c] * tk[j * L + c];
            }
            ts[s] = k0 + j >= from[r] && k0 + j < to[r] ? sum * push.scale : lowest;
        }
        barrier();
        for (uint e = l; e < BK * D; e += 64) {
            uint j = k0 + e / D;
            tk[e / D * L + e % D] = j < high ? v[at(2) + (j * push.kv_heads + g) * D + e % D] : 0.0;
        }
        if (l < BQ) {
            take_in(l);
        }
        barrier();
        for (uint a = 0; a < N; a++) {
            uint e = l + 64 * a, r = min(e / D, BQ - 1), c = e % D;
            float sum = acc[a] * shrink[r];
            for (uint j = 0; j < BK; j++) {
                sum += ts[r * BK + j] * tk[j * L + c];
            }
            acc[a] = sum;
        }
        barrier();
    }
    for (uint a = 0; a < N; a++) {
        uint e = l + 64 * a, r = e / D;
        if (e < BQ * D && t0 + r < n) {
            o[at(5) + ((t0 + r) * push.heads + h) * D + e % D] = acc[a] / sums[r];
        }
    }
    if (l < BQ && t0 + l < n) {
        lse[at(6) + (t0 + l) * push.heads + h] = peak[l] + log(sums[l]);
    }
}
