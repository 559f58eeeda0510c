/* mask_simd: ChaCha20 in the lanes of a vector register, one block a lane. Before it is included,
 * the including file says what a register is:
 *
 *   KERNEL, TARGET                     the function's name, and its attributes
 *   VEC, LANES                         the type, and how many words it holds (a divisor of 16)
 *   SPREAD(x), COUNT(x)                x in every lane; x, x + 1, ... lane by lane
 *   ADD(a, b) SUB(a, b) XOR(a, b)      lane by lane, modulo 2^32
 *   ROL16(a) ROL12(a) ROL8(a) ROL7(a)  rotations to the left
 *   LOAD(p), STORE(p, a)               LANES numbers in memory, aligned as numbers are
 *
 * The sixteen words of the state are sixteen registers with names, not an array, so that every
 * compiler keeps as many of them in registers as there are. */
/* The four of a round side by side: each waits for itself, not for the others. */
#define STEP(op)                                                                                   \
    op(0, 4, 8, 12) op(1, 5, 9, 13) op(2, 6, 10, 14) op(3, 7, 11, 15)
#define STEP_DIAGONAL(op)                                                                          \
    op(0, 5, 10, 15) op(1, 6, 11, 12) op(2, 7, 8, 13) op(3, 4, 9, 14)
#define ADD_AB(a, b, c, d) x##a = ADD(x##a, x##b);
#define ADD_CD(a, b, c, d) x##c = ADD(x##c, x##d);
#define TURN_D16(a, b, c, d) x##d = ROL16(XOR(x##d, x##a));
#define TURN_D8(a, b, c, d) x##d = ROL8(XOR(x##d, x##a));
#define TURN_B12(a, b, c, d) x##b = ROL12(XOR(x##b, x##c));
#define TURN_B7(a, b, c, d) x##b = ROL7(XOR(x##b, x##c));
#define ROUND(step)                                                                                \
    step(ADD_AB) step(TURN_D16) step(ADD_CD) step(TURN_B12)                                        \
    step(ADD_AB) step(TURN_D8) step(ADD_CD) step(TURN_B7)

#define WORDS(op)                                                                                  \
    op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) \
        op(15)
#define BEGIN(w) VEC x##w = (w) == 12 ? COUNT(state[12] + counter) : SPREAD(state[w]);
#define FEED(w)                                                                                    \
    x##w = ADD(x##w, (w) == 12 ? COUNT(state[12] + counter) : SPREAD(state[w]));
#define PLUS(w) STORE(to + 16 * (w), ADD(LOAD(to + 16 * (w)), x##w));
#define MINUS(w) STORE(to + 16 * (w), SUB(LOAD(to + 16 * (w)), x##w));

TARGET void KERNEL(uint32_t *v, size_t n, const uint32_t state[static 16], bool is_minus)
{
    for (size_t i = 0; i < n * (16 / LANES); i++) {
        uint32_t counter = (uint32_t)(i * LANES);
        uint32_t *to = v + i / (16 / LANES) * 256 + i % (16 / LANES) * LANES;
        WORDS(BEGIN)
        for (int round = 0; round < 10; round++) {
            ROUND(STEP)
            ROUND(STEP_DIAGONAL)
        }
        WORDS(FEED)
        if (is_minus) {
            WORDS(MINUS)
        } else {
            WORDS(PLUS)
        }
    }
}
