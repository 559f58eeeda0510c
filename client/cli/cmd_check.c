#include "client/cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/cli/session.h"
#include "client/cli/tokens.h"
#include "io/file.h"

#define FIRST 8      /* values of a gradient that are shown */
#define MATRIX_NAME 320 /* of a matrix, with its zero */

struct options {
    const char *model, *tokens, *mask, *dump;
    uint64_t rank, seed, threads;
    double alpha;
    int backend, backward, act;
    struct stn_session_reading reading;
};

static const struct options defaults = {.rank = 4, .seed = 7, .alpha = 8};
static const char *const acts[] = {"int8", "none", NULL};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "the base model, GGUF", .required = true},
    {"tokens", 0, STN_OPTION_STR, AT(tokens), "1,2,3", "one example", .required = true},
    {"mask", 0, STN_OPTION_STR, AT(mask), "0,1,1", "1 where predicting the token counts (all but the first)"},
    {"rank", 0, STN_OPTION_U64, AT(rank), "N", "of the adapter (4)", 1, STN_ADAPTER_RANK},
    {"alpha", 0, STN_OPTION_F64, AT(alpha), "X", "of the adapter (8)", 0, 1e6},
    {"seed", 0, STN_OPTION_U64, AT(seed), "S", "of the adapter's values (7)"},
    {"backward", 0, STN_OPTION_WORD, AT(backward), "exact|int8", "how gradients pass the base's weights (exact)",
     .words = stn_session_backwards},
    {"act", 0, STN_OPTION_WORD, AT(act), "int8|none", "whether activations are rounded, as the model was trained (int8)",
     .words = acts},
    {"dump", 0, STN_OPTION_STR, AT(dump), "DIR", "write each whole gradient there, little-endian float32"},
    {"threads", 0, STN_OPTION_U64, AT(threads), "N", "one a processor by default; no result depends on it", 1,
     STN_SESSION_THREADS_MAX},
    STN_SESSION_READING(AT(reading)),
    {"backend", 0, STN_OPTION_WORD, AT(backend), "auto|cpu|vulkan", "what computes (auto: the cpu)", .words = stn_session_backends},
    {0},
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a dump's order is the machine's");

/* One example, its batch, and what came of it. */
struct job {
    const struct options *options;
    struct stn_session session;
    struct stn_adapter *adapter;
    struct stn_network *network;
    size_t n, n_mask;
    int32_t *tokens, *mask;
    int32_t *rows; /* positions, starts, target rows, target tokens: (n) each */
    float *weights, *logits, *gradients;
    struct stn_batch batch;
    double loss;
};

static enum stn_code no_memory(size_t n, struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "no memory to check %zu tokens", n);
}

static enum stn_code parse(struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    enum stn_code code = stn_tokens_parse(&job->tokens, &job->n, o->tokens, "--tokens", err);
    if (code == STN_OK && o->mask != NULL) {
        code = stn_tokens_parse(&job->mask, &job->n_mask, o->mask, "--mask", err);
    }
    if (code == STN_OK && o->mask != NULL && job->n_mask != job->n) {
        code = stn_err_set(err, STN_INVALID, "--mask has %zu numbers for %zu tokens: give one for each", job->n_mask, job->n);
    }
    return code;
}

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    struct job job = {.options = parsed};
    (void)line;
    enum stn_code code = parse(&job, err);
    stn_mem_free(job.tokens);
    stn_mem_free(job.mask);
    return code;
}

static enum stn_code fill_batch(struct job *job, struct stn_err *err)
{
    size_t n = job->n;
    struct stn_batch *batch = &job->batch;
    job->rows = stn_mem_new(n, 4 * sizeof *job->rows);
    job->weights = stn_mem_new(n, sizeof *job->weights);
    if (job->rows == NULL || job->weights == NULL) {
        return no_memory(n, err);
    }
    int32_t *positions = job->rows, *starts = positions + n, *rows = starts + n, *labels = rows + n;
    for (size_t i = 0; i < n; i++) {
        positions[i] = (int32_t)i;
        if (i > 0 && (job->mask == NULL || job->mask[i] != 0)) {
            rows[batch->n_targets] = (int32_t)i - 1;
            labels[batch->n_targets++] = job->tokens[i];
        }
    }
    if (batch->n_targets == 0) {
        return stn_err_set(err, STN_INVALID, "no token behind the first counts: give more tokens, or another --mask");
    }
    for (size_t i = 0; i < batch->n_targets; i++) {
        job->weights[i] = 1.0f / (float)batch->n_targets;
    }
    batch->n_tokens = n;
    batch->tokens = job->tokens;
    batch->positions = positions;
    batch->starts = starts;
    batch->target_rows = rows;
    batch->target_tokens = labels;
    batch->target_weights = job->weights;
    return STN_OK;
}

