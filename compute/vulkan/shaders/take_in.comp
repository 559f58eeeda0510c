#version 450
#extension GL_GOOGLE_include_directive : require
/* A tile of logits z enters each row's softmax (Milakov and Gimelshein 2018): z becomes exp(z - peak) under the new peak, and
 *   state[i] = (peak, sum of exponentials, the label's logit, exp(old peak - new peak)),  guess[i] = the first greatest
 * z: (M, in_cols[0]), its first table_count columns being words from table_first on. A work group for each row. */
#include "common.glsl"
#include "reduce.glsl"
layout(set = 0, binding = 0) buffer B0 { float z[]; };
layout(set = 0, binding = 1) readonly buffer B1 { int labels[]; };
layout(set = 0, binding = 2) buffer B2 { vec4 state[]; };
layout(set = 0, binding = 3) buffer B3 { int guesses[]; };

void main()
{
    uint i = gl_WorkGroupID.y, n = push.table_count, from = at(0) + i * push.in_cols[0];
    if (i >= window()) {
        return;
    }
    const float lowest = uintBitsToFloat(0xff7fffffu);
    float best = lowest;
    for (uint v = gl_LocalInvocationIndex; v < n; v += WG) {
        best = z[from + v] > best ? z[from + v] : best;
    }
    best = greatest(best);
    float word = 4294967040.0;
    for (uint v = gl_LocalInvocationIndex; v < n; v += WG) {
        word = z[from + v] >= best && float(v) < word ? float(v) : word;
    }
    word = -greatest(-word);
    uint label = uint(labels[at(1) + i]);
    bool is_here = label >= push.table_first && label - push.table_first < n;
    float own = is_here ? z[from + label - push.table_first] : 0.0;
    vec4 old = has(FIRST) ? vec4(lowest, 0.0, 0.0, 0.0) : state[i];
    float peak = best > old.x || has(FIRST) ? best : old.x, sum = 0.0;
    barrier(); /* everybody has seen the label's logit, and the old state */
    for (uint v = gl_LocalInvocationIndex; v < n; v += WG) {
        float e = exponential(z[from + v] - peak);
        z[from + v] = e;
        sum += e;
    }
    sum = total(sum);
    if (gl_LocalInvocationIndex == 0) {
        float shrink = has(FIRST) ? 0.0 : peak > old.x ? exponential(old.x - peak) : 1.0;
        state[i] = vec4(peak, old.y * shrink + sum, is_here ? own : old.z, shrink);
        if (has(FIRST) || best > old.x) {
            guesses[at(3) + i] = int(push.table_first + min(uint(word), n - 1));
        }
    }
}
