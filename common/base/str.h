/* str: strings that came from outside. Thread: any. */
#ifndef STN_BASE_STR_H
#define STN_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies s whole into dst of room bytes, with its zero. False, and dst empty, when it does not fit. */
bool stn_str_copy(char *dst, size_t room, const char *s);

/* The whole of s must be one number. False leaves *ret as it was. No sign but f64's, no blanks, no overflow. */
bool stn_str_u64(const char *s, uint64_t *ret);
bool stn_str_f64(const char *s, double *ret); /* finite */
bool stn_str_size(const char *s, uint64_t *ret); /* bytes, with an optional K, M or G (powers of 1024): "1.5G" */
bool stn_str_bool(const char *s, bool *ret); /* yes no true false on off 1 0 */

/* How many bytes the UTF-8 sequence at p takes, and its code point; 0 when it is malformed (overlong, surrogate, cut). */
size_t stn_str_utf8(const char *p, size_t size, uint32_t *ret_point);
/* Writes a code point (below 0x110000) as UTF-8 to at most 4 bytes; how many. */
size_t stn_str_utf8_put(char *p, uint32_t point);
bool stn_str_is_utf8(const char *p, size_t size);

bool stn_str_starts(const char *s, const char *prefix);
bool stn_str_ends(const char *s, const char *suffix);

#endif
