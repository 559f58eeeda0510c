#version 450
#extension GL_GOOGLE_include_directive : require
/* Turns pairs (a, b) of one head by the angle of the row's position: a' = a cos - b sin, b' = a sin + b cos; INVERSE: back
 * pairs: (i, i + n/2) for NEOX, (2i, 2i + 1) else; the table has n/2 cosines and n/2 sines for each position */
#include "common.glsl"
#include "cells.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { int positions[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float table[]; };
layout(set = 0, binding = 2) buffer B2 { float x[]; };

void main()
{
    uint t = row_(), half_ = push.in_cols[1] / 2, h = column() / half_, i = column() % half_;
    if (t >= window() || h >= push.heads) {
        return;
    }
    uint angle = at(1) + uint(positions[at(0) + t]) * push.in_cols[1] + i;
    uint head = at(2) + (t * push.heads + h) * push.head_size;
    uint first = head + (has(NEOX) ? i : 2 * i), second = has(NEOX) ? first + half_ : first + 1;
    float a = x[first], b = x[second], cosine = table[angle], sine = table[angle + half_];
    sine = has(INVERSE) ? -sine : sine;
    x[first] = a * cosine - b * sine;
    x[second] = a * sine + b * cosine;
}
