/* stream: the key stream of ChaCha20 (RFC 8439, 12-byte nonce, counter from 0) as a source of
 * numbers that two sides who know the key draw alike: signs, roundings, shuffles. A key and a
 * number name a stream; the number is the first four bytes of the nonce, little endian, the rest is
 * zero. A stream ends after 2^32 blocks of 64 bytes; drawing past it is an assert. Thread: one at a
 * time for each stream. */
#ifndef STN_CRYPTO_STREAM_H
#define STN_CRYPTO_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define STN_STREAM_KEY 32
#define STN_STREAM_BLOCK 64

struct stn_stream {
    uint8_t key[STN_STREAM_KEY];
    uint32_t number;
    uint64_t block; /* the next to make */
    uint8_t ahead[512];
    size_t n_ahead; /* bytes at the end of ahead that were made and not yet given */
};

void stn_stream_init(struct stn_stream *ret, const uint8_t key[static STN_STREAM_KEY],
                     uint32_t number);
void stn_stream_fini(struct stn_stream *stream); /* wipes; NULL and zeroed are fine */

/* The next size bytes, and the next four as a little-endian number. */
void stn_stream_bytes(struct stn_stream *stream, void *dst, size_t size);
uint32_t stn_stream_u32(struct stn_stream *stream);

/* Uniform in [0, n), n > 0, without bias: numbers are drawn until one is good (Lemire, 2019, "Fast
 * random integer generation in an interval", with 32-bit words). */
uint32_t stn_stream_below(struct stn_stream *stream, uint32_t n);

#endif
