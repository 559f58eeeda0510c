#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#pragma use_vulkan_memory_model
/* What a device's matrices multiply at best: extra[0] rounds of 4 products in 4 chains, in each of a group's four subgroups. */
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
#ifdef HALF_
#define CELL float16_t
#define SUM float
#else
#define CELL int8_t
#define SUM int
#endif
layout(set = 0, binding = 0) writeonly buffer B0 { SUM x[]; };

void main()
{
    coopmat<CELL, gl_ScopeSubgroup, M, K, gl_MatrixUseA> a =
        coopmat<CELL, gl_ScopeSubgroup, M, K, gl_MatrixUseA>(CELL(push.extra[1] & 1));
    coopmat<CELL, gl_ScopeSubgroup, K, N, gl_MatrixUseB> b =
        coopmat<CELL, gl_ScopeSubgroup, K, N, gl_MatrixUseB>(CELL(push.extra[1] & 2));
    coopmat<SUM, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> acc[4];
    [[unroll]] for (uint c = 0; c < 4; c++) {
        acc[c] = coopmat<SUM, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(SUM(c));
    }
    for (uint r = 0; r < push.extra[0]; r++) {
        [[unroll]] for (uint c = 0; c < 4; c++) {
            acc[c] = coopMatMulAdd(a, b, acc[c]);
        }
    }
    coopMatStore(acc[0] + acc[1] + acc[2] + acc[3], x, at(0) + (gl_WorkGroupID.x * 4 + gl_SubgroupID) * M * N, N,
                 gl_CooperativeMatrixLayoutRowMajor);
}
