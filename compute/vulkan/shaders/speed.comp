#version 450
#extension GL_GOOGLE_include_directive : require
#ifdef DOT8
#extension GL_EXT_integer_dot_product : require
#define CELL int
#define MULTIPLY(sum, a, b) dotPacked4x8EXT(a, b) + sum
#else
#define CELL float
#define MULTIPLY(sum, a, b) fma(sum, a, b)
#endif
/* What a device multiplies at best: extra[0] rounds of 64 multiplications in 8 chains that stay in registers; DOT8: of four each. */
#include "common.glsl"
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) writeonly buffer B0 { CELL x[]; };

void main()
{
    CELL acc[8], a = CELL(push.extra[1] + gl_LocalInvocationIndex), b = CELL(push.extra[1] + 3);
    [[unroll]] for (uint c = 0; c < 8; c++) {
        acc[c] = CELL(c);
    }
    for (uint r = 0; r < push.extra[0]; r++) {
        [[unroll]] for (uint i = 0; i < 8; i++) {
            [[unroll]] for (uint c = 0; c < 8; c++) {
                acc[c] = MULTIPLY(acc[c], a, b);
            }
#ifdef DOT8
            a ^= acc[i]; /* or one product would serve all rounds */
#endif
        }
    }
    CELL sum = CELL(0);
    [[unroll]] for (uint c = 0; c < 8; c++) {
        sum += acc[c];
    }
    x[at(0) + gl_GlobalInvocationID.x] = sum;
}
