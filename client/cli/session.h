/* session: what the subcommands that run a model open first, and how they say what came of it. Thread: the main one. */
#ifndef STN_CLIENT_CLI_SESSION_H
#define STN_CLIENT_CLI_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "compute/model/adapter.h"
#include "compute/model/fit.h"
#include "compute/model/network.h"
#include "compute/model/tokenizer.h"
#include "compute/train/dataset.h"
#include "crypto/digest.h"
#include "io/file.h"

#define STN_SESSION_THREADS_MAX 256

/* The words of --backend, --loss and --backward, each ended by NULL. */
enum stn_session_backend { STN_SESSION_AUTO, STN_SESSION_CPU, STN_SESSION_VULKAN };
extern const char *const stn_session_backends[];
extern const char *const stn_session_losses[];    /* by enum stn_dataset_loss */
extern const char *const stn_session_backwards[]; /* by enum stn_backward */

/* How a model's file is read, among the options of the commands that load one; STN_SESSION_READING are the rows of them,
 * and STN_SESSION_TEMPLATE one more where conversations may be read or written. */
struct stn_session_reading {
    bool ternarise;
    int i2_s;     /* of stn_session_packings */
    int template; /* of stn_session_templates */
    uint64_t memory_limit; /* where a command has one: weights that are more are not packed in memory at all. 0: none */
};
extern const char *const stn_session_packings[];
extern const char *const stn_session_templates[]; /* the first is the model's own */
#define STN_SESSION_READING(at)                                                                                        \
    {"ternarise", 0, STN_OPTION_FLAG, (at) + offsetof(struct stn_session_reading, ternarise), NULL,                    \
     "make float weights ternary by their mean magnitude; without, they must be ternary"},                             \
        {"i2s", 0, STN_OPTION_WORD, (at) + offsetof(struct stn_session_reading, i2_s), "x86|arm",                      \
         "for which kernels I2_S weights were packed: no file says so (x86)", .words = stn_session_packings}

#define STN_SESSION_TEMPLATE(at)                                                                                       \
    {"template", 0, STN_OPTION_WORD, (at) + offsetof(struct stn_session_reading, template),                            \
     "model|chatml|llama-2|llama-3|bitnet|falcon", "how conversations are written (as the model's file says)",         \
     .words = stn_session_templates}

struct stn_session {
    struct stn_model *model;
    struct stn_tokenizer *tokenizer;
    struct stn_adapter *adapter; /* NULL where none was asked for */
    unsigned n_threads;
    uint64_t model_rss; /* bytes that opening the model has taken so far; what is mapped is yet to be read */
};

/* The backend's name for a network's config: NULL is the one that every machine has. */
const char *stn_session_backend(int backend);
/* The same for training and evaluation: "auto" is what a trial says (choose.h), or the processor under a memory limit, which a
 * trial does not know. The model is open. */
const char *stn_session_choose(const struct stn_session *session, int backend, uint64_t memory_limit);
/* STN_UNSUPPORTED for a backend that this build does not have. */
enum stn_code stn_session_check_backend(int backend, struct stn_err *err) STN_CHECKED;
/* What --device and --profile say, to the backend of the networks that come: before the first. device NULL: the strongest. */
enum stn_code stn_session_use_device(const char *device, bool profile, struct stn_err *err) STN_CHECKED;
/* How many threads to use: those asked for, or one a processor for 0. */
unsigned stn_session_threads(uint64_t asked);

/* Bytes of a model's weights that are packed in memory, as a model's reading has it: 0, any, without a limit; next to none for a
 * GPU that was asked for, which takes them as the file has them. */
size_t stn_session_most(int backend, uint64_t memory_limit);
/* The model alone, its packed weights, where the processor may compute, in the cache. */
enum stn_code stn_session_open_model(struct stn_model **ret, const char *path, const struct stn_session_reading *reading, int backend,
                                     struct stn_err *err) STN_CHECKED;

