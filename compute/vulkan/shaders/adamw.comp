#version 450
#extension GL_GOOGLE_include_directive : require
/* AdamW (Loshchilov and Hutter 2019), g being scaled by k = clip / norm where the norm is above a clip > 0, else 1:
 *   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  w -= lr (m / c1 / (sqrt(v / c2) + eps) + decay w),  g = 0
 * A norm that is not finite, or a span that does not train, changes g alone. */
#include "common.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { int spans[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float trains[]; };
layout(set = 0, binding = 2) readonly buffer B2 { float squares[]; };
layout(set = 0, binding = 3) readonly buffer B3 { float settings[]; };
layout(set = 0, binding = 4) buffer B4 { float w[]; };
layout(set = 0, binding = 5) buffer B5 { float m[]; };
layout(set = 0, binding = 6) buffer B6 { float v[]; };
layout(set = 0, binding = 7) buffer B7 { float g[]; };

/* The span that value i lies in. */
uint span_of(uint i)
{
    uint low = 0, high = push.in_cols[2];
    while (high - low > 1) {
        uint middle = (low + high) / 2;
        if (uint(spans[at(0) + middle]) <= i) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

void main()
{
    float sum = 0.0;
    for (uint u = gl_LocalInvocationIndex; u < push.in_cols[2]; u += WG) {
        sum += squares[at(2) + u];
    }
    float norm = sqrt(total(sum));
    float lr = settings[at(3)], b1 = settings[at(3) + 1], b2 = settings[at(3) + 2], eps = settings[at(3) + 3];
    float decay = settings[at(3) + 4], clip = settings[at(3) + 5], c1 = settings[at(3) + 6], c2 = settings[at(3) + 7];
    float k = clip > 0.0 && norm > clip ? clip / norm : 1.0;
    for (uint i = gl_GlobalInvocationID.x; i < push.table_count; i += gl_NumWorkGroups.x * WG) {
        float d = g[at(7) + i] * k;
        g[at(7) + i] = 0.0;
        if (is_finite(norm) && trains[at(1) + span_of(push.table_first + i)] != 0.0) {
            float mi = b1 * m[at(5) + i] + (1.0 - b1) * d, vi = b2 * v[at(6) + i] + (1.0 - b2) * d * d, wi = w[at(4) + i];
            m[at(5) + i] = mi;
            v[at(6) + i] = vi;
            w[at(4) + i] = wi - lr * (mi / c1 / (sqrt(vi / c2) + eps) + decay * wi);
        }
    }
}
