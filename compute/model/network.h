/* network: a base model and a LoRA adapter as one runnable thing: graphs built once for a capacity, a plan for
 * their memory, and a backend that runs them. One network serves one user at a time (a trainer, an evaluator, a
 * generator); many networks share one read-only stn_model. Rows are tokens; every tensor is (rows, columns), row
 * after row. Thread: one at a time for each network; two networks never disturb each other. */
#ifndef STN_COMPUTE_MODEL_NETWORK_H
#define STN_COMPUTE_MODEL_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/model/adapter.h"
#include "compute/model/arch.h"
#include "compute/model/slice.h"
#include "crypto/digest.h"

struct stn_model; /* the base: mapped file, architecture, weights repacked for the kernel. Immutable, shared by threads */

/* Maps and checks PATH and packs its ternary weights. The caller closes *ret, after every network on it. */
enum stn_code stn_model_open(struct stn_model **ret, const char *path, struct stn_err *err) STN_CHECKED;

/* The same otherwise. Zeroed is as above. */
struct stn_model_reading {
    const char *folder; /* packed weights in a file there (panels.h), mapped, where the model is worth it and there is room */
    size_t most;        /* bytes that packed weights may take outside a file: where they are more, they stream from the start. 0: any */
    bool ternarise;     /* floats that are not ternary become sign and mean magnitude; else they are STN_UNSUPPORTED */
    bool i2_s_arm;      /* I2_S tensors lie as ARM's kernels want them, not as x86's do (quant.h) */
};
enum stn_code stn_model_open_with(struct stn_model **ret, const char *path, const struct stn_model_reading *reading,
                                  struct stn_err *err) STN_CHECKED;
/* From now on weights leave memory after each use and are read ahead before it, packed from their own file or, where there is none,
 * packed anew from the model's for each use; what that leaves is the model's size. Nobody may be computing, and networks that
 * there are may not compute again. */
enum stn_code stn_model_stream(struct stn_model *model, struct stn_err *err) STN_CHECKED;
bool stn_model_streams(const struct stn_model *model); /* whether that is so */
void stn_model_close(struct stn_model *model);
const struct stn_arch *stn_model_arch(const struct stn_model *model);
const struct stn_gguf *stn_model_gguf(const struct stn_model *model);
size_t stn_model_size(const struct stn_model *model); /* bytes of weights and tables, packed or mapped */

enum stn_backward {
    STN_BACKWARD_EXACT, /* f32, the reference */
    STN_BACKWARD_INT8   /* dy quantised per token to int8 with stochastic rounding */
};

#define STN_NETWORK_ALL UINT32_MAX /* layers: as many as there are */

struct stn_network_config {
    size_t max_tokens;  /* rows of a batch, at most */
    size_t max_targets; /* rows that carry loss, at most */
    size_t context;     /* rows of one example, at most; of the KV cache when generating */
    bool train;         /* with gradients and AdamW state for the adapter */
    enum stn_slice slice; /* which factors then train; the others stay, have no gradients and do not count in the norm */
    bool evaluates;     /* while it trains: what that takes is found at once, and not with the first evaluation */
    enum stn_backward backward;
    uint32_t recompute; /* of so many layers, the first ones, activations are computed again for their gradients instead of being
                           kept: the same bits from less memory; of all, in about a third more time. At most STN_NETWORK_ALL */
    bool act_int8;      /* quantise activations as the models were trained; off only to check gradients */
    unsigned n_threads; /* at least 1; results do not depend on it */
    float dropout;      /* the share of an adapted product's inputs that its branch does not see while it trains, [0, 1): drawn
                           anew for each batch, one draw for all products of one input */
    uint64_t seed;      /* of stochastic rounding and dropout */
    const char *backend; /* as stn_backend_find knows it; NULL: the CPU */
};

/* A batch: packed examples, none attending to another. Borrowed for the call. */
struct stn_batch {
    size_t n_tokens;
    const int32_t *tokens;    /* (n_tokens) */
    const int32_t *positions; /* (n_tokens) 0.. within the token's example */
    const int32_t *starts;    /* (n_tokens) row at which the token's example begins: it attends to [start, own row] */
    size_t n_targets;
    const int32_t *target_rows;   /* (n_targets) rising; the row whose logits predict the target */
    const int32_t *target_tokens; /* (n_targets) */
    const float *target_weights;  /* (n_targets) loss = sum of weight * cross-entropy; usually 1 / n_targets */
};

/* adapter gives shapes, scale (alpha / rank) and first values, and is not kept; NULL runs the base alone. STN_UNSUPPORTED for a
 * backend that this build or this machine does not have. */
