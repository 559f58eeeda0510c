#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

uint8_t *stn_buf_extend(struct stn_buf *buf, size_t size)
{
    size_t total;
    if (buf->failed || __builtin_add_overflow(buf->size, size, &total) ||
        (buf->limit != 0 && total > buf->limit)) {
        buf->failed = true;
        return NULL;
    }
    if (total > buf->room || buf->data == NULL) {
        size_t room = buf->room < 64 ? 64 : buf->room;
        while (room < total) {
            room = room > SIZE_MAX / 2 ? total : room * 2;
        }
        uint8_t *data = stn_mem_grow(buf->data, room, 1);
        if (data == NULL) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->room = room;
    }
    uint8_t *p = buf->data + buf->size;
    buf->size = total;
    return p;
}

bool stn_buf_add(struct stn_buf *buf, const void *p, size_t size)
{
    uint8_t *to = stn_buf_extend(buf, size);
    if (to == NULL) {
        return false;
    }
    if (size > 0) {
        memcpy(to, p, size);
    }
    return true;
}

bool stn_buf_add_u8(struct stn_buf *buf, uint8_t v)
{
    return stn_buf_add(buf, &v, 1);
}

bool stn_buf_add_u32(struct stn_buf *buf, uint32_t v)
{
    uint8_t bytes[4];
    stn_buf_put_u32(bytes, v);
    return stn_buf_add(buf, bytes, sizeof bytes);
}

bool stn_buf_add_u64(struct stn_buf *buf, uint64_t v)
{
    uint8_t bytes[8];
    stn_buf_put_u64(bytes, v);
    return stn_buf_add(buf, bytes, sizeof bytes);
}

bool stn_buf_add_str(struct stn_buf *buf, const char *s)
{
    return stn_buf_add(buf, s, strlen(s));
}

bool stn_buf_printf(struct stn_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    uint8_t *to = n < 0 ? NULL : stn_buf_extend(buf, (size_t)n + 1);
    if (to != NULL) {
        (void)vsnprintf((char *)to, (size_t)n + 1, format, again);
        buf->size--; /* the terminating zero stays behind the end */
    }
    va_end(again);
    return to != NULL;
}

void stn_buf_clear(struct stn_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

void stn_buf_fini(struct stn_buf *buf)
{
    stn_mem_free(buf->data);
    *buf = (struct stn_buf){.limit = buf->limit};
}

struct stn_cursor stn_buf_cursor(const void *p, size_t size)
{
    return (struct stn_cursor){.data = p, .size = size};
}

const uint8_t *stn_buf_take(struct stn_cursor *cursor, size_t size)
{
    if (cursor->failed || size > cursor->size - cursor->at) {
        cursor->failed = true;
        return NULL;
    }
    const uint8_t *p = cursor->data + cursor->at;
    cursor->at += size;
    return p;
}

uint8_t stn_buf_take_u8(struct stn_cursor *cursor)
{
    const uint8_t *p = stn_buf_take(cursor, 1);
    return p == NULL ? 0 : *p;
}

uint32_t stn_buf_take_u32(struct stn_cursor *cursor)
{
    const uint8_t *p = stn_buf_take(cursor, 4);
    return p == NULL ? 0 : stn_buf_get_u32(p);
}

uint64_t stn_buf_take_u64(struct stn_cursor *cursor)
{
    const uint8_t *p = stn_buf_take(cursor, 8);
    return p == NULL ? 0 : stn_buf_get_u64(p);
}
