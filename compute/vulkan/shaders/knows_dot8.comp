#version 450
#extension GL_EXT_integer_dot_product : require
/* Asks the compiler. */
layout(local_size_x = 1) in;
layout(set = 0, binding = 0) buffer B0 { int x[]; };

void main()
{
    x[0] = dotPacked4x8EXT(x[0], x[1]);
}
