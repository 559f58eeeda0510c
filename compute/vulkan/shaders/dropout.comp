#version 450
#extension GL_GOOGLE_include_directive : require
/* y[t][c] (+)= u < eps ? 0 : scale x[t][c], u in [0, 1) by chance from (seed, number, t, c) */
#include "common.glsl"
#include "cells.glsl"
#include "mix.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint seed[]; };
layout(set = 0, binding = 2) buffer B2 { float y[]; };

void main()
{
    if (row_() < window() && column() < push.out_cols) {
        uint i = row_() * push.out_cols + column();
        uvec2 s = mixed(plus(uvec2(seed[at(1)], seed[at(1) + 1]), uvec2(push.number, 0)));
        uvec2 key = mixed(plus(mixed(s), uvec2(push.first + row_(), 0)));
        float u = float(hashed(key, column()) >> 8) * 5.9604644775390625e-8;
        float kept = u < push.eps ? 0.0 : push.scale * x[at(0) + i];
        y[at(2) + i] = has(ADD) ? y[at(2) + i] + kept : kept;
    }
}
