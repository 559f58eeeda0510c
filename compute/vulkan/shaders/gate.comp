#version 450
#extension GL_GOOGLE_include_directive : require
/* a = g sigmoid(g) u, or max(g, 0)^2 u for RELU2 */
#include "common.glsl"
#include "cells.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float g[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float u[]; };
layout(set = 0, binding = 2) writeonly buffer B2 { float a[]; };

void main()
{
    if (row_() >= window() || column() >= push.out_cols) {
        return;
    }
    uint i = row_() * push.out_cols + column();
    float gi = g[at(0) + i], r = gi < 0.0 ? 0.0 : gi;
    a[at(2) + i] = (has(RELU2) ? r * r : gi / (1.0 + exponential(-gi))) * u[at(1) + i];
}
