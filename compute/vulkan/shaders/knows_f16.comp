#version 450
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
/* Asks the compiler. */
layout(local_size_x = 1) in;
layout(set = 0, binding = 0) buffer B0 { uint x[]; };

void main()
{
    x[0] = packFloat2x16(f16vec2(1.0) * unpackFloat2x16(x[1]));
}
