#version 450
#extension GL_GOOGLE_include_directive : require
/* How fast a device reads its memory: extra[0] rounds over all of x, of which each invocation reads 16 times 16 bytes, beside its
 * neighbours'. The groups are a power of two. */
#include "common.glsl"
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) buffer B0 { uvec4 x[]; };

void main()
{
    uint n = gl_NumWorkGroups.x * 64;
    uvec4 sum = uvec4(0);
    for (uint r = 0; r < push.extra[0]; r++) {
        uint place = (gl_GlobalInvocationID.x + r * 64) & (n - 1); /* or one round would serve all */
        [[unroll]] for (uint i = 0; i < 16; i++) {
            sum ^= x[i * n + place];
        }
    }
    if (sum == uvec4(push.extra[1])) { /* never, for x is zeroes; but a compiler does not know */
        x[gl_GlobalInvocationID.x] = sum;
    }
}
