/* The door of the decoder. An input is a choice and what to do: below STN_SAY_MESSAGES a valid
 * message with changes (where, and what to xor), else bytes as they are. What is taken encodes
 * again, to bytes that stay the same. */
#include "tests/lib/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/codec.h"
#include "tests/lib/say.h"

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void decode(const uint8_t *p, size_t size)
{
    struct stn_arena arena = {0};
    struct stn_msg msg, again;
    struct stn_buf one = {0}, two = {0};
    uint8_t *exact = stn_mem_copy(p, size);
    if (exact != NULL && stn_codec_decode(&msg, &arena, exact, size, NULL) == STN_OK) {
        require(stn_codec_encode(&msg, &one, NULL) == STN_OK && one.size <= size);
        require(stn_codec_decode(&again, &arena, one.data, one.size, NULL) == STN_OK);
        require(stn_codec_encode(&again, &two, NULL) == STN_OK);
        require(one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
    }
    stn_mem_free(exact);
    stn_buf_fini(&one);
    stn_buf_fini(&two);
    stn_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stn_hello hello;
    struct stn_hello_reply reply;
    if (size == 0) {
        return 0;
    }
    (void)!stn_codec_hello_decode(&hello, data + 1, size - 1, NULL);
    (void)!stn_codec_hello_reply_decode(&reply, data + 1, size - 1, NULL);
    if (data[0] >= STN_SAY_MESSAGES) {
        decode(data + 1, size - 1);
        return 0;
    }
    struct stn_msg msg = stn_say_message(data[0]);
    struct stn_buf buf = {0};
    require(stn_codec_encode(&msg, &buf, NULL) == STN_OK);
    for (size_t i = 1; i + 3 <= size && buf.size > 0; i += 3) {
        size_t at = (size_t)data[i] | (size_t)data[i + 1] << 8;
        buf.data[at % buf.size] ^= data[i + 2];
    }
    decode(buf.data, buf.size);
    stn_buf_fini(&buf);
    return 0;
}
