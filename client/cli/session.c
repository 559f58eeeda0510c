#include "client/cli/session.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "compute/backend.h"
#include "compute/model/choose.h"
#include "io/file.h"
#include "io/usage.h"

#define NAMES 28 /* columns of a member's name */
#define PIECE ((size_t)1 << 20)
#define SLACK ((uint64_t)5 << 20) /* code that has not run yet, stacks, what training keeps beside the network */

const char *const stn_session_backends[] = {"auto", "cpu", "vulkan", NULL};
const char *const stn_session_losses[] = {"completion", "all", NULL};
const char *const stn_session_packings[] = {"x86", "arm", NULL};
const char *const stn_session_templates[] = {"model", "chatml", "llama-2", "llama-3", "bitnet", "falcon", NULL};
const char *const stn_session_backwards[] = {"exact", "int8", NULL};

const char *stn_session_backend(int backend)
{
    return backend == STN_SESSION_AUTO ? NULL : stn_session_backends[backend];
}

const char *stn_session_choose(const struct stn_session *session, int backend, uint64_t memory_limit)
{
    char cache[STN_FILE_PATH_MAX];
    struct stn_choose_result result;
    if (backend != STN_SESSION_AUTO || memory_limit > 0) {
        return stn_session_backend(backend);
    }
    stn_choose_backend(&result, session->model, session->n_threads, stn_session_cache(cache));
    return result.backend;
}

enum stn_code stn_session_check_backend(int backend, struct stn_err *err)
{
    const char *name = stn_session_backend(backend);
    if (stn_backend_find(name) == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED, "--backend %s: this build computes on the cpu alone, use --backend auto or cpu",
                           name);
    }
    return STN_OK;
}

enum stn_code stn_session_use_device(const char *device, bool profile, struct stn_err *err)
{
    const char *is = getenv("STERNA_VULKAN"), *wanted = device == NULL ? "" : device;
    char words[256];
    if (device == NULL && !profile) {
        return STN_OK;
    }
    int n = snprintf(words, sizeof words, "%s%s%s%s", is == NULL ? "" : is, profile ? ",times" : "",
                     device == NULL ? "" : ",device=", wanted);
    if (n < 0 || (size_t)n >= sizeof words || strchr(wanted, ',') != NULL) {
        return stn_err_set(err, STN_INVALID, "--device %.40s is no part of a device's name, see sterna bench devices", wanted);
    }
    return setenv("STERNA_VULKAN", words, 1) == 0 ? STN_OK : stn_err_set(err, STN_MEMORY, "no memory for a device's name");
}

unsigned stn_session_threads(uint64_t asked)
{
    long n_processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t n = asked > 0 ? asked : n_processors > 0 ? (uint64_t)n_processors : 1;
    return (unsigned)(n > STN_SESSION_THREADS_MAX ? STN_SESSION_THREADS_MAX : n);
}

size_t stn_session_most(int backend, uint64_t memory_limit)
{
    return backend == STN_SESSION_VULKAN ? 1 : memory_limit;
}

enum stn_code stn_session_open_model(struct stn_model **ret, const char *path, const struct stn_session_reading *reading, int backend,
                                     struct stn_err *err)
{
    char cache[STN_FILE_PATH_MAX];
    const struct stn_model_reading how = {.folder = backend == STN_SESSION_VULKAN ? NULL : stn_session_cache(cache),
                                          .ternarise = reading->ternarise, .i2_s_arm = reading->i2_s == 1,
                                          .most = stn_session_most(backend, reading->memory_limit)};
    return stn_model_open_with(ret, path, &how, err);
}

