#version 450
#extension GL_GOOGLE_include_directive : require
/* x[t] = table[tokens[t]] */
#include "common.glsl"
#include "cells.glsl"
layout(set = 0, binding = 0) readonly buffer B0 { int tokens[]; };
layout(set = 0, binding = 1) readonly buffer B1 { uint table[]; };
layout(set = 0, binding = 2) writeonly buffer B2 { float x[]; };

void main()
{
    uint t = row_(), c = column();
    if (t >= window() || c >= push.out_cols) {
        return;
    }
    uint token = uint(tokens[at(0) + t]);
    if (token < push.table_first || token - push.table_first >= push.table_count) {
        return; /* another window of the table has it */
    }
    uint i = (token - push.table_first) * push.out_cols + c;
    x[at(2) + t * push.out_cols + c] =
        has(HALF) ? unpackHalf2x16(table[at(1) + i / 2])[i % 2] : uintBitsToFloat(table[at(1) + i]);
}
