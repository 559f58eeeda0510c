#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
/* Asks the compiler. */
layout(local_size_x = 32) in;
layout(set = 0, binding = 0) buffer B0 { int x[]; };

void main()
{
    coopmat<int8_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA> a;
    coopMatLoad(a, x, 0, 16, gl_CooperativeMatrixLayoutRowMajor);
    coopMatStore(a, x, 0, 16, gl_CooperativeMatrixLayoutRowMajor);
}