enum stn_code stn_session_open(struct stn_session *ret, const char *model, const struct stn_session_reading *reading,
                               const char *adapter, int backend, uint64_t n_threads, struct stn_err *err)
{
    struct stn_session session = {.n_threads = stn_session_threads(n_threads)};
    enum stn_code code = stn_session_check_backend(backend, err);
    uint64_t before = stn_session_rss();
    code = code != STN_OK ? code : stn_session_open_model(&session.model, model, reading, backend, err);
    uint64_t after = stn_session_rss();
    session.model_rss = after > before ? after - before : 0;
    if (code == STN_OK) {
        code = stn_tokenizer_new(&session.tokenizer, stn_model_gguf(session.model), err);
    }
    if (code == STN_OK && reading->template > 0) {
        code = stn_tokenizer_chat_use_template(session.tokenizer, stn_session_templates[reading->template], err);
    }
    if (code == STN_OK && adapter != NULL) {
        code = stn_adapter_file_load(&session.adapter, stn_model_arch(session.model), adapter, err);
    }
    if (code != STN_OK) {
        stn_session_close(&session);
        return code;
    }
    *ret = session;
    return STN_OK;
}

const char *stn_session_cache(char ret[static STN_FILE_PATH_MAX])
{
    const char *own = getenv("STERNA_CACHE"), *shared = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (own != NULL) {
        n = snprintf(ret, STN_FILE_PATH_MAX, "%s", own);
    } else if (shared != NULL && shared[0] == '/') {
        n = snprintf(ret, STN_FILE_PATH_MAX, "%s/sterna", shared);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(ret, STN_FILE_PATH_MAX, "%s/.cache/sterna", home);
    }
    return n > 0 && n < STN_FILE_PATH_MAX ? ret : NULL;
}

void stn_session_close(struct stn_session *session)
{
    stn_adapter_free(session->adapter);
    stn_tokenizer_free(session->tokenizer);
    stn_model_close(session->model);
    *session = (struct stn_session){0};
}

enum stn_code stn_session_file_digest(const char *path, struct stn_digest *ret, struct stn_err *err)
{
    int fd = -1;
    uint64_t size = 0;
    struct stn_digest_state state;
    uint8_t *piece = stn_mem_new(PIECE, 1);
    enum stn_code code = piece == NULL ? stn_err_set(err, STN_MEMORY, "no memory to read %s", path)
                                       : stn_file_open(&fd, path, STN_FILE_READ, 0, err);
    if (code == STN_OK) {
        code = stn_file_size(path, &size, err);
    }
    stn_digest_init(&state);
    for (uint64_t at = 0; code == STN_OK && at < size; at += PIECE) {
        size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;
        code = stn_file_pread(fd, path, piece, n, at, err);
        if (code == STN_OK) {
            stn_digest_add(&state, piece, n);
        }
    }
    stn_file_close(fd);
    stn_mem_free(piece);
    if (code == STN_OK) {
        *ret = stn_digest_end(&state);
    }
    return code;
}

enum stn_code stn_session_can_write(const char *path, const char *const *inputs, size_t n_inputs, struct stn_err *err)
{
    char folder[STN_FILE_PATH_MAX] = ".";
    struct stat is;
    const char *slash = strrchr(path, '/');
    if (path[0] == '\0' || strlen(path) >= sizeof folder) {
        return stn_err_set(err, STN_INVALID, "\"%.64s\" is no name for a file", path);
    }
    if (slash != NULL) {
        size_t n = slash == path ? 1 : (size_t)(slash - path);
        memcpy(folder, path, n);
        folder[n] = '\0';
    }
    if (stat(path, &is) == 0 && S_ISDIR(is.st_mode)) {
        return stn_err_set(err, STN_INVALID, "%s is a folder, expected the name of a file", path);
    }
    for (size_t i = 0; i < n_inputs; i++) {
        struct stat other;
        if (inputs[i] != NULL && stat(path, &is) == 0 && stat(inputs[i], &other) == 0 && is.st_dev == other.st_dev &&
            is.st_ino == other.st_ino) {
            return stn_err_set(err, STN_INVALID, "%s is what this reads: give the output another name", path);
        }
    }
    if (access(folder, W_OK | X_OK) != 0) {
        return stn_err_errno(err, errno, "%s cannot be written: %s", path, folder);
    }
    return STN_OK;
}

static double mib(uint64_t size)
{
    return (double)size / 1048576;
}

uint64_t stn_session_base(const struct stn_session *session)
{
    uint64_t now = stn_session_rss();
    return SLACK + (now > session->model_rss ? now - session->model_rss : 0);
}

