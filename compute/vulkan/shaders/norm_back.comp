#version 450
#extension GL_GOOGLE_include_directive : require
/* dx[t][c] (+)= r (dy[t][c] g[c] - x[t][c] r^2 mean_c(dy[t][c] g[c] x[t][c]))      a work group for each row */
#include "common.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float gain[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float dy[]; };
layout(set = 0, binding = 3) buffer B3 { float dx[]; };

void main()
{
    uint t = gl_WorkGroupID.y, n = push.out_cols;
    if (t >= window()) {
        return;
    }
    float squares = 0.0, sum = 0.0;
    for (uint c = gl_LocalInvocationIndex; c < n; c += WG) {
        float v = x[at(0) + t * n + c];
        squares += v * v;
        sum += dy[at(2) + t * n + c] * gain[at(1) + c] * v;
    }
    float r = 1.0 / sqrt(total(squares) / float(n) + push.eps);
    float m = total(sum) / float(n) * r * r;
    for (uint c = gl_LocalInvocationIndex; c < n; c += WG) {
        uint i = t * n + c;
        float d = r * (dy[at(2) + i] * gain[at(1) + c] - x[at(0) + i] * m);
        dx[at(3) + i] = has(ADD) ? dx[at(3) + i] + d : d;
    }
}
