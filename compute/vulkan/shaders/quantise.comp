#version 450
#extension GL_GOOGLE_include_directive : require
/* m = max(absmax_c |x[t][c]|, 1e-5),  scale[t] = m / 127,  q[t][c] = round(x[t][c] (127 / m))      a work group for each row
 * RANDOM: q = floor(x (127 / m) + u), u by chance from (seed, number, t, c). Four values to a word; rows are padded with zeroes to
 * 64 values, scales stand behind the capacity's last row. */
#include "common.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { float x[]; };
#ifdef RANDOM
#include "mix.glsl"
layout(set = 0, binding = 1) readonly buffer B1 { uint seed[]; };
layout(set = 0, binding = 2) buffer B2 { uint q[]; };
#define OUT 2
#else
layout(set = 0, binding = 1) buffer B1 { uint q[]; };
#define OUT 1
#endif

#include "quantise.glsl"

void main()
{
    uint t = gl_WorkGroupID.y, n = push.in_cols[0], words = (n + 63) / 64 * 16;
    if (t >= window()) {
        return;
    }
    float most = 1e-5;
    for (uint c = gl_LocalInvocationIndex; c < n; c += WG) {
        float v = abs(x[at(0) + t * n + c]);
        most = v > most ? v : most;
    }
    most = greatest(most);
    float inverse_ = 127.0 / most;
    uint row = push.first + t;
#ifdef RANDOM
    uvec2 key = key_of(uvec2(seed[at(1)], seed[at(1) + 1]), row);
#else
    uvec2 key = uvec2(0);
#endif
    for (uint w = gl_LocalInvocationIndex; w < words; w += WG) {
        q[at(OUT) + row * words + w] = word_of(t, w, n, inverse_, key);
    }
    if (gl_LocalInvocationIndex == 0) {
        q[at(OUT) + push.extra[0] + row] = floatBitsToUint(most / 127.0);
    }
}
