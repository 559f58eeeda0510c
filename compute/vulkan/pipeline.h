/* pipeline: the table of what the device runs, and the compiled shaders. ONE table: a row for each op and variant says which
 * shader does it, what it needs, which tensors it sees and how it is cut in work groups. Of the rows of one op and step, the
 * first whose needs are met is taken: the best come first, the plain one, which every device runs, last.
 * To add an op: docs/vulkan.md. What drivers compile is kept in a file for each device and driver. Thread: that of the device. */
#ifndef STN_COMPUTE_VULKAN_PIPELINE_H
#define STN_COMPUTE_VULKAN_PIPELINE_H

#include "compute/graph.h"
#include "compute/vulkan/gpu.h"
#include "io/file.h"

#define STN_PIPELINE_BINDINGS STN_GPU_FLOOR_BUFFERS
#define STN_PIPELINE_STEP STN_PIPELINE_BINDINGS /* the binding of the run's counts */
#define STN_PIPELINE_STEPS 4                    /* of an op, at most */
#define STN_PIPELINE_MOST_HEAD 512              /* columns of an attention head */

/* A binding: what a shader sees of the node, in the low bits, and how the dispatch's windows cut it. */
#define STN_PIPELINE_IN(i) (i)
#define STN_PIPELINE_OUT(i) (8 + (i))
#define STN_PIPELINE_SCALES(i) (16 + (i)) /* of a ternary input */
#define STN_PIPELINE_LOGITS 24            /* scratch of loss: a tile of them */
#define STN_PIPELINE_STATE 25             /* and of the softmax so far */
#define STN_PIPELINE_WHAT 31
#define STN_PIPELINE_ROWS 32  /* by the window of rows */
#define STN_PIPELINE_TABLE 64 /* by the window of the table's rows */
#define STN_PIPELINE_FLAT 128 /* by a window of floats */
#define STN_PIPELINE_WITH(k) ((k) << 8) /* of the node that goes with the first, together.h's [k - 1]; where there is none the shader looks away */
#define STN_PIPELINE_END 0xffff

/* What a row's x direction counts. */
enum stn_pipeline_across {
    STN_PIPELINE_ONE,
    STN_PIPELINE_COLS, /* of out[0] */
    STN_PIPELINE_PAIRS, /* of rope */
    STN_PIPELINE_HEADS,
    STN_PIPELINE_KV_HEADS,
    STN_PIPELINE_TABLE_ROWS, /* in the window */
    STN_PIPELINE_SPANS,      /* columns of in[2] */
    STN_PIPELINE_FLOATS      /* in the window */
};

/* What a row needs of the node, and of the device. */
enum {
    STN_PIPELINE_Q8 = 1,           /* in[0] is int8 */
    STN_PIPELINE_F32 = 2,          /* in[0] is f32 */
    STN_PIPELINE_NARROW = 4,       /* out[0] has at most STN_PIPELINE_MOST_NARROW columns, and in[1] is f32 */
    STN_PIPELINE_ONE_SCALE = 8,    /* the ternary matrix has one scale for all its weights */
    STN_PIPELINE_WIDE = 16,        /* out[0] is so large that tiles of 128 x 128 keep a device busy */
    STN_PIPELINE_F16 = 32,         /* arithmetic in f16 */
    STN_PIPELINE_DOT8 = 64,        /* sums of four products of int8 */
    STN_PIPELINE_MATRIX_I8 = 128,  /* cooperative matrices of int8 */
    STN_PIPELINE_MATRIX_F16 = 256, /* of f16 */
    STN_PIPELINE_SHORT = 512,      /* out[0] has at most as many rows, and in[1] is f32 */
    STN_PIPELINE_FEW = 1024,       /* out[0] has at most STN_PIPELINE_MOST_FEW rows, as when one token is generated after the other */
    STN_PIPELINE_HALVES = 2048,    /* in[1] is f16 and its rows are whole words, and split tiles have room: STN_GPU_SPLIT_SHARED */
    STN_PIPELINE_LANES = 4096,     /* a processor plays the device, with 8 lanes */
    STN_PIPELINE_OF_DEVICE = STN_PIPELINE_LANES | STN_PIPELINE_F16 | STN_PIPELINE_DOT8 | STN_PIPELINE_MATRIX_I8 | STN_PIPELINE_MATRIX_F16
};
#define STN_PIPELINE_MOST_NARROW 16
#define STN_PIPELINE_MOST_FEW 4
#define STN_PIPELINE_TILE 128 /* of WIDE */
#define STN_PIPELINE_WIDE_TILES 128

