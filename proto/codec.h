/* codec: messages (msg.h, hello.h) as the bytes of sterna.proto, and back.
 *
 * Decoding trusts nothing: the size of the whole is checked first, then that it holds exactly one
 * known message, then everything is unpacked under a budget of a little more memory than there are
 * bytes, and then every field's length, count and range is checked against the row that describes
 * it (codec_table.c). Fields with numbers that this build does not know are skipped and leave no
 * trace. What came out may be encoded again.
 *
 * Encoding is canonical: fields in the order of their numbers, zeroes left out, so that equal
 * messages are equal bytes on every machine and a record in a database is simply an encoded
 * message. It holds the message to the same limits, so that nothing leaves that the other side
 * would refuse.
 *
 * Thread: any. */
#ifndef STN_PROTO_CODEC_H
#define STN_PROTO_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "proto/hello.h"
#include "proto/msg.h"

/* Appends to buf. STN_INVALID, naming the field, for a message that breaks a rule; STN_LIMIT when
 * it is longer than STN_MSG_BYTES. buf is as it was on failure, but for its memory. */
enum stn_code stn_codec_encode(const struct stn_msg *msg, struct stn_buf *buf,
                               struct stn_err *err) STN_CHECKED;

/* What *ret points to lies in the arena. STN_LIMIT: more than is allowed of something;
 * STN_UNSUPPORTED: no message that this version knows; STN_INVALID: anything else that is wrong
 * with the bytes. *ret is undefined then. The arena holds scratch besides, at most 128 KiB more
 * than twice the message. */
enum stn_code stn_codec_decode(struct stn_msg *ret, struct stn_arena *arena, const void *p,
                               size_t size, struct stn_err *err) STN_CHECKED;

/* Appends what the coordinator signs and cfg is the hash of: the config without its signature (and
 * without an envelope). A device makes the same bytes from the config it received. */
enum stn_code stn_codec_round_config_bytes(const struct stn_msg_round_config *config,
                                           struct stn_buf *buf, struct stn_err *err) STN_CHECKED;

/* The two payloads of the handshake. An unsigned payload is small: more than STN_HELLO_BYTES is
 * refused. */
enum stn_code stn_codec_hello(const struct stn_hello *hello, struct stn_buf *buf,
                              struct stn_err *err) STN_CHECKED;
enum stn_code stn_codec_hello_decode(struct stn_hello *ret, const void *p, size_t size,
                                     struct stn_err *err) STN_CHECKED;
enum stn_code stn_codec_hello_reply(const struct stn_hello_reply *reply, struct stn_buf *buf,
                                    struct stn_err *err) STN_CHECKED;
enum stn_code stn_codec_hello_reply_decode(struct stn_hello_reply *ret, const void *p, size_t size,
                                           struct stn_err *err) STN_CHECKED;

#endif
