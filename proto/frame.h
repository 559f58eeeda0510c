/* frame: the clear bytes around what is encrypted: which kind of thing an nng message is, and which
 * session and counters a record belongs to. Whoever is on the path can read and forge a frame; what
 * is sealed inside is bound to it, because the head is the handshake's prologue or the record's
 * associated data.
 *
 *   kind, version, 0, 0                   every frame's first four bytes
 *   HELLO_IK, HELLO_IKPSK2, HELLO_REPLY   a Noise message
 *   REQUEST   le64 session, le64 counter, the sealed record
 *   REPLY     le64 session, le64 counter, le64 counter of the request, the sealed record
 *   REFUSED   le64 session (0: a hello), le32 code: believed in nothing but "start again"
 *
 * Thread: any; nothing allocates. */
#ifndef STN_PROTO_FRAME_H
#define STN_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STN_FRAME_VERSION 1 /* of this layout; the messages' version is in the hello */
#define STN_FRAME_FIRST 4   /* bytes that every frame begins with */
#define STN_FRAME_HEAD 28   /* the longest head */
#define STN_FRAME_TAG 16
#define STN_FRAME_RECORD ((size_t)1 << 20) /* bytes of what is sealed */
#define STN_FRAME_SIZE (STN_FRAME_HEAD + STN_FRAME_RECORD + STN_FRAME_TAG) /* the longest frame */

enum stn_frame_kind {
    STN_FRAME_HELLO_IK = 1,
    STN_FRAME_HELLO_IKPSK2 = 2,
    STN_FRAME_HELLO_REPLY = 3,
    STN_FRAME_REQUEST = 4,
    STN_FRAME_REPLY = 5,
    STN_FRAME_REFUSED = 6
};

/* Members that a kind's layout does not name are 0. */
struct stn_frame {
    enum stn_frame_kind kind;
    uint64_t session;
    uint64_t counter;
    uint64_t request;
    enum stn_code code; /* STN_UNSUPPORTED: the version; STN_NOT_FOUND: the session; STN_DENIED: the
                         * device or token; STN_AGAIN: too many at once */
    size_t head_size;
    const uint8_t *body; /* borrowed: behind the head */
    size_t body_size;
};

/* Writes the head of frame, of which body and sizes do not count, to dst; how many bytes it is. */
size_t stn_frame_put_head(const struct stn_frame *frame, uint8_t dst[static STN_FRAME_HEAD]);

/* STN_UNSUPPORTED for another version; STN_CORRUPT for anything else that no frame is. */
enum stn_code stn_frame_get(struct stn_frame *ret, const void *p, size_t size,
                            struct stn_err *err) STN_CHECKED;

#endif
