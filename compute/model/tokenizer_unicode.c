#include "compute/model/tokenizer_unicode.h"

#include <stddef.h>

static const uint32_t changes[] = {
#include "compute/model/tokenizer_unicode_table.h"
};

uint8_t stn_tokenizer_unicode_class(uint32_t point)
{
    if (point >= 0x110000) {
        return 0;
    }
    size_t low = 0, high = sizeof changes / sizeof *changes; /* changes[low] is at or before point */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (changes[middle] >> 4 <= point) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return changes[low] & 15;
}
