/* pack: vectors of integers modulo 2^b as bytes, the form in which they travel and wait in spool files.
 * Element i takes b/8 bytes, little endian, so that any run of whole elements can be cut out. b is 16, 24 or 32.
 * Thread: any. */
#ifndef STN_UPDATE_PACK_H
#define STN_UPDATE_PACK_H

#include <stddef.h>
#include <stdint.h>

/* The low b bits of n elements; dst has n * b/8 bytes. */
void stn_pack_put(uint8_t *dst, const uint32_t *v, size_t n, unsigned b);

/* acc[i] += element i (modulo 2^32: only the low b bits of a sum mean anything). */
void stn_pack_add(uint32_t *acc, const uint8_t *src, size_t n, unsigned b);

#endif
