#version 450
#extension GL_GOOGLE_include_directive : require
/* dW[o][c] (+)= scale sum_t dy[t][o] x[t][c] where few of the one side, at most 16 as an adapter's rank is, meet many of the other:
 * many(t, w) = dy[t][w], few(t, j) = x[t][j], or for DOWN the other way round, and then up to three dW of one x, which comes from
 * memory once; extra[1]: how many there are beside the first. A work group does 16 of the many, eight of the few at a time, and
 * eight of its invocations share the sum over t. */
#include "common.glsl"
layout(local_size_x = 128) in;
layout(set = 0, binding = 0) readonly buffer B0 { float many[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float few0[]; };
#ifdef DOWN
layout(set = 0, binding = 2) readonly buffer B2 { float few1[]; };
layout(set = 0, binding = 3) readonly buffer B3 { float few2[]; };
layout(set = 0, binding = 4) buffer B4 { float dw0[]; };
layout(set = 0, binding = 5) buffer B5 { float dw1[]; };
layout(set = 0, binding = 6) buffer B6 { float dw2[]; };
#define PRODUCTS 3
#define OUT 4
#else
layout(set = 0, binding = 2) buffer B2 { float dw0[]; };
#define PRODUCTS 1
#define OUT 2
#endif

const uint MANY = 16, FEW = 8, SHARES = 8;

shared float parts[SHARES][MANY * FEW];

float few(uint g, uint i)
{
#ifdef DOWN
    return g == 0 ? few0[at(1) + i] : g == 1 ? few1[at(2) + i] : few2[at(3) + i];
#else
    return few0[at(1) + i];
#endif
}

void put(uint g, uint i, float v)
{
    v *= push.scale;
    if (g == 0) {
        dw0[at(OUT) + i] = has(ADD) ? dw0[at(OUT) + i] + v : v;
    }
#ifdef DOWN
    if (g == 1) {
        dw1[at(OUT + 1) + i] = has(ADD) ? dw1[at(OUT + 1) + i] + v : v;
    }
    if (g == 2) {
        dw2[at(OUT + 2) + i] = has(ADD) ? dw2[at(OUT + 2) + i] + v : v;
    }
#endif
}

void main()
{
#ifdef DOWN
    uint w0 = gl_WorkGroupID.x * MANY, n_many = push.out_cols, n_few = push.out_rows, most = push.extra[1];
#else
    uint w0 = gl_WorkGroupID.y * MANY, n_many = push.out_rows, n_few = push.out_cols, most = 0;
#endif
    uint l = gl_LocalInvocationIndex, w = w0 + l % MANY, share = l / MANY;
    for (uint j0 = 0; j0 < n_few; j0 += FEW) {
        float acc[PRODUCTS][FEW];
        [[unroll]] for (uint i = 0; i < PRODUCTS * FEW; i++) {
            acc[i / FEW][i % FEW] = 0.0;
        }
        for (uint t = share; t < window() && w < n_many; t += SHARES) {
            float v = many[at(0) + t * n_many + w];
            [[unroll]] for (uint g = 0; g < PRODUCTS; g++) {
                [[unroll]] for (uint j = 0; j < FEW; j++) {
                    acc[g][j] += g <= most && j0 + j < n_few ? v * few(g, t * n_few + j0 + j) : 0.0;
                }
            }
        }
        [[unroll]] for (uint g = 0; g < PRODUCTS; g++) {
            if (g <= most) {
                [[unroll]] for (uint j = 0; j < FEW; j++) {
                    parts[share][j * MANY + l % MANY] = acc[g][j];
                }
                barrier();
                float sum = 0.0;
                [[unroll]] for (uint s = 0; s < SHARES; s++) {
                    sum += parts[s][l];
                }
                uint j = j0 + share;
                if (w < n_many && j < n_few) {
#ifdef DOWN
                    put(g, j * n_many + w, sum);
#else
                    put(g, w * n_few + j, sum);
#endif
                }
                barrier();
            }
        }
    }
}