/* What is specialised when the shader is compiled. */
enum stn_pipeline_shape {
    STN_PIPELINE_FIXED, /* nothing */
    STN_PIPELINE_GROUP, /* constant 0: invocations of a work group */
    STN_PIPELINE_HEAD,  /* constants 0 to 2: columns of a head, rows of a tile of queries, of keys */
    STN_PIPELINE_MATRIX /* constants 0 to 4: invocations, a cooperative matrix's M, N, K, the tile */
};
#define STN_PIPELINE_CONSTANTS 5

struct stn_pipeline_row {
    enum stn_op op;
    uint8_t step; /* ops of several dispatches: in this order */
    const char *name;
    const uint32_t *code;
    size_t size;
    uint32_t needs;
    uint16_t bindings[STN_PIPELINE_BINDINGS + 1]; /* ended by STN_PIPELINE_END */
    uint8_t walks;                               /* STN_PIPELINE_IN or _OUT: the tensor whose rows are walked */
    enum stn_pipeline_across across;
    uint8_t tile_x, tile_y; /* of across, and of rows, to a work group; tile_y 0: one group however many rows; FIXED shapes only */
    bool sums;              /* over the rows that are walked: later windows add, and y counts the output's rows */
    enum stn_pipeline_shape shape;
    uint8_t queries, keys;  /* HEAD: rows of tiles, for heads of at most 128 columns */
};

struct stn_pipeline {
    const struct stn_pipeline_row *row;
    uint32_t constants[STN_PIPELINE_CONSTANTS];
    VkPipeline handle;
};

struct stn_pipelines {
    struct stn_gpu *gpu;
    VkPipelineCache cache;
    size_t loaded; /* bytes that the cache had at first */
    VkDescriptorSetLayout sets[STN_PIPELINE_BINDINGS + 1]; /* by how many bindings */
    VkPipelineLayout layouts[STN_PIPELINE_BINDINGS + 1];
    struct stn_pipeline *list;
    size_t n_list;
};

/* The row that does a step of an op for a node and a device that have what is given (STN_PIPELINE_Q8 ...), none of those whose
 * bits, by their place in the table, are in BARRED; NULL behind the last step. */
const struct stn_pipeline_row *stn_pipeline_row(enum stn_op op, unsigned step, uint32_t has, uint64_t barred);
/* What a device has of STN_PIPELINE_OF_DEVICE. */
uint32_t stn_pipeline_device(const struct stn_gpu_caps *caps);
/* The rows by number, NULL behind the last, and the bit of one, or of all of one name (0: there is none). */
const struct stn_pipeline_row *stn_pipeline_at(size_t number);
uint64_t stn_pipeline_only(const struct stn_pipeline_row *row);
uint64_t stn_pipeline_named(const char *name);
size_t stn_pipeline_n_bindings(const struct stn_pipeline_row *row);
/* The constants of a shape: head_size counts for STN_PIPELINE_HEAD. */
void stn_pipeline_constants(const struct stn_pipeline_row *row, const struct stn_gpu_caps *caps, uint32_t head_size,
                            uint32_t ret[STN_PIPELINE_CONSTANTS]);

/* FOLDER/vulkan-VENDOR-MODEL-DRIVER-ID, and END: another driver has other files. False without a folder, or too long. */
bool stn_pipelines_path(const struct stn_gpu_caps *caps, const char *folder, const char *end,
                        char path[static STN_FILE_PATH_MAX]);

/* Zeroed is closed. folder: where compiled pipelines are kept, NULL: nowhere. A file that is not there, or not this driver's,
 * costs time and nothing else. */
enum stn_code stn_pipelines_open(struct stn_pipelines *pipelines, struct stn_gpu *gpu, const char *folder,
                                 struct stn_err *err) STN_CHECKED;
void stn_pipelines_close(struct stn_pipelines *pipelines, const char *folder);

/* Compiles it when it is first asked for. Valid until close. */
enum stn_code stn_pipelines_get(struct stn_pipelines *pipelines, const struct stn_pipeline_row *row,
                                const uint32_t constants[STN_PIPELINE_CONSTANTS], VkPipeline *ret, struct stn_err *err) STN_CHECKED;

#endif