/* What no choice changes: of the weights what is packed is there, what is mapped comes as it is read. */
static uint64_t fixed_part(const struct stn_session *session, const struct stn_network_memory *m, uint64_t base)
{
    return base + (session->model_rss > m->weights ? session->model_rss : m->weights);
}

static enum stn_code too_little(const struct stn_session *session, const struct stn_network_memory *m, uint64_t base,
                                uint64_t limit, const char *advice, struct stn_err *err)
{
    uint64_t sum = fixed_part(session, m, base) + m->adapter + m->activations + m->scratch;
    /* whole megabytes, and one more: two processes never take quite the same */
    return stn_err_set(err, STN_LIMIT,
                       "at least %lluM are needed (weights %.1f MiB, adapter %.1f, activations %.1f, scratch %.1f, data and program "
                       "the rest), the limit is %.1f MiB: %s",
                       (unsigned long long)((sum >> 20) + 2), mib(m->weights), mib(m->adapter), mib(m->activations),
                       mib(m->scratch), mib(limit), advice);
}

/* Bytes that choices may fill. */
static size_t room_in(const struct stn_session *session, uint64_t base, uint64_t limit)
{
    struct stn_network_memory m = {.weights = stn_model_size(session->model)};
    uint64_t fixed = fixed_part(session, &m, base);
    return limit > fixed ? (size_t)(limit - fixed) : 0;
}

/* Weights leave memory: those that were packed there, and those that were read in a file. */
static enum stn_code stream(struct stn_session *session, struct stn_err *err)
{
    uint64_t before = stn_session_rss();
    enum stn_code code = stn_model_stream(session->model, err);
    uint64_t after = stn_session_rss(), freed = before > after ? before - after : 0;
    session->model_rss = session->model_rss > freed ? session->model_rss - freed : 0;
    return code;
}

enum stn_code stn_session_fit(struct stn_session *session, const struct stn_network_config *config, size_t least, uint64_t base,
                              uint64_t limit, const char *advice, struct stn_fit *ret, struct stn_err *err)
{
    *ret = (struct stn_fit){.rows = config->max_tokens, .recompute = config->recompute};
    if (limit == 0) {
        return STN_OK;
    }
    enum stn_code code = stn_fit_find(ret, session->model, session->adapter, config, least, room_in(session, base, limit), err);
    if (code == STN_OK && ret->rows == 0 && !stn_model_streams(session->model)) {
        code = stream(session, err);
        code = code != STN_OK ? code : stn_fit_find(ret, session->model, session->adapter, config, least, room_in(session, base, limit), err);
    }
    if (code == STN_OK && ret->rows == 0) {
        code = too_little(session, &ret->memory, base, limit, advice, err);
    }
    return code;
}

void stn_session_print_plan(const struct stn_session_plan *plan)
{
    const struct stn_network_memory *m = &plan->memory;
    char again[64] = "";
    if (plan->recompute > 0) {
        (void)snprintf(again, sizeof again, " (of %u layers of %u computed again)", plan->recompute, plan->n_layers);
    }
    (void)printf("%-10s weights %.1f MiB%s, activations %.1f%s, optimiser %.1f, scratch %.1f, program and data %.1f; passes of "
                 "%zu tokens\n",
                 "plan", mib(m->weights), plan->streams ? " (streamed)" : "", mib(m->activations), again, mib(m->adapter),
                 mib(m->scratch), mib(plan->base), plan->pass_tokens);
    (void)fflush(stdout);
}

json_t *stn_session_json_plan(const struct stn_session_plan *plan)
{
    const struct stn_network_memory *m = &plan->memory;
    return json_pack("{sI sI sI sI sI sI sI sb}", "weights_bytes", (json_int_t)m->weights, "activations_bytes",
                     (json_int_t)m->activations, "optimiser_bytes", (json_int_t)m->adapter, "scratch_bytes",
                     (json_int_t)m->scratch, "base_bytes", (json_int_t)plan->base, "pass_tokens",
                     (json_int_t)plan->pass_tokens, "recompute_layers", (json_int_t)plan->recompute, "streams",
                     (int)plan->streams);
}

