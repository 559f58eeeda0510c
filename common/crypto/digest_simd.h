/* digest_simd: BLAKE2b in the lanes of a vector register, one message a lane. Before it is included, the including file
 * says what a register is:
 *
 *   KERNEL, TARGET                     the function's name, and its attributes
 *   VEC, LANES                         the type, and how many words of 64 bits it holds
 *   SPREAD(x), ADD(a, b), XOR(a, b)    x in every lane; lane by lane, modulo 2^64
 *   ROR32(a) ROR24(a) ROR16(a) ROR63(a)  rotations to the right
 *   LOAD(p), STORE(p, a)               LANES numbers in memory, aligned as numbers are
 *   words(m, from, at)                 m[w]: word w of the blocks that lie at from[l] + at
 */
#define G(a, b, c, d, x, y)                                                                                          \
    v##a = ADD(ADD(v##a, v##b), m[x]);                                                                               \
    v##d = ROR32(XOR(v##d, v##a));                                                                                   \
    v##c = ADD(v##c, v##d);                                                                                          \
    v##b = ROR24(XOR(v##b, v##c));                                                                                   \
    v##a = ADD(ADD(v##a, v##b), m[y]);                                                                               \
    v##d = ROR16(XOR(v##d, v##a));                                                                                   \
    v##c = ADD(v##c, v##d);                                                                                          \
    v##b = ROR63(XOR(v##b, v##c));
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15)                                  \
    G(0, 4, 8, 12, s0, s1) G(1, 5, 9, 13, s2, s3) G(2, 6, 10, 14, s4, s5) G(3, 7, 11, 15, s6, s7)                    \
    G(0, 5, 10, 15, s8, s9) G(1, 6, 11, 12, s10, s11) G(2, 7, 8, 13, s12, s13) G(3, 4, 9, 14, s14, s15)
#define WORDS(op) op(0, 8) op(1, 9) op(2, 10) op(3, 11) op(4, 12) op(5, 13) op(6, 14) op(7, 15)
#define BEGIN(w, u) VEC v##w = h##w, v##u = SPREAD(iv[w]);
#define FEED(w, u) h##w = XOR(h##w, XOR(v##w, v##u));
#define TAKE(w, u) VEC h##w = LOAD(h + (w) * LANES);
#define GIVE(w, u) STORE(h + (w) * LANES, h##w);

TARGET void KERNEL(uint64_t *h, const uint8_t *const *from, size_t n, uint64_t t, uint64_t end)
{
    static const uint64_t iv[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                   0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
    WORDS(TAKE)
    for (size_t i = 0; i < n; i++) {
        uint64_t is_last = end != 0 && i + 1 == n;
        uint64_t so_far = is_last != 0 ? end : t + 128 * (i + 1);
        VEC m[16];
        words(m, from, 128 * i);
        WORDS(BEGIN)
        v12 = XOR(v12, SPREAD(so_far));
        v14 = XOR(v14, SPREAD(0 - is_last));
        ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
        ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)
        ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4)
        ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8)
        ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13)
        ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9)
        ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11)
        ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10)
        ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5)
        ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)
        ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
        ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)
        WORDS(FEED)
    }
    WORDS(GIVE)
}