/* adapter may be NULL; n_threads 0 is one a processor. The caller closes *ret; zeroed is fine there. STN_UNSUPPORTED
 * for a backend that this build does not have. */
enum stn_code stn_session_open(struct stn_session *ret, const char *model, const struct stn_session_reading *reading,
                               const char *adapter, int backend, uint64_t n_threads, struct stn_err *err) STN_CHECKED;
void stn_session_close(struct stn_session *session);

/* BLAKE2b-256 of a file's bytes, read in pieces so that none of it stays in memory. */
enum stn_code stn_session_file_digest(const char *path, struct stn_digest *ret, struct stn_err *err) STN_CHECKED;

/* Where packed weights are kept: STERNA_CACHE, else the user's folder for such things (XDG_CACHE_HOME or ~/.cache). NULL, and
 * nothing is kept, where STERNA_CACHE is empty or there is none. */
const char *stn_session_cache(char ret[static STN_FILE_PATH_MAX]);

/* Whether a file could be written at path, asked before the work that will fill it: its folder is there and can be
 * written to, and path is no folder and none of the inputs (NULL ones are passed over). */
enum stn_code stn_session_can_write(const char *path, const char *const *inputs, size_t n_inputs,
                                    struct stn_err *err) STN_CHECKED;

/* What the process holds besides the model, and what it will need that no plan has: ask before a network is built. */
uint64_t stn_session_base(const struct stn_session *session);

/* How to build the network of config (with the rows that are wanted, at least `least`) beside base within limit; 0 is no
 * limit, and nothing is changed. Where nothing else fits, weights are streamed. STN_LIMIT, with the least limit that will do, the plan in numbers and what
 * can be done (advice), when nothing fits. */
enum stn_code stn_session_fit(struct stn_session *session, const struct stn_network_config *config, size_t least,
                              uint64_t base, uint64_t limit, const char *advice, struct stn_fit *ret,
                              struct stn_err *err) STN_CHECKED;

/* What a network takes, before it is used: a line, or an object for --json. base as above. */
struct stn_session_plan {
    struct stn_network_memory memory;
    uint64_t base;
    size_t pass_tokens;
    uint32_t recompute; /* layers */
    uint32_t n_layers;
    bool streams; /* weights leave memory after each use */
};
void stn_session_print_plan(const struct stn_session_plan *plan);
json_t *stn_session_json_plan(const struct stn_session_plan *plan); /* NULL without memory */

/* The longest example of a dataset, in tokens; 2 for an empty one. */
size_t stn_session_longest(const struct stn_dataset *dataset);

/* "264 examples (2 truncated by 31 tokens, 1 empty, 3 skipped)" as a line of the summary. */
void stn_session_print_counts(const struct stn_dataset *dataset);
/* The same numbers into an object. */
void stn_session_add_counts(json_t *object, const struct stn_dataset *dataset);
/* Peak memory, backend, kernel and threads into an object. */
void stn_session_add_machine(json_t *object, const struct stn_session *session, const struct stn_network *network);

/* A real, or null for what is no finite number. */
json_t *stn_session_real(double x);

/* For people: a line a member, those of an object inside moved in; six digits, yes and no, "-" for nothing. */
void stn_session_print_object(json_t *object);
/* So, or as JSON; takes object (NULL: STN_MEMORY). */
enum stn_code stn_session_take_result(json_t *object, bool json, struct stn_err *err) STN_CHECKED;

/* One line on stdout; takes object (NULL: STN_MEMORY). */
enum stn_code stn_session_take_json(json_t *object, struct stn_err *err) STN_CHECKED;

uint64_t stn_session_rss(void);      /* bytes in memory now; 0 where the system does not say */
uint64_t stn_session_peak_rss(void); /* bytes */
double stn_session_cpu_s(void);      /* that this process has had, all threads together */
double stn_session_now_s(void);      /* monotonic */

#endif
