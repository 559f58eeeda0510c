#version 450
#extension GL_GOOGLE_include_directive : require
/* dg = da u s (1 + g (1 - s)), du = da g s, s = sigmoid(g); for RELU2 dg = 2 da max(g, 0) u, du = da max(g, 0)^2 */
#include "common.glsl"
#include "cells.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float g[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float u[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float da[]; };
layout(set = 0, binding = 3) writeonly buffer B3 { float dg[]; };
layout(set = 0, binding = 4) writeonly buffer B4 { float du[]; };

void main()
{
    if (row_() >= window() || column() >= push.out_cols) {
        return;
    }
    uint i = row_() * push.out_cols + column();
    float gi = g[at(0) + i], ui = u[at(1) + i], d = da[at(2) + i];
    float r = gi < 0.0 ? 0.0 : gi, s = 1.0 / (1.0 + exponential(-gi));
    dg[at(3) + i] = has(RELU2) ? 2.0 * d * r * ui : d * ui * s * (1.0 + gi * (1.0 - s));
    du[at(4) + i] = has(RELU2) ? d * r * r : d * gi * s;
}
