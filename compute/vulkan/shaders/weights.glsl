/* Ternary weights as they lie on the device: 16 codes (weight + 1) to a word, rows of whole words padded with weight 0; and one
 * scale for all, or one for each 256 columns of a row. */
float code(uint word, uint i)
{
    return float(word >> 2 * i & 3) - 1.0;
}

uint words_of(uint cols)
{
    return (cols + 15) / 16;
}

const uint NOTHING = 0x55555555; /* 16 weights 0 */

/* Four bytes of 0, 1, 2 as bytes of -1, 0, 1. */
uint signed_bytes(uint four)
{
    return (four | 0x80808080) - 0x01010101 ^ 0x80808080;
}

/* The first four of a word's codes as four int8. */
uint bytes_of(uint word)
{
    word &= 255;
    word = (word | word << 12) & 0x000f000f;
    return signed_bytes((word | word << 6) & 0x03030303);
}
