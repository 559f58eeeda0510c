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
