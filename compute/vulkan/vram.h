/* vram: memory of one gpu, cut from large blocks, and the way in and out. Where memory is unified it is mapped and written
 * as it lies; elsewhere bytes go through a staging buffer that both sides see. Nothing is given back before the vram is, but
 * what was taken for itself alone.
 * Thread: that of the device. */
#ifndef STN_COMPUTE_VULKAN_VRAM_H
#define STN_COMPUTE_VULKAN_VRAM_H

#include "compute/vulkan/gpu.h"

#define STN_VRAM_ALIGN 256            /* the coarsest offset that a device may ask for */
#define STN_VRAM_BLOCK ((uint64_t)8 << 20) /* what is asked of the device at least; of shared memory a part */
#define STN_VRAM_SHARED ((uint64_t)1 << 20)
#define STN_VRAM_PARTS 8                   /* what is more than such a part of these is asked for alone, in its own size */
#define STN_VRAM_STAGE ((size_t)4 << 20)

/* Bytes [offset, offset + size) of a buffer. mapped: where we see them, NULL where we do not. */
struct stn_vram_span {
    VkBuffer buffer;
    uint64_t offset, size;
    char *mapped;
};

/* More bytes than the device may give at once: byte i is byte i % piece of list[i / piece]. */
#define STN_VRAM_PIECES 64
struct stn_vram_pieces {
    struct stn_vram_span list[STN_VRAM_PIECES];
    uint64_t piece; /* a multiple of STN_VRAM_ALIGN */
    uint64_t size;  /* of all */
};

struct stn_vram_block {
    VkDeviceMemory memory;
    VkBuffer buffer;
    uint64_t size, used;
    char *mapped;
    bool host;  /* ours to see, wherever it lies */
    bool alone; /* of one span */
};

struct stn_vram {
    struct stn_gpu *gpu;
    struct stn_vram_block *blocks;
    size_t n_blocks;
    uint64_t total;     /* bytes taken from the device */
    uint64_t limit;     /* of total; 0: none */
    uint64_t n_copies;  /* submissions that moved bytes in or out */
    struct stn_vram_span stage;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
    bool is_late; /* what was submitted last has been given up and may still be computed */
};

/* Zeroed is closed. The caller closes it, before the device. */
enum stn_code stn_vram_open(struct stn_vram *vram, struct stn_gpu *gpu, struct stn_err *err) STN_CHECKED;
void stn_vram_close(struct stn_vram *vram);

/* size bytes, not zeroed. STN_MEMORY when the device has no more, or the limit is reached. */
enum stn_code stn_vram_take(struct stn_vram *vram, uint64_t size, const char *what, struct stn_vram_span *ret,
                             struct stn_err *err) STN_CHECKED;
/* In a block of its own that drop gives back. shared: both sides see it. */
enum stn_code stn_vram_take_alone(struct stn_vram *vram, uint64_t size, bool shared, const char *what,
                                   struct stn_vram_span *ret, struct stn_err *err) STN_CHECKED;
void stn_vram_drop(struct stn_vram *vram, struct stn_vram_span *span);
/* size bytes in pieces of pieces->piece, which is set, each in a block of its own; what was there is dropped. */
enum stn_code stn_vram_take_pieces(struct stn_vram *vram, uint64_t size, const char *what, struct stn_vram_pieces *pieces,
                                   struct stn_err *err) STN_CHECKED;
/* size bytes that both sides see, coherent, zeroed. */
enum stn_code stn_vram_take_shared(struct stn_vram *vram, uint64_t size, struct stn_vram_span *ret,
                                    struct stn_err *err) STN_CHECKED;

/* All bytes zero. Nobody is computing, here and below. */
enum stn_code stn_vram_clear(struct stn_vram *vram, const struct stn_vram_span *span, struct stn_err *err) STN_CHECKED;

/* Bytes of a span, from offset. */
enum stn_code stn_vram_write(struct stn_vram *vram, const struct stn_vram_span *span, uint64_t offset, const void *p,
                              size_t size, struct stn_err *err) STN_CHECKED;
enum stn_code stn_vram_read(struct stn_vram *vram, const struct stn_vram_span *span, uint64_t offset, void *p, size_t size,
                             struct stn_err *err) STN_CHECKED;

/* False where what was given up is still being computed after some seconds: nothing that it may touch is to be freed. */
bool stn_vram_rests(struct stn_vram *vram);

/* Submits command buffers, in this order, and waits for the last. STN_IO, and the device is lost for ever, when it is, or when it
 * is silent for two minutes. */
enum stn_code stn_vram_submit(struct stn_vram *vram, const VkCommandBuffer *commands, uint32_t n, const char *what,
                               struct stn_err *err) STN_CHECKED;

#endif
