#version 450
#extension GL_GOOGLE_include_directive : require
/* losses[i] = peak + log(sum) - own;  LEARN: dy[i] = weight (dy[i] / sum - table[label])
 * for the rows whose label lies in the window of the table. A work group for each row. */
#include "common.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { vec4 state[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint table[]; };
layout(set = 0, binding = 2) readonly buffer B2 { int labels[]; };
layout(set = 0, binding = 3) writeonly buffer B3 { float losses[]; };
#ifdef LEARNS
layout(set = 0, binding = 4) readonly buffer B4 { float weights[]; };
layout(set = 0, binding = 5) buffer B5 { float dy[]; };
#endif

void main()
{
    uint i = gl_WorkGroupID.y;
    if (i >= window()) {
        return;
    }
    uint label = uint(labels[at(2) + i]);
    if (label < push.table_first || label - push.table_first >= push.table_count) {
        return;
    }
    vec4 s = state[i];
    if (gl_LocalInvocationIndex == 0) {
        losses[at(3) + i] = s.x + log(s.y) - s.z;
    }
#ifdef LEARNS
    uint n = push.in_cols[1], row = (label - push.table_first) * n;
    float weight = weights[at(4) + i];
    for (uint c = gl_LocalInvocationIndex; c < n; c += WG) {
        uint k = row + c;
        float word = has(HALF) ? unpackHalf2x16(table[at(1) + k / 2])[k % 2] : uintBitsToFloat(table[at(1) + k]);
        dy[at(5) + i * n + c] = weight / s.y * dy[at(5) + i * n + c] - weight * word;
    }
#endif
}
