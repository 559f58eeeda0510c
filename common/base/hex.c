#include "base/hex.h"

#include <string.h>

void stn_hex_put(char *dst, const uint8_t *p, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        dst[2 * i] = digits[p[i] >> 4];
        dst[2 * i + 1] = digits[p[i] & 15];
    }
    dst[2 * size] = '\0';
}

static int value_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool stn_hex_get(uint8_t *dst, size_t size, const char *s)
{
    if (strlen(s) != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        int hi = value_of(s[2 * i]), lo = value_of(s[2 * i + 1]);
        if (hi < 0 || lo < 0) {
            return false;
        }
        dst[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}