static enum stn_code compute(struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    const struct stn_arch *arch = stn_model_arch(job->session.model);
    const struct stn_network_config config = {.max_tokens = job->n,
                                              .max_targets = job->n,
                                              .context = job->n,
                                              .train = true,
                                              .backward = (enum stn_backward)o->backward,
                                              .act_int8 = o->act == 0,
                                              .n_threads = job->session.n_threads,
                                              .seed = o->seed,
                                              .backend = stn_session_backend(o->backend)};
    struct stn_network_result result = {0};
    enum stn_code code =
        stn_adapter_new(&job->adapter, arch, (uint32_t)o->rank, (float)o->alpha, STN_ARCH_ALL, err);
    if (code != STN_OK) {
        return code;
    }
    stn_adapter_init_hash(job->adapter, o->seed);
    job->logits = stn_mem_new(job->n * arch->n_vocab, sizeof *job->logits);
    job->gradients = stn_mem_new(job->adapter->n_values, sizeof *job->gradients);
    code = job->logits == NULL || job->gradients == NULL ? no_memory(job->n, err) : STN_OK;
    code = code != STN_OK ? code : stn_network_new(&job->network, job->session.model, job->adapter, &config, err);
    code = code != STN_OK ? code : stn_network_logits(job->network, job->tokens, job->n, job->logits, err);
    code = code != STN_OK ? code : stn_network_accumulate(job->network, &job->batch, &result, err);
    if (code == STN_OK) {
        stn_network_get_gradients(job->network, job->gradients);
        job->loss = result.loss;
        code = stn_network_check(job->network, err);
    }
    return code;
}

static void name_of(char ret[static MATRIX_NAME], const struct stn_adapter_tensor *tensor)
{
    (void)snprintf(ret, MATRIX_NAME, "%s.lora_%c", tensor->name, tensor->is_b ? 'b' : 'a');
}

static enum stn_code dump(const struct job *job, struct stn_err *err)
{
    const char *folder = job->options->dump;
    enum stn_code code = folder == NULL ? STN_OK : stn_file_make_folder(folder, 0755, err);
    for (size_t i = 0; folder != NULL && i < job->adapter->n_tensors && code == STN_OK; i++) {
        const struct stn_adapter_tensor *tensor = &job->adapter->tensors[i];
        char name[MATRIX_NAME], path[STN_FILE_PATH_MAX];
        name_of(name, tensor);
        code = stn_file_join(path, folder, name, err);
        code = code != STN_OK ? code
                              : stn_file_replace(path, job->gradients + tensor->offset,
                                                 (size_t)tensor->rows * tensor->cols * sizeof(float), STN_FILE_MODE, err);
    }
    return code;
}

static json_t *numbers(const int32_t *list, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(array, json_integer(list[i]));
    }
    return array;
}

static json_t *reals(const float *list, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(array, stn_session_real((double)list[i]));
    }
    return array;
}

static json_t *mask_of(const struct job *job)
{
    json_t *array = json_array();
    for (size_t i = 0; i < job->n; i++) {
        (void)json_array_append_new(array, json_integer(job->mask == NULL ? i > 0 : job->mask[i]));
    }
    return array;
}

static double norm_of(const float *g, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)g[i] * (double)g[i];
    }
    return sqrt(squares);
}

static enum stn_code print_json(const struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    size_t n_vocab = stn_model_arch(job->session.model)->n_vocab;
    const char *slash = strrchr(o->model, '/');
    json_t *gradients = json_object();
    for (size_t i = 0; i < job->adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &job->adapter->tensors[i];
        const float *g = job->gradients + tensor->offset;
        size_t n = (size_t)tensor->rows * tensor->cols;
        char name[MATRIX_NAME];
        name_of(name, tensor);
        (void)json_object_set_new(gradients, name, json_pack("{so so}", "norm", stn_session_real(norm_of(g, n)), "first",
                                                             reals(g, n < FIRST ? n : FIRST)));
    }
    json_t *object = json_pack("{ss so so sI sf sI ss ss so so so}", "model", slash == NULL ? o->model : slash + 1, "tokens",
                               numbers(job->tokens, job->n), "mask", mask_of(job), "rank", (json_int_t)o->rank, "alpha",
                               o->alpha, "seed", (json_int_t)o->seed, "act", acts[o->act], "backward",
                               stn_session_backwards[o->backward], "loss", stn_session_real(job->loss), "last_logits",
                               reals(job->logits + (job->n - 1) * n_vocab, n_vocab), "gradients", gradients);
    if (object != NULL) {
        stn_session_add_machine(object, &job->session, job->network);
    }
    return stn_session_take_json(object, err);
}

static void print_table(const struct job *job)
{
    (void)printf("%-36s %.9f\n", "loss", job->loss);
    for (size_t i = 0; i < job->adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &job->adapter->tensors[i];
        char name[MATRIX_NAME];
        name_of(name, tensor);
        (void)printf("%-36s norm %.6e\n", name,
                     norm_of(job->gradients + tensor->offset, (size_t)tensor->rows * tensor->cols));
    }
}

static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    struct job job = {.options = parsed};
    const struct options *o = job.options;
    enum stn_code code = parse(&job, err);
    code = code != STN_OK ? code : fill_batch(&job, err);
    code = code != STN_OK ? code : stn_session_open(&job.session, o->model, &o->reading, NULL, o->backend, o->threads, err);
    code = code != STN_OK ? code : compute(&job, err);
    code = code != STN_OK ? code : dump(&job, err);
    if (code == STN_OK && line->json) {
        code = print_json(&job, err);
    } else if (code == STN_OK) {
        print_table(&job);
    }
    stn_network_free(job.network);
    stn_adapter_free(job.adapter);
    stn_session_close(&job.session);
    stn_mem_free(job.tokens);
    stn_mem_free(job.mask);
    stn_mem_free(job.rows);
    stn_mem_free(job.weights);
    stn_mem_free(job.logits);
    stn_mem_free(job.gradients);
    return code;
}

const struct stn_command stn_cmd_check_gradients = {
    .name = "check gradients", .args = "",
    .summary = "loss, logits and LoRA gradients of one example, to compare with another program",
    .example = "sterna check gradients -m base.gguf --tokens 0,324,841,283 --json",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .check = check, .run = run,
};