struct stn_network;
enum stn_code stn_network_new(struct stn_network **ret, const struct stn_model *model,
                              const struct stn_adapter *adapter,
                              const struct stn_network_config *config, struct stn_err *err) STN_CHECKED;
void stn_network_free(struct stn_network *network);

/* The adapter's values in stn_adapter's order: (n_values). Set and get copy; set empties the KV cache, as update does:
 * it was made with other values. */
void stn_network_set_values(struct stn_network *network, const float *values);
void stn_network_get_values(const struct stn_network *network, float *values);
void stn_network_read_values(const struct stn_network *network, size_t offset, float *values, size_t n); /* some of them */

/* What get and read below gave so far is what the device had, or why it is not: asked before it is kept. Whatever returns a code has
 * asked already. */
enum stn_code stn_network_check(const struct stn_network *network, struct stn_err *err) STN_CHECKED;

/* AdamW's moments and step count, for checkpoints: m and v (n_values) each. */
struct stn_network_moments {
    uint64_t n_steps;
    float *m, *v;
};
void stn_network_set_moments(struct stn_network *network, const struct stn_network_moments *from);
void stn_network_get_moments(const struct stn_network *network, struct stn_network_moments *to);
void stn_network_reset_moments(struct stn_network *network); /* as before the first step */

/* What a forward pass says of each target: (n_targets) each, owned by the network, valid until its next call. */
struct stn_network_result {
    double loss;            /* sum of weight * cross-entropy, nats */
    const float *losses;    /* cross-entropy of each target, unweighted */
    const int32_t *guesses; /* the most likely token at each target row: greedy decoding is right where it equals the target */
};

/* Forward alone. STN_INVALID for a token or target outside the vocabulary or a batch beyond the capacity. */
enum stn_code stn_network_eval(struct stn_network *network, const struct stn_batch *batch,
                               struct stn_network_result *ret, struct stn_err *err) STN_CHECKED;

/* Forward and backward: gradients of the loss are ADDED to the network's gradient buffer. */
enum stn_code stn_network_accumulate(struct stn_network *network, const struct stn_batch *batch,
                                     struct stn_network_result *ret, struct stn_err *err) STN_CHECKED;
void stn_network_get_gradients(const struct stn_network *network, float *gradients); /* (n_values) */
/* For FedProx and the like: adds to the gradients before the update. */
void stn_network_add_gradients(struct stn_network *network, const float *gradients);
/* The same of strength * (value - anchor). */
void stn_network_pull(struct stn_network *network, double strength, const float *anchor);
/* False where an update would fail: the squares of the gradients do not sum to a finite float. */
bool stn_network_can_update(const struct stn_network *network);
/* Forgets the batches since the last update. */
void stn_network_drop_gradients(struct stn_network *network);

struct stn_network_update {
    double lr, beta1, beta2, eps, weight_decay;
    double clip;            /* global norm, 0: none */
};
/* Clips, does one AdamW step from the gradient buffer, and zeroes it. *ret_norm is the norm before the clip.
 * STN_CORRUPT when it is not finite; values and moments are then as they were, the buffer zeroed. */
enum stn_code stn_network_update(struct stn_network *network, const struct stn_network_update *update,
                                 double *ret_norm, struct stn_err *err) STN_CHECKED;

/* Generation: feeds n tokens behind what the KV cache holds and gives the last one's logits (n_vocab), owned by
 * the network. reset empties the cache. STN_LIMIT past config.context. */
enum stn_code stn_network_feed(struct stn_network *network, const int32_t *tokens, size_t n,
                               const float **ret_logits, struct stn_err *err) STN_CHECKED;
void stn_network_reset(struct stn_network *network);

/* All logits of one example (n, n_vocab) row-major into the caller's memory; n <= max_tokens. */
enum stn_code stn_network_logits(struct stn_network *network, const int32_t *tokens, size_t n,
                                 float *logits, struct stn_err *err) STN_CHECKED;

/* Bytes: weights (mapped and packed), activations and batches, the adapter with gradients and moments, and what threads
 * work in. */
struct stn_network_memory {
    size_t weights, activations, adapter, scratch; /* scratch: what the graph itself takes as well */
};
struct stn_network_memory stn_network_memory(const struct stn_network *network);

/* The names of the backend and of the ternary kernel in use, or of the device: "cpu", "avx512-vnni". */
const char *stn_network_backend(const struct stn_network *network);
const char *stn_network_kernel(const struct stn_network *network);
/* The backend of the network, for those who measure it (backend.h). */
struct stn_backend;
const struct stn_backend *stn_network_measured(const struct stn_network *network);

#endif
