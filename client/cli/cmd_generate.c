#include "client/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "client/cli/session.h"
#include "compute/train/generate.h"

#define FEED_ROWS 256       /* of the prompt in one pass */
#define CHAT_CONTEXT 4096   /* of a conversation, unless the model has less or --ctx says otherwise */
#define LINE_LIMIT ((size_t)1 << 20)

struct options {
    const char *model, *adapter, *prompt, *system;
    uint64_t n, context, seed, threads;
    double temperature, top_p;
    int backend;
    struct stn_session_reading reading;
    const char *device;
    bool chat;
};

static const struct options defaults = {.n = 128, .temperature = 0.8, .top_p = 0.95};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "the base model, GGUF", .required = true},
    {"adapter", 'a', STN_OPTION_STR, AT(adapter), "ADAPTER", "beside the model (none)"},
    {"prompt", 'p', STN_OPTION_STR, AT(prompt), "TEXT", "what the text goes on from; with --chat, the first question"},
    {"chat", 0, STN_OPTION_FLAG, AT(chat), NULL, "a conversation: a question a line on stdin, the model's chat template"},
    {"system", 0, STN_OPTION_STR, AT(system), "TEXT", "what a conversation begins with (nothing)"},
    {"count", 'n', STN_OPTION_U64, AT(n), "N", "most tokens of an answer (128)", 1, 1 << 24},
    {"temperature", 0, STN_OPTION_F64, AT(temperature), "X", "0 takes the most likely token always (0.8)", 0, 100},
    {"top-p", 0, STN_OPTION_F64, AT(top_p), "P", "draw from the fewest tokens that are so likely together (0.95)", 1e-6, 1},
    {"seed", 0, STN_OPTION_U64, AT(seed), "S", "the same seed gives the same text (0)"},
    {"ctx", 0, STN_OPTION_U64, AT(context), "N", "tokens that the model keeps in view (what is needed, a chat 4096)", 2, 1 << 24},
    {"threads", 0, STN_OPTION_U64, AT(threads), "N", "one a processor by default; no result depends on it", 1,
     STN_SESSION_THREADS_MAX},
    STN_SESSION_READING(AT(reading)),
    STN_SESSION_TEMPLATE(AT(reading)),
    {"backend", 0, STN_OPTION_WORD, AT(backend), "auto|cpu|vulkan", "what computes (auto: the cpu)", .words = stn_session_backends},
    {"device", 0, STN_OPTION_STR, AT(device), "NAME", "of several GPUs: part of a name, or its number in bench devices"},
    {0},
};

/* Everything of one run of the command. */
struct job {
    const struct options *options;
    bool json;
    struct stn_session session;
    struct stn_network *network;
    struct stn_generate_sampler sampler;
    struct stn_tokenizer_decoder decoder;
    struct stn_buf answer;           /* the text so far */
    size_t n_shown;                  /* bytes of it that are on stdout */
    struct stn_tokenizer_list held;  /* what the network's cache holds */
    struct stn_tokenizer_message *messages;
    size_t n_messages, room;
    struct stn_generate_result sum;  /* over all answers */
    size_t n_prompt;
    struct stn_err failed;           /* of a decode in the middle of a stream */
};

static enum stn_code make_network(struct job *job, size_t wanted, struct stn_err *err)
{
    size_t most = stn_model_arch(job->session.model)->context;
    size_t context = job->options->context > 0 ? job->options->context : wanted < most ? wanted : most;
    const struct stn_network_config config = {
        .max_tokens = context < FEED_ROWS ? context : FEED_ROWS, .max_targets = 1, .context = context, .act_int8 = true,
        .n_threads = job->session.n_threads, .backend = stn_session_backend(job->options->backend),
    };
    enum stn_code code = stn_network_new(&job->network, job->session.model, job->session.adapter, &config, err);
    return code != STN_OK ? code
                          : stn_generate_sampler_init(&job->sampler, stn_model_arch(job->session.model)->n_vocab,
                                                      job->options->temperature, job->options->top_p,
                                                      job->options->seed, err);
}

/* What has come is shown at once. */
static void show(struct job *job)
{
    if (!job->json) {
        (void)fwrite(job->answer.data + job->n_shown, 1, job->answer.size - job->n_shown, stdout);
        (void)fflush(stdout);
    }
    job->n_shown = job->answer.size;
}

static bool take_token(void *context, int32_t token)
{
    struct job *job = context;
    if (stn_tokenizer_decode(job->session.tokenizer, &job->decoder, token, &job->answer, &job->failed) != STN_OK) {
        return false;
    }
    if (job->answer.size > job->n_shown) {
        show(job);
    }
    if (!stn_tokenizer_list_add(&job->held, token, 0)) {
        (void)stn_err_set(&job->failed, STN_MEMORY, "no memory for the answer");
        return false;
    }
    return !stn_command_stopping() && ferror(stdout) == 0;
}

