#version 450
#extension GL_GOOGLE_include_directive : require
/* With p and ds as in attention_back_q.comp:
 *   dk[j] = sum_{t, h} ds[j] q[t][h],  dv[j] = sum_{t, h} p[j] do[t][h]      over the heads h of key and value head g
 * A work group for BK keys of one key and value head, over all rows that see one of them: nobody else adds to its dk and dv. */
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
layout(set = 0, binding = 8) writeonly buffer B8 { float dk[]; };
layout(set = 0, binding = 9) writeonly buffer B9 { float dv[]; };

shared float tq[BQ * L], td[BQ * L], tk[BK * L], tv[BK * L], tp[BQ * BK], ts[BQ * BK], parts[64];

const uint N = (BK * D + 63) / 64;
const uint LANES = 64 / BQ; /* invocations that share a row's mean */

float dk_own[N], dv_own[N];

/* Rows [t0, t0 + BQ) of head h add what they have to the tile of keys from k0 on. */
void rows_of(uint h, uint t0, uint n, uint k0)
{
    uint l = gl_LocalInvocationIndex;
    for (uint e = l; e < BQ * D; e += 64) {
        uint t = t0 + e / D, i = (t * push.heads + h) * D + e % D;
        tq[e / D * L + e % D] = t < n ? q[at(0) + i] : 0.0;
        td[e / D * L + e % D] = t < n ? dout[at(7) + i] : 0.0;
    }
    float part = 0.0;
    for (uint c = l % LANES, t = t0 + l / LANES; c < D && t < n && l < LANES * BQ; c += LANES) {
        uint i = (t * push.heads + h) * D + c;
        part += dout[at(7) + i] * o[at(5) + i];
    }
    parts[l] = part;
    barrier();
    for (uint s = l; s < BQ * BK; s += 64) {
        uint r = s / BK, j = s % BK, t = t0 + r;
        float score = 0.0, change = 0.0, mean = 0.0, p = 0.0;
        for (uint c = 0; c < D; c++) {
            score += tq[r * L + c] * tk[j * L + c];
            change += td[r * L + c] * tv[j * L + c];
        }
        for (uint i = 0; i < LANES; i++) {
            mean += parts[r * LANES + i];
        }
        if (t < n) {
            uint from = uint(starts[at(3) + t]), to = from + uint(positions[at(4) + t]) + 1;
            bool seen = k0 + j >= from && k0 + j < to;
            p = seen ? exponential(score * push.scale - lse[at(6) + t * push.heads + h]) : 0.0;
        }
        tp[s] = p;
        ts[s] = push.scale * p * (change - mean);
    }
    barrier();
    for (uint a = 0; a < N; a++) {
        uint e = l + 64 * a, j = min(e / D, BK - 1), c = e % D;
        float sum_k = dk_own[a], sum_v = dv_own[a];
        for (uint r = 0; r < BQ; r++) {
            sum_k += ts[r * BK + j] * tq[r * L + c];
            sum_v += tp[r * BK + j] * td[r * L + c];
        }
        dk_own[a] = sum_k;
        dv_own[a] = sum_v;
    }
    barrier();
}

void main()
{
    uint l = gl_LocalInvocationIndex, g = gl_WorkGroupID.x, k0 = gl_WorkGroupID.y * BK, n_keys = window();
    uint group = push.heads / push.kv_heads, n = today(push.in_rows[0]);
    for (uint e = l; e < BK * D; e += 64) {
        uint j = k0 + e / D, i = (j * push.kv_heads + g) * D + e % D;
        tk[e / D * L + e % D] = j < n_keys ? k[at(1) + i] : 0.0;
        tv[e / D * L + e % D] = j < n_keys ? v[at(2) + i] : 0.0;
    }
    for (uint a = 0; a < N; a++) {
        dk_own[a] = 0.0;
        dv_own[a] = 0.0;
    }
    barrier();
    for (uint t0 = 0; t0 < n; t0 += BQ) {
        bool sees = false;
        for (uint t = t0; t < min(t0 + BQ, n); t++) {
            uint from = uint(starts[at(3) + t]), to = from + uint(positions[at(4) + t]) + 1;
            sees = sees || (from < push.first + k0 + BK && to > push.first + k0);
        }
        for (uint i = 0; i < group && sees; i++) {
            rows_of(g * group + i, t0, n, push.first + k0);
        }
    }
    for (uint a = 0; a < N; a++) {
        uint e = l + 64 * a, j = k0 + e / D;
        if (e < BK * D && j < n_keys) {
            uint i = (j * push.kv_heads + g) * D + e % D;
            dk[at(8) + i] = dk_own[a];
            dv[at(9) + i] = dv_own[a];
        }
    }
}
