#include "update/pack.h"

#include <assert.h>

#include "base/buf.h"

void stn_pack_put(uint8_t *dst, const uint32_t *v, size_t n, unsigned b)
{
    assert(b == 16 || b == 24 || b == 32);
    for (size_t i = 0; i < n; i++) {
        for (unsigned k = 0; k < b; k += 8) {
            *dst++ = (uint8_t)(v[i] >> k);
        }
    }
}

/* One loop for each width: the compiler turns each into shuffles. */
void stn_pack_add(uint32_t *acc, const uint8_t *src, size_t n, unsigned b)
{
    assert(b == 16 || b == 24 || b == 32);
    if (b == 16) {
        for (size_t i = 0; i < n; i++) {
            acc[i] += (uint32_t)src[2 * i] | (uint32_t)src[2 * i + 1] << 8;
        }
    } else if (b == 24) {
        for (size_t i = 0; i < n; i++) {
            acc[i] += (uint32_t)src[3 * i] | (uint32_t)src[3 * i + 1] << 8 |
                      (uint32_t)src[3 * i + 2] << 16;
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            acc[i] += stn_buf_get_u32(src + 4 * i);
        }
    }
}
