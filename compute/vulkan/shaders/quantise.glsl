/* How rows of x become int8 with a scale: see quantise.comp. The includer has x, at binding 0, and for RANDOM the seed and mix.glsl. */
float held(float v)
{
    v = v < 127.0 ? v : 127.0; /* what is no number becomes 127 */
    return v > -127.0 ? v : -127.0;
}

#ifdef RANDOM
uvec2 key_of(uvec2 seed_, uint row)
{
    uvec2 s = mixed(plus(seed_, uvec2(push.number, 0)));
    return mixed(plus(mixed(s), uvec2(row, 0)));
}
#endif

/* Word w of row t: four values of the n, zeroes behind the last. */
uint word_of(uint t, uint w, uint n, float inverse_, uvec2 key)
{
    uint word = 0;
    for (uint b = 0; b < 4 && w * 4 + b < n; b++) {
        float v = x[at(0) + t * n + w * 4 + b] * inverse_;
#ifdef RANDOM
        v = floor(v + float(hashed(key, w * 4 + b) >> 8) * 5.9604644775390625e-8);
#else
        v = roundEven(v);
#endif
        word |= (uint(int(held(v))) & 255) << 8 * b;
    }
    return word;
}
