#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool stn_str_copy(char *dst, size_t room, const char *s)
{
    size_t size = strlen(s) + 1;
    if (size > room) {
        if (room > 0) {
            dst[0] = '\0';
        }
        return false;
    }
    memcpy(dst, s, size);
    return true;
}

bool stn_str_u64(const char *s, uint64_t *ret)
{
    uint64_t v = 0;
    if (*s == '\0') {
        return false;
    }
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v)) {
            return false;
        }
    }
    *ret = v;
    return true;
}

/* A number at the start of s, and where it ends; NULL when there is none. */
static const char *leading_f64(const char *s, double *ret)
{
    if (strspn(s, "+-.0123456789") == 0) {
        return NULL; /* strtod would skip blanks and take "inf" and "nan" */
    }
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (end == s || !isfinite(v)) {
        return NULL;
    }
    *ret = v;
    return end;
}

bool stn_str_f64(const char *s, double *ret)
{
    double v;
    const char *end = leading_f64(s, &v);
    if (end == NULL || *end != '\0') {
        return false;
    }
    *ret = v;
    return true;
}

bool stn_str_size(const char *s, uint64_t *ret)
{
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"", 1}, {"K", 0x1p10}, {"M", 0x1p20}, {"G", 0x1p30}};
    double v;
    const char *end = leading_f64(s, &v);
    for (size_t i = 0; end != NULL && i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            v *= units[i].bytes;
            if (v < 0 || v >= 0x1p63) {
                return false;
            }
            *ret = (uint64_t)v;
            return true;
        }
    }
    return false;
}

bool stn_str_bool(const char *s, bool *ret)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(s, words[i]) == 0) {
            *ret = i % 2 == 1;
            return true;
        }
    }
    return false;
}

size_t stn_str_utf8(const char *p, size_t size, uint32_t *ret_point)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t first; /* the smallest point that needs this length */
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    if (size == 0) {
        return 0;
    }
    uint8_t lead = (uint8_t)p[0];
    for (size_t n = 1; n <= 4; n++) {
        if ((lead & forms[n - 1].mask) != forms[n - 1].lead) {
            continue;
        }
        uint32_t point = (uint32_t)(lead & (uint8_t)~forms[n - 1].mask);
        if (n > size) {
            return 0;
        }
        for (size_t i = 1; i < n; i++) {
            if (((uint8_t)p[i] & 0xc0) != 0x80) {
                return 0;
            }
            point = point << 6 | ((uint8_t)p[i] & 0x3f);
        }
        if (point < forms[n - 1].first || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) {
            return 0;
        }
        *ret_point = point;
        return n;
    }
    return 0;
}

size_t stn_str_utf8_put(char *p, uint32_t point)
{
    if (point < 0x80) {
        p[0] = (char)point;
        return 1;
    }
    size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        p[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    p[0] = (char)((0xf00 >> n) | point);
    return n;
}

bool stn_str_is_utf8(const char *p, size_t size)
{
    while (size > 0) {
        uint32_t point;
        size_t n = stn_str_utf8(p, size, &point);
        if (n == 0) {
            return false;
        }
        p += n;
        size -= n;
    }
    return true;
}

bool stn_str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool stn_str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}