/* The cache goes on where it holds a part of the tokens that comes first, and starts anew otherwise. Returns how many
 * of the tokens it holds; the others are put to held, because they are fed next. */
static enum stn_code hold(struct job *job, const struct stn_tokenizer_list *list, size_t *ret, struct stn_err *err)
{
    struct stn_tokenizer_list *held = &job->held;
    if (held->n >= list->n || (held->n > 0 && memcmp(held->ids, list->ids, held->n * sizeof *held->ids) != 0)) {
        stn_network_reset(job->network);
        held->n = 0;
    }
    *ret = held->n;
    while (held->n < list->n) {
        if (!stn_tokenizer_list_add(held, list->ids[held->n], 0)) {
            return stn_err_set(err, STN_MEMORY, "no memory for %zu tokens", list->n);
        }
    }
    return STN_OK;
}

/* One answer to the tokens; its text is in job->answer. */
static enum stn_code answer(struct job *job, const struct stn_tokenizer_list *list, struct stn_err *err)
{
    const struct stn_tokenizer *tokenizer = job->session.tokenizer;
    size_t n_held = 0;
    enum stn_code code = hold(job, list, &n_held, err);
    if (code != STN_OK) {
        return code;
    }
    const int32_t stops[] = {stn_tokenizer_eos(tokenizer), stn_tokenizer_eot(tokenizer)};
    const struct stn_generate_job how = {.prompt = list->ids + n_held, .n_prompt = list->n - n_held, .n = job->options->n, .stops = stops,
                                         .n_stops = 2, .token = take_token, .context = job};
    struct stn_generate_result result;
    stn_buf_clear(&job->answer);
    job->n_shown = 0;
    code = stn_generate_run(job->network, &job->sampler, &how, &result, err);
    if (code == STN_OK && job->failed.code != STN_OK) {
        code = stn_err_set(err, job->failed.code, "%s", job->failed.text);
    }
    if (code == STN_OK && !stn_tokenizer_decode_end(&job->decoder, &job->answer)) {
        code = stn_err_set(err, STN_MEMORY, "no memory for the answer");
    }
    if (code == STN_OK) {
        show(job);
        job->held.n = list->n + result.n_fed;
        job->n_prompt += how.n_prompt;
        job->sum.n += result.n;
        job->sum.end = result.end;
        job->sum.prompt_s += result.prompt_s;
        job->sum.token_s += result.token_s;
    }
    return code;
}

static enum stn_code complete(struct job *job, struct stn_err *err)
{
    const char *prompt = job->options->prompt;
    struct stn_tokenizer_list list = {0};
    enum stn_code code = stn_tokenizer_encode(job->session.tokenizer, &list, prompt, strlen(prompt), STN_TOKENIZER_BOS, err);
    if (code == STN_OK && list.n == 0) {
        code = stn_err_set(err, STN_INVALID, "the prompt is empty, and this model has no token that begins a text: "
                                             "give --prompt a word");
    }
    code = code != STN_OK ? code : make_network(job, list.n + job->options->n, err);
    job->decoder.started = true; /* the text goes on: its first blank is its own */
    code = code != STN_OK ? code : answer(job, &list, err);
    stn_tokenizer_list_fini(&list);
    return code;
}

/* Keeps a copy of what was said. */
static enum stn_code say(struct job *job, const char *role, const char *content, struct stn_err *err)
{
    if (job->n_messages == job->room) {
        size_t room = job->room == 0 ? 16 : 2 * job->room;
        struct stn_tokenizer_message *messages = stn_mem_grow(job->messages, room, sizeof *messages);
        if (messages == NULL) {
            return stn_err_set(err, STN_MEMORY, "no memory for the conversation");
        }
        job->messages = messages;
        job->room = room;
    }
    char *copy = stn_mem_str(content);
    if (copy == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for the conversation");
    }
    job->messages[job->n_messages++] = (struct stn_tokenizer_message){role, copy};
    return STN_OK;
}

static enum stn_code ask(struct job *job, const char *question, struct stn_err *err)
{
    struct stn_tokenizer_list list = {0};
    enum stn_code code = say(job, "user", question, err);
    if (code == STN_OK) {
        code = stn_tokenizer_chat(job->session.tokenizer, &list, NULL, job->messages, job->n_messages, true, err);
    }
    if (code == STN_OK && list.n == 0) {
        code = stn_err_set(err, STN_INVALID, "the question is empty");
    }
    if (code == STN_OK) {
        job->decoder = (struct stn_tokenizer_decoder){0};
        code = answer(job, &list, err);
    }
    stn_tokenizer_list_fini(&list);
    if (code != STN_OK) {
        return code;
    }
    if (!job->json) {
        (void)printf("\n");
    }
    return stn_buf_add_u8(&job->answer, 0) ? say(job, "assistant", (const char *)job->answer.data, err)
                                           : stn_err_set(err, STN_MEMORY, "no memory for the answer");
}

