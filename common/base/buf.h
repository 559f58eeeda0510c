/* buf: a growing run of bytes, and a cursor that reads one. Numbers are little endian. Thread: one at a time. */
#ifndef STN_BASE_BUF_H
#define STN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Zeroed is empty and ready. limit is the most bytes it may hold (0: no limit). */
struct stn_buf {
    uint8_t *data;
    size_t size;
    size_t room;
    size_t limit;
    bool failed; /* an append did not fit or found no memory; sticky, so that a run of appends is checked once */
};

/* Appends; NULL or false when there is no memory or the limit would be passed, and buf->failed is set. */
uint8_t *stn_buf_extend(struct stn_buf *buf, size_t size); /* size new bytes, not zeroed */
bool stn_buf_add(struct stn_buf *buf, const void *p, size_t size);
bool stn_buf_add_u8(struct stn_buf *buf, uint8_t v);
bool stn_buf_add_u32(struct stn_buf *buf, uint32_t v);
bool stn_buf_add_u64(struct stn_buf *buf, uint64_t v);
bool stn_buf_add_str(struct stn_buf *buf, const char *s); /* without its zero */
bool stn_buf_printf(struct stn_buf *buf, const char *format, ...) STN_PRINTF(2, 3);

/* Empties it and keeps the memory. */
void stn_buf_clear(struct stn_buf *buf);

/* Frees the memory; zeroed is fine. */
void stn_buf_fini(struct stn_buf *buf);

/* Reads what it borrows. A read past the end gives zeroes and sets failed, which is sticky. */
struct stn_cursor {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool failed;
};

struct stn_cursor stn_buf_cursor(const void *p, size_t size);
/* NULL past the end. */
const uint8_t *stn_buf_take(struct stn_cursor *cursor, size_t size);
uint8_t stn_buf_take_u8(struct stn_cursor *cursor);
uint32_t stn_buf_take_u32(struct stn_cursor *cursor);
uint64_t stn_buf_take_u64(struct stn_cursor *cursor);

/* Little-endian numbers anywhere in memory, inline: long vectors go through them. */
static inline void stn_buf_put_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static inline void stn_buf_put_u64(uint8_t *p, uint64_t v)
{
    stn_buf_put_u32(p, (uint32_t)v);
    stn_buf_put_u32(p + 4, (uint32_t)(v >> 32));
}

static inline uint32_t stn_buf_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t stn_buf_get_u64(const uint8_t *p)
{
    return (uint64_t)stn_buf_get_u32(p) | (uint64_t)stn_buf_get_u32(p + 4) << 32;
}

#endif