size_t stn_session_longest(const struct stn_dataset *dataset)
{
    size_t longest = 2;
    for (size_t i = 0; i < dataset->n_examples; i++) {
        size_t n = dataset->examples[i].n_tokens;
        longest = n > longest ? n : longest;
    }
    return longest;
}

void stn_session_print_counts(const struct stn_dataset *dataset)
{
    const struct stn_dataset_counts *c = &dataset->counts;
    (void)printf("%-10s %zu (%llu truncated by %llu tokens, %llu empty, %llu skipped)\n", "examples",
                 dataset->n_examples, (unsigned long long)c->n_truncated, (unsigned long long)c->n_cut,
                 (unsigned long long)c->n_empty, (unsigned long long)c->n_skipped);
    if (c->first_bad.code != STN_OK) {
        (void)printf("%-10s %s\n", "skipped", c->first_bad.text);
    }
}

void stn_session_add_counts(json_t *object, const struct stn_dataset *dataset)
{
    const struct stn_dataset_counts *c = &dataset->counts;
    (void)json_object_set_new(object, "examples", json_integer((json_int_t)dataset->n_examples));
    (void)json_object_set_new(object, "truncated", json_integer((json_int_t)c->n_truncated));
    (void)json_object_set_new(object, "truncated_tokens", json_integer((json_int_t)c->n_cut));
    (void)json_object_set_new(object, "empty", json_integer((json_int_t)c->n_empty));
    (void)json_object_set_new(object, "skipped", json_integer((json_int_t)c->n_skipped));
}

void stn_session_add_machine(json_t *object, const struct stn_session *session, const struct stn_network *network)
{
    (void)json_object_set_new(object, "peak_rss_bytes", json_integer((json_int_t)stn_session_peak_rss()));
    (void)json_object_set_new(object, "threads", json_integer((json_int_t)session->n_threads));
    (void)json_object_set_new(object, "backend", json_string(stn_network_backend(network)));
    (void)json_object_set_new(object, "kernel", json_string(stn_network_kernel(network)));
}

json_t *stn_session_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void print_value(const json_t *value)
{
    if (json_is_string(value)) {
        (void)printf("%s", json_string_value(value));
    } else if (json_is_integer(value)) {
        (void)printf("%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)printf("%.6g", json_real_value(value));
    } else {
        (void)printf("%s", json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-");
    }
}

static void print_member(const char *key, json_t *value, int depth)
{
    const char *inner_key;
    json_t *inner;
    size_t i;
    if (json_object_size(value) > 0) {
        (void)printf("%*s%s\n", 2 * depth, "", key);
        json_object_foreach(value, inner_key, inner) {
            print_member(inner_key, inner, depth + 1);
        }
        return;
    }
    (void)printf("%*s%-*s ", 2 * depth, "", NAMES - 2 * depth, key);
    if (json_is_array(value)) {
        json_array_foreach(value, i, inner) {
            (void)printf("%s", i == 0 ? "" : ", ");
            print_value(inner);
        }
    } else {
        print_value(value);
    }
    (void)printf("\n");
}

void stn_session_print_object(json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        print_member(key, value, 0);
    }
}

enum stn_code stn_session_take_result(json_t *object, bool json, struct stn_err *err)
{
    if (json || object == NULL) {
        return stn_session_take_json(object, err);
    }
    stn_session_print_object(object);
    json_decref(object);
    return STN_OK;
}

enum stn_code stn_session_take_json(json_t *object, struct stn_err *err)
{
    if (object == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for the result");
    }
    int result = json_dumpf(object, stdout, JSON_PRESERVE_ORDER);
    json_decref(object);
    (void)putchar('\n');
    return result == 0 ? STN_OK : stn_err_set(err, STN_IO, "the result cannot be written to stdout");
}

static struct stn_usage usage(void)
{
    struct stn_usage now;
    stn_usage_read(&now);
    return now;
}

uint64_t stn_session_rss(void)
{
    return usage().rss;
}

uint64_t stn_session_peak_rss(void)
{
    return usage().peak_rss;
}

double stn_session_cpu_s(void)
{
    struct timespec t; /* not all of the usage: that takes longer than some of what is timed */
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double stn_session_now_s(void)
{
    return (double)stn_usage_now_ns() * 1e-9;
}
