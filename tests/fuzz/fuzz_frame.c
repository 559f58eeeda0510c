/* The door of the frame: what is one is written again to the same head. */
#include "tests/lib/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stn_frame frame;
    uint8_t head[STN_FRAME_HEAD];
    if (stn_frame_get(&frame, data, size, NULL) == STN_OK) {
        size_t n = stn_frame_put_head(&frame, head);
        if (n != frame.head_size || memcmp(head, data, n) != 0 || n + frame.body_size != size) {
            abort();
        }
    }
    return 0;
}
