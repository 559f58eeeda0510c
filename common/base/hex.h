/* hex: bytes as lower-case hexadecimal, for names, logs and URLs. Not for secrets: it is not constant time.
 * Thread: any. */
#ifndef STN_BASE_HEX_H
#define STN_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes 2 * size characters and a zero to dst. */
void stn_hex_put(char *dst, const uint8_t *p, size_t size);

/* s must be exactly 2 * size digits, either case. False leaves dst undefined. */
bool stn_hex_get(uint8_t *dst, size_t size, const char *s);

#endif
