#include "update/pack.h"

#include <assert.h>

#include "base/buf.h"

/* One loop for each width: the compiler turns each into shuffles. */
void stn_pack_put(uint8_t *dst, const uint32_t *v, size_t n, unsigned b)
{
    assert(b == 16 || b == 24 || b == 32);
    if (b == 16) {
        for (size_t i = 0; i < n; i++) {
            dst[2 * i] = (uint8_t)v[i];
            dst[2 * i + 1] = (uint8_t)(v[i] >> 8);
        }
    } else if (b == 24) {
        for (size_t i = 0; i < n; i++) {
            dst[3 * i] = (uint8_t)v[i];
            dst[3 * i + 1] = (uint8_t)(v[i] >> 8);
            dst[3 * i + 2] = (uint8_t)(v[i] >> 16);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            stn_buf_put_u32(dst + 4 * i, v[i]);
        }
    }
}

void stn_pack_add(uint32_t *acc, const uint8_t *src, size_t n, unsigned b)
{
    assert(b == 16 || b == 24 || b == 32);
    if (b == 16) {
        for (size_t i = 0; i < n; i++) {
            acc[i] += (uint32_t)src[2 * i] | (uint32_t)src[2 * i + 1] << 8;
        }
    } else if (b == 24) {
        size_t i = 0;
        for (; i + 1 < n; i++) { /* with a byte of the next one */
            acc[i] += stn_buf_get_u32(src + 3 * i) & 0xffffff;
        }
        for (; i < n; i++) {
            acc[i] += (uint32_t)src[3 * i] | (uint32_t)src[3 * i + 1] << 8 |
                      (uint32_t)src[3 * i + 2] << 16;
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            acc[i] += stn_buf_get_u32(src + 4 * i);
        }
    }
}
