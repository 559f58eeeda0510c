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

float held(float v)
{
    v = v < 127.0 ? v : 127.0; /* what is no number becomes 127 */
    return v > -127.0 ? v : -127.0;
}

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
    uvec2 s = mixed(plus(uvec2(seed[at(1)], seed[at(1) + 1]), uvec2(push.number, 0)));
    uvec2 key = mixed(plus(mixed(s), uvec2(row, 0)));
#endif
    for (uint w = gl_LocalInvocationIndex; w < words; w += WG) {
        uint word = 0;
        for (uint b = 0; b < 4 && w * 4 + b < n; b++) {
            float v = x[at(0) + t * n + w * 4 + b] * inverse_;
#ifdef RANDOM
            v = floor(v + float(hashed(key, w * 4 + b) >> 8) * 5.9604644775390625e-8);
#else
            v = roundEven(v);
#endif
            word |= (uint(int(held(v))) & 255) << 8 * b;
        }
        q[at(OUT) + row * words + w] = word;
    }
    if (gl_LocalInvocationIndex == 0) {
        q[at(OUT) + push.extra[0] + row] = floatBitsToUint(most / 127.0);
    }
}
