#include "proto/frame.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "proto/hello.h"

/* What each kind's head is long, and how many bytes may follow it. */
static const struct row {
    size_t head_size, body_min, body_max;
} rows[] = {
    [STN_FRAME_HELLO_IK] = {4, 96,
                            96 + STN_HELLO_BYTES}, /* 96 and 48: what Noise adds to a payload */
    [STN_FRAME_HELLO_IKPSK2] = {4, 96, 96 + STN_HELLO_BYTES},
    [STN_FRAME_HELLO_REPLY] = {4, 48, 48 + STN_HELLO_BYTES},
    [STN_FRAME_REQUEST] = {20, STN_FRAME_TAG, STN_FRAME_TAG + STN_FRAME_RECORD},
    [STN_FRAME_REPLY] = {28, STN_FRAME_TAG, STN_FRAME_TAG + STN_FRAME_RECORD},
    [STN_FRAME_REFUSED] = {16, 0, 0},
};

static const struct row *row_of(unsigned kind)
{
    return kind > 0 && kind < sizeof rows / sizeof *rows ? &rows[kind] : NULL;
}

size_t stn_frame_put_head(const struct stn_frame *frame, uint8_t dst[static STN_FRAME_HEAD])
{
    const struct row *row = row_of(frame->kind);
    assert(row != NULL);
    memset(dst, 0, STN_FRAME_HEAD);
    dst[0] = (uint8_t)frame->kind;
    dst[1] = STN_FRAME_VERSION;
    if (row->head_size > STN_FRAME_FIRST) {
        stn_buf_put_u64(dst + 4, frame->session);
    }
    if (frame->kind == STN_FRAME_REFUSED) {
        stn_buf_put_u32(dst + 12, frame->code);
    }
    if (row->head_size >= 20) {
        stn_buf_put_u64(dst + 12, frame->counter);
    }
    if (row->head_size >= 28) {
        stn_buf_put_u64(dst + 20, frame->request);
    }
    return row->head_size;
}

enum stn_code stn_frame_get(struct stn_frame *ret, const void *p, size_t size, struct stn_err *err)
{
    const uint8_t *bytes = p;
    if (size < STN_FRAME_FIRST) {
        return stn_err_set(err, STN_CORRUPT, "a frame of %zu bytes", size);
    }
    if (bytes[1] != STN_FRAME_VERSION) {
        return stn_err_set(err, STN_UNSUPPORTED, "a frame of version %u, not %d", bytes[1],
                           STN_FRAME_VERSION);
    }
    const struct row *row = row_of(bytes[0]);
    if (row == NULL || bytes[2] != 0 || bytes[3] != 0) {
        return stn_err_set(err, STN_CORRUPT, "a frame of unknown kind %u", bytes[0]);
    }
    if (size < row->head_size + row->body_min || size > row->head_size + row->body_max) {
        return stn_err_set(err, STN_CORRUPT, "a frame of kind %u has %zu bytes, not %zu to %zu",
                           bytes[0], size, row->head_size + row->body_min,
                           row->head_size + row->body_max);
    }
    struct stn_frame frame = {.kind = (enum stn_frame_kind)bytes[0],
                              .head_size = row->head_size,
                              .body = bytes + row->head_size,
                              .body_size = size - row->head_size};
    frame.session = row->head_size > STN_FRAME_FIRST ? stn_buf_get_u64(bytes + 4) : 0;
    frame.counter = row->head_size >= 20 ? stn_buf_get_u64(bytes + 12) : 0;
    frame.request = row->head_size >= 28 ? stn_buf_get_u64(bytes + 20) : 0;
    if (frame.kind == STN_FRAME_REFUSED) {
        uint32_t code = stn_buf_get_u32(bytes + 12);
        if (code == STN_OK || code >= STN_N_CODES) {
            return stn_err_set(err, STN_CORRUPT, "refused with the unknown code %u", code);
        }
        frame.code = (enum stn_code)code;
    }
    *ret = frame;
    return STN_OK;
}
