/* 64-bit arithmetic in pairs of words (low, high), for the random numbers of compute/cpu: stn_rng_mix and stn_ternary_hash. */
uvec2 plus(uvec2 a, uvec2 b)
{
    uint carry, low = uaddCarry(a.x, b.x, carry);
    return uvec2(low, a.y + b.y + carry);
}

uvec2 times(uvec2 a, uvec2 b)
{
    uint high, low;
    umulExtended(a.x, b.x, high, low);
    return uvec2(low, high + a.x * b.y + a.y * b.x);
}

/* a ^ a >> n, 0 < n < 32 */
uvec2 folded(uvec2 a, uint n)
{
    return uvec2(a.x ^ (a.x >> n | a.y << 32 - n), a.y ^ a.y >> n);
}

uvec2 mixed(uvec2 a)
{
    a = plus(a, uvec2(0x7f4a7c15u, 0x9e3779b9u));
    a = times(folded(a, 30), uvec2(0x1ce4e5b9u, 0xbf58476du));
    a = times(folded(a, 27), uvec2(0x133111ebu, 0x94d049bbu));
    return folded(a, 31);
}

uint hashed(uvec2 key, uint c)
{
    uint x = c * 0x9e3779b9u + key.x;
    x = (x ^ x >> 16) * 0x7feb352du ^ key.y;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}
