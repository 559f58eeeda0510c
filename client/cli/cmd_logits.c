#include "client/cli/cli.h"

#include <stdio.h>

#include "base/mem.h"
#include "client/cli/session.h"
#include "client/cli/tokens.h"
#include "io/file.h"

struct options {
    const char *model, *adapter, *tokens, *output;
    uint64_t threads;
    int backend;
    struct stn_session_reading reading;
};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "the base model, GGUF", .required = true},
    {"adapter", 'a', STN_OPTION_STR, AT(adapter), "ADAPTER", "beside the model (none)"},
    {"tokens", 0, STN_OPTION_STR, AT(tokens), "1,2,3", "what the model reads", .required = true},
    {"output", 'o', STN_OPTION_STR, AT(output), "FILE.f32",
     "little-endian float32, a row of the vocabulary for each token", .required = true},
    {"threads", 0, STN_OPTION_U64, AT(threads), "N", "one a processor by default; no result depends on it", 1,
     STN_SESSION_THREADS_MAX},
    STN_SESSION_READING(AT(reading)),
    {"backend", 0, STN_OPTION_WORD, AT(backend), "auto|cpu|vulkan", "what computes (auto: the cpu)", .words = stn_session_backends},
    {0},
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's order is the machine's");

static enum stn_code compute(const struct options *o, const struct stn_session *session, const int32_t *tokens, size_t n,
                             struct stn_err *err)
{
    size_t n_vocab = stn_model_arch(session->model)->n_vocab;
    const struct stn_network_config config = {.max_tokens = n, .max_targets = 1, .context = n, .act_int8 = true,
                                              .n_threads = session->n_threads,
                                              .backend = stn_session_backend(o->backend)};
    struct stn_network *network = NULL;
    float *logits = stn_mem_new(n * n_vocab, sizeof *logits);
    enum stn_code code = logits == NULL
                             ? stn_err_set(err, STN_MEMORY, "no memory for %zu x %zu logits: give fewer tokens", n, n_vocab)
                             : stn_network_new(&network, session->model, session->adapter, &config, err);
    code = code != STN_OK ? code : stn_network_logits(network, tokens, n, logits, err);
    code = code != STN_OK ? code : stn_file_replace(o->output, logits, n * n_vocab * sizeof *logits, STN_FILE_MODE, err);
    stn_network_free(network);
    stn_mem_free(logits);
    return code;
}

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    (void)line;
    return stn_tokens_check(o->tokens, "--tokens", err);
}

static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct stn_session session = {0};
    int32_t *tokens = NULL;
    size_t n = 0;
    enum stn_code code = stn_tokens_parse(&tokens, &n, o->tokens, "--tokens", err);
    const char *const inputs[] = {o->model, o->adapter};
    code = code != STN_OK ? code : stn_session_can_write(o->output, inputs, 2, err);
    code = code != STN_OK ? code : stn_session_open(&session, o->model, &o->reading, o->adapter, o->backend, o->threads, err);
    code = code != STN_OK ? code : compute(o, &session, tokens, n, err);
    if (code == STN_OK) {
        json_int_t n_vocab = (json_int_t)stn_model_arch(session.model)->n_vocab;
        if (line->json) {
            code = stn_session_take_json(json_pack("{sI sI ss}", "positions", (json_int_t)n, "vocabulary", n_vocab, "file",
                                                   o->output), err);
        } else {
            (void)printf("%s: %zu x %lld float32\n", o->output, n, (long long)n_vocab);
        }
    }
    stn_session_close(&session);
    stn_mem_free(tokens);
    return code;
}

const struct stn_command stn_cmd_logits = {
    .name = "logits", .args = "", .summary = "write what a model predicts behind each of some tokens",
    .example = "sterna logits -m base.gguf --tokens 0,324,841 -o logits.f32",
    .options = options, .size = sizeof(struct options), .check = check, .run = run,
};
