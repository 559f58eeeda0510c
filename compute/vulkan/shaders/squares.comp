#version 450
#extension GL_GOOGLE_include_directive : require
/* s[u] (+)= sum_i g[i]^2 over span u within the window of values; 0 where it does not train. A work group for each span. */
#include "common.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float g[]; };
layout(set = 0, binding = 1) readonly buffer B1 { int spans[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float trains[]; };
layout(set = 0, binding = 3) buffer B3 { float s[]; };

void main()
{
    uint end = push.table_first + push.table_count;
    for (uint u = gl_WorkGroupID.x; u < push.in_cols[2]; u += gl_NumWorkGroups.x) {
        uint from = max(uint(spans[at(1) + u]), push.table_first), to = min(uint(spans[at(1) + u + 1]), end);
        float sum = 0.0;
        for (uint i = from + gl_LocalInvocationIndex; i < to && trains[at(2) + u] != 0.0; i += WG) {
            float v = g[at(0) + i - push.table_first];
            sum += v * v;
        }
        sum = total(sum);
        if (gl_LocalInvocationIndex == 0) {
            s[at(3) + u] = has(FIRST) ? sum : s[at(3) + u] + sum;
        }
    }
}
