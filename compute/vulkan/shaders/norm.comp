#version 450
#extension GL_GOOGLE_include_directive : require
/* y[t][c] = x[t][c] r g[c],  r = 1 / sqrt(mean_c x[t][c]^2 + eps)      a work group for each row */
#include "common.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float gain[]; };
layout(set = 0, binding = 2) writeonly buffer B2 { float y[]; };

void main()
{
    uint t = gl_WorkGroupID.y, n = push.out_cols;
    if (t >= window()) {
        return;
    }
    float squares = 0.0;
    for (uint c = gl_LocalInvocationIndex; c < n; c += WG) {
        float v = x[at(0) + t * n + c];
        squares += v * v;
    }
    float r = 1.0 / sqrt(total(squares) / float(n) + push.eps);
    for (uint c = gl_LocalInvocationIndex; c < n; c += WG) {
        y[at(2) + t * n + c] = x[at(0) + t * n + c] * r * gain[at(1) + c];
    }
}
