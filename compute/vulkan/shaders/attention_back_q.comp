#version 450
#extension GL_GOOGLE_include_directive : require
/* With p[j] = exp(s[j] - lse), M = sum_c do[t][h][c] o[t][h][c], ds[j] = scale p[j] (do[t][h] . v[j] - M):
 *   dq[t][h] = sum_j ds[j] k[j]      a work group for BQ rows of one head (Dao et al. 2022, appendix B.2) */
#include "common.glsl"
#include "attend.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float q[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float k[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float v[]; };
layout(set = 0, binding = 3) readonly buffer B3 { int starts[]; };
layout(set = 0, binding = 4) readonly buffer B4 { int positions[]; };
layout(set = 0, binding = 5) readonly buffer B5 { float o[]; };
layout(set = 0, binding = 6) readonly buffer B6 { float lse[]; };
layout(set = 0, binding = 7) readonly buffer B7 { float dout[]; };
layout(set = 0, binding = 8) writeonly buffer B8 { float dq[]; };

shared float tq[BQ * L], td[BQ * L], tk[BK * L], ts[BQ * BK], mean[BQ], own_lse[BQ];
shared uint from[BQ], to[BQ];

const uint N = (BQ * D + 63) / 64;

void main()
{
    uint l = gl_LocalInvocationIndex, h = gl_WorkGroupID.x, t0 = gl_WorkGroupID.y * BQ, n = window();
    uint g = h / (push.heads / push.kv_heads), low = 0xffffffffu, high = 0;
    float acc[N];
    for (uint e = l; e < BQ * D; e += 64) {
        uint t = t0 + e / D, i = (t * push.heads + h) * D + e % D;
        tq[e / D * L + e % D] = t < n ? q[at(0) + i] : 0.0;
        td[e / D * L + e % D] = t < n ? dout[at(7) + i] : 0.0;
    }
    if (l < BQ) {
        uint t = t0 + l;
        from[l] = t < n ? uint(starts[at(3) + t]) : 0;
        to[l] = t < n ? from[l] + uint(positions[at(4) + t]) + 1 : 0;
        own_lse[l] = t < n ? lse[at(6) + t * push.heads + h] : 0.0;
        float sum = 0.0;
        for (uint c = 0; c < D && t < n; c++) {
            uint i = (t * push.heads + h) * D + c;
            sum += dout[at(7) + i] * o[at(5) + i];
        }
        mean[l] = sum;
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
            tk[e / D * L + e % D] = j < high ? v[at(2) + (j * push.kv_heads + g) * D + e % D] : 0.0;
        }
        barrier();
        for (uint s = l; s < BQ * BK; s += 64) {
            uint r = s / BK, j = s % BK;
            float sum = 0.0;
            for (uint c = 0; c < D; c++) {
                sum += td[r * L + c] * tk[j * L + c];
            }
            ts[s] = sum - mean[r];
        }
        barrier();
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
            bool seen = k0 + j >= from[r] && k0 + j < to[r];
            ts[s] = seen ? push.scale * exponential(sum * push.scale - own_lse[r]) * ts[s] : 0.0;
        }
        barrier();
        for (uint a = 0; a < N; a++) {
            uint e = l + 64 * a, r = min(e / D, BQ - 1), c = e % D;
            float sum = acc[a];
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
            dq[at(8) + ((t0 + r) * push.heads + h) * D + e % D] = acc[a];
        }
    }
}
