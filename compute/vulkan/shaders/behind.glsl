/* What stands behind a product: more(i, j) = scale sum_r u[i][r] b(r, j), which is an adapter's B (A x), or its gradient's
 * (dy B) A. extra[1]: how many r there are; 0: nothing stands there. */
layout(set = 0, binding = 4) readonly buffer B4 { float u[]; };
layout(set = 0, binding = 5) readonly buffer B5 { float b[]; };

float behind_u(uint i, uint r)
{
    return i < window() && r < push.extra[1] ? u[at(4) + i * push.extra[1] + r] : 0.0;
}

float behind_b(uint r, uint j)
{
#ifdef BACK
    return r < push.extra[1] && j < push.out_cols ? b[at(5) + r * push.out_cols + j] : 0.0;
#else
    return r < push.extra[1] && j < push.out_cols ? b[at(5) + j * push.extra[1] + r] : 0.0;
#endif
}
