/* codec_table: which field of a message (msg.h, hello.h) is which field of sterna.proto, and what
 * it may hold. One row a field, one shape a message; codec.c reads them in loops. Adding a field is
 * a line of sterna.proto, a member of msg.h and a row here. Thread: any; constants. */
#ifndef STN_PROTO_CODEC_TABLE_H
#define STN_PROTO_CODEC_TABLE_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/msg.h"

/* How a member of ours is kept, and its field in the message. */
enum stn_codec_kind {
    STN_CODEC_BOOL,
    STN_CODEC_U32,   /* within min..max */
    STN_CODEC_U64,   /* within min..max */
    STN_CODEC_F32,   /* finite */
    STN_CODEC_F64,   /* finite */
    STN_CODEC_FIXED, /* size bytes, neither more nor fewer; with has_at: or none */
    STN_CODEC_NAME,  /* a task's name: char[STN_MSG_NAME] */
    STN_CODEC_DATA,  /* a pointer to *n_at units of size bytes, at most max units */
    STN_CODEC_LIST,  /* a pointer to *n_at numbers, at most max */
    STN_CODEC_ONE,   /* a message within; with has_at: or none */
    STN_CODEC_MANY   /* an array of *n_at messages within, at most max */
};

#define STN_CODEC_NOWHERE SIZE_MAX

struct stn_codec_shape;

struct stn_codec_row {
    uint32_t number;
    enum stn_codec_kind kind;
    size_t at;     /* of the member */
    size_t size;   /* FIXED: in bytes; DATA: of a unit; ONE and MANY: of a struct */
    size_t n_at;   /* DATA, LIST, MANY: of the uint32_t that counts */
    size_t has_at; /* FIXED, ONE: of the bool that says whether it is there, or STN_CODEC_NOWHERE */
    uint64_t min, max;                   /* of a number; max of a count */
    const struct stn_codec_shape *shape; /* ONE and MANY */
};

struct stn_codec_shape {
    const ProtobufCMessageDescriptor *descriptor;
    const struct stn_codec_row *rows;
    size_t n_rows;
    /* What no single row can say; NULL when there is nothing. */
    enum stn_code (*check)(const void *message, struct stn_err *err);
};

/* The envelope's members by their number, NULL for a number that is none. */
const struct stn_codec_shape *stn_codec_table_shape(uint32_t type);
const ProtobufCMessageDescriptor *stn_codec_table_envelope(void);

extern const struct stn_codec_shape stn_codec_table_hello, stn_codec_table_hello_reply;

#endif
