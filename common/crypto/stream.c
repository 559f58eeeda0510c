#include "crypto/stream.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"

void stn_stream_init(struct stn_stream *ret, const uint8_t key[static STN_STREAM_KEY],
                     uint32_t number)
{
    *ret = (struct stn_stream){.number = number};
    memcpy(ret->key, key, sizeof ret->key);
}

void stn_stream_fini(struct stn_stream *stream)
{
    if (stream != NULL) {
        sodium_memzero(stream, sizeof *stream);
    }
}

/* size is a whole number of blocks. */
static void make(struct stn_stream *stream, uint8_t *dst, size_t size)
{
    uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES] = {0};
    uint64_t n_blocks = size / STN_STREAM_BLOCK, left = ((uint64_t)1 << 32) - stream->block;
    assert(size % STN_STREAM_BLOCK == 0 && n_blocks <= left);
    stn_buf_put_u32(nonce, stream->number);
    memset(dst, 0, size);
    (void)crypto_stream_chacha20_ietf_xor_ic(dst, dst, size, nonce, (uint32_t)stream->block,
                                             stream->key);
    stream->block += n_blocks;
}

void stn_stream_bytes(struct stn_stream *stream, void *dst, size_t size)
{
    uint8_t *to = dst;
    while (size > 0) {
        if (stream->n_ahead > 0) {
            size_t n = size < stream->n_ahead ? size : stream->n_ahead;
            memcpy(to, stream->ahead + sizeof stream->ahead - stream->n_ahead, n);
            stream->n_ahead -= n;
            to += n;
            size -= n;
        } else if (size >= STN_STREAM_BLOCK) {
            size_t n = size - size % STN_STREAM_BLOCK;
            make(stream, to, n);
            to += n;
            size -= n;
        } else {
            make(stream, stream->ahead, sizeof stream->ahead);
            stream->n_ahead = sizeof stream->ahead;
        }
    }
}

uint32_t stn_stream_u32(struct stn_stream *stream)
{
    uint8_t bytes[4];
    stn_stream_bytes(stream, bytes, sizeof bytes);
    return stn_buf_get_u32(bytes);
}

uint32_t stn_stream_below(struct stn_stream *stream, uint32_t n)
{
    assert(n > 0);
    uint32_t refused = -n % n; /* 2^32 mod n: the low words that would be drawn once too often */
    uint64_t product;
    do {
        product = (uint64_t)stn_stream_u32(stream) * n;
    } while ((uint32_t)product < refused);
    return (uint32_t)(product >> 32);
}