/* A line of stdin without its end, as a string. Not *ret_there when there is none any more. */
static enum stn_code read_question(struct stn_buf *line, bool *ret_there, struct stn_err *err)
{
    int c = 0;
    stn_buf_clear(line);
    while (line->size <= LINE_LIMIT && (c = getc(stdin)) != EOF && c != '\n' && stn_buf_add_u8(line, (uint8_t)c)) {
    }
    if (line->size > LINE_LIMIT) {
        return stn_err_set(err, STN_LIMIT, "a question of more than %zu bytes", LINE_LIMIT);
    }
    *ret_there = c == '\n' || line->size > 0;
    while (line->size > 0 && line->data[line->size - 1] == '\r') {
        line->size--;
    }
    return !line->failed && stn_buf_add_u8(line, 0) ? STN_OK : stn_err_set(err, STN_MEMORY, "no memory for the question");
}

static enum stn_code converse(struct job *job, struct stn_err *err)
{
    size_t most = job->options->context > 0 ? job->options->context : CHAT_CONTEXT;
    enum stn_code code = make_network(job, most, err);
    if (code == STN_OK && job->options->system != NULL) {
        code = say(job, "system", job->options->system, err);
    }
    if (code == STN_OK && job->options->prompt != NULL) {
        code = ask(job, job->options->prompt, err);
    }
    struct stn_buf line = {0};
    bool is_there = true;
    while (code == STN_OK && !stn_command_stopping() && is_there) {
        code = read_question(&line, &is_there, err);
        if (code == STN_OK && line.size > 1 && !stn_command_stopping()) { /* a blank line asks nothing, half a one either */
            code = ask(job, (const char *)line.data, err);
        }
    }
    stn_buf_fini(&line);
    return code;
}

static const char *const ends[] = {"stop", "length", "context", "stopped"};

static json_t *text_of(const struct stn_buf *buf)
{
    return json_stringn((const char *)buf->data, buf->size);
}

static enum stn_code print_json(const struct job *job, struct stn_err *err)
{
    json_t *object = json_object();
    if (job->options->chat) {
        json_t *messages = json_array();
        for (size_t i = 0; i < job->n_messages; i++) {
            (void)json_array_append_new(messages, json_pack("{ss ss}", "role", job->messages[i].role, "content",
                                                            job->messages[i].content));
        }
        (void)json_object_set_new(object, "messages", messages);
    } else {
        (void)json_object_set_new(object, "text", job->answer.data == NULL ? json_string("") : text_of(&job->answer));
    }
    const struct stn_generate_result *sum = &job->sum;
    (void)json_object_set_new(object, "prompt_tokens", json_integer((json_int_t)job->n_prompt));
    (void)json_object_set_new(object, "tokens", json_integer((json_int_t)sum->n));
    (void)json_object_set_new(object, "end", json_string(ends[sum->end]));
    (void)json_object_set_new(object, "seed", json_integer((json_int_t)job->options->seed));
    (void)json_object_set_new(object, "prompt_tokens_per_s", stn_session_real((double)job->n_prompt / sum->prompt_s));
    (void)json_object_set_new(object, "tokens_per_s", stn_session_real((double)sum->n / sum->token_s));
    stn_session_add_machine(object, &job->session, job->network);
    return stn_session_take_json(object, err);
}

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    (void)line;
    return o->prompt != NULL || o->chat ? STN_OK
                                        : stn_err_set(err, STN_INVALID, "nothing to go on from: give -p TEXT, or --chat");
}

static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct job job = {.options = o, .json = line->json};
    enum stn_code code = stn_session_use_device(o->device, false, err);
    code = code != STN_OK ? code : stn_session_open(&job.session, o->model, &o->reading, o->adapter, o->backend, o->threads, err);
    code = code != STN_OK ? code : o->chat ? converse(&job, err) : complete(&job, err);
    if (code == STN_OK && line->json) {
        code = print_json(&job, err);
    } else if (code == STN_OK && !o->chat) {
        (void)printf("\n");
    }
    for (size_t i = 0; i < job.n_messages; i++) {
        stn_mem_free((char *)(uintptr_t)job.messages[i].content);
    }
    stn_mem_free(job.messages);
    stn_tokenizer_list_fini(&job.held);
    stn_buf_fini(&job.answer);
    stn_generate_sampler_fini(&job.sampler);
    stn_network_free(job.network);
    stn_session_close(&job.session);
    return code;
}

const struct stn_command stn_cmd_generate = {
    .name = "generate", .args = "", .summary = "let a model, with or without an adapter, write",
    .example = "sterna generate -m base.gguf -a notes.gguf -p \"switch off the fan ->\" -n 16 --temperature 0",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .check = check, .run = run,
};
