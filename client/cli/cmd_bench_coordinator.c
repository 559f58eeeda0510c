#include "client/cli/cli.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "client/cli/bench_model.h"
#include "client/cli/bench_rounds.h"
#include "client/cli/session.h"
#include "client/shell/owner.h"
#include "io/file.h"

#define MEMORY_FOLDER "/dev/shm"
#define FLOOR_PARAMS 1000
#define CLIENTS_MOST 4000

struct options {
    uint64_t clients, params, rounds, seed, threads;
    const char *dir, *sternad;
    bool secure, floor;
};

static const struct options defaults = {.clients = 16, .params = 1000000, .rounds = 5, .seed = 1, .secure = true};

#define AT(member) offsetof(struct options, member)
static const struct stn_option options[] = {
    {"clients", 0, STN_OPTION_U64, AT(clients), "K", "devices, all of them in every round (16)", STN_OWNER_N_MIN_LEAST, CLIENTS_MOST},
    {"params", 0, STN_OPTION_U64, AT(params), "D", "values of a delta, about: a multiple of 512 (1000000)", 1, 1 << 23},
    {"rounds", 0, STN_OPTION_U64, AT(rounds), "R", "that are measured, after one that is not (5)", 1, STN_BENCH_ROUNDS_MOST},
    {"secure", 0, STN_OPTION_SWITCH, AT(secure), NULL, "secure aggregation: on or off (on)"},
    {"floor", 0, STN_OPTION_FLAG, AT(floor), NULL, "also with 1000 values: what a round takes whatever its size"},
    {"dir", 0, STN_OPTION_STR, AT(dir), "DIR",
     "where the coordinator's folder is made (default: on a disk, $TMPDIR or /tmp, and then in " MEMORY_FOLDER ")"},
    {"sternad", 0, STN_OPTION_STR, AT(sternad), "PATH", "the coordinator's program (default: the one beside this)"},
    {"threads", 0, STN_OPTION_U64, AT(threads), "N", "loops of the devices, and as many for their work: one a processor by default", 1, STN_SESSION_THREADS_MAX},
    {"seed", 0, STN_OPTION_U64, AT(seed), "S", "of the deltas (1)"},
    {0},
};

/* ---- JSON ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, uint32_t n)
{
    double sorted[STN_BENCH_ROUNDS_MOST];
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare);
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static json_t *each(const double *values, uint32_t n)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < n; i++) {
        (void)json_array_append_new(array, json_real(values[i]));
    }
    return array;
}

static json_t *json_rounds(const struct stn_bench_rounds *r)
{
    double cohort_s[STN_BENCH_ROUNDS_MOST], wall_s = 0, updates = (double)r->n_updates, n = r->n;
    for (uint32_t i = 0; i < r->n; i++) {
        wall_s += r->round_s[i];
        cohort_s[i] = r->round_s[i] - r->lease_s[i];
    }
    json_t *object = json_pack(
        "{sf sf sf sI sf}", "round_s", median(r->round_s, r->n), "updates_per_s", updates / wall_s, "bytes_per_s",
        (double)(r->n_bytes_in + r->n_bytes_out) / wall_s, "server_rss_bytes", (json_int_t)r->peak_rss,
        "server_cpu_s_per_update", updates > 0 ? r->cpu_s / updates : 0.0);
    json_t *more = json_pack(
        "{ss sI sI so sf sf sf sf sf sf sf sf sf sf sf sf sf}", "state", r->is_memory ? "tmpfs" : "disk", "params", (json_int_t)r->n_params, "updates",
        (json_int_t)r->n_updates, "rounds_s", each(r->round_s, r->n), "cohort_s", median(cohort_s, r->n), "lease_s", median(r->lease_s, r->n), "join_s",
        median(r->join_s, r->n), "upload_s", median(r->upload_s, r->n), "merge_s", median(r->merge_s, r->n),
        "device_cpu_s_per_update", r->device_cpu_s / updates, "server_cpu_s_per_round", r->cpu_s / n, "server_commit_s_per_round", r->commit_s / n, "server_sync_s_per_round",
        r->sync_s / n, "server_commits_per_round", (double)r->n_commits / n, "server_syncs_per_round", (double)r->n_syncs / n,
        "requests_per_update", (double)r->n_requests / updates, "bytes_per_update",
        (double)(r->n_bytes_in + r->n_bytes_out) / updates);
    (void)json_object_update(object, more);
    json_decref(more);
    return object;
}

/* ---- the command ---- */

static enum stn_code measure(const struct options *o, const char *folder, uint64_t n_params, json_t **ret, struct stn_err *err)
{
    const struct stn_bench_rounds_config config = {.program = o->sternad, .folder = folder, .n_clients = (uint32_t)o->clients,
                                                   .n_rounds = (uint32_t)o->rounds, .n_params = n_params, .secure = o->secure,
                                                   .seed = o->seed, .n_threads = stn_session_threads(o->threads)};
    struct stn_bench_rounds *rounds = stn_mem_new(1, sizeof *rounds);
    enum stn_code code = rounds == NULL ? stn_err_set(err, STN_MEMORY, "no memory for rounds")
                                        : stn_bench_rounds_run(&config, rounds, err);
    if (code == STN_OK) {
        *ret = json_rounds(rounds);
    }
    stn_mem_free(rounds);
    return code;
}

/* With the state in one folder. */
static enum stn_code measure_in(const struct options *o, const char *folder, json_t **ret, struct stn_err *err)
{
    json_t *result = NULL, *floor = NULL;
    enum stn_code code = measure(o, folder, o->params, &result, err);
    if (code == STN_OK && o->floor) {
        code = measure(o, folder, FLOOR_PARAMS, &floor, err);
        (void)json_object_set_new(result, "floor_round_s", json_incref(json_object_get(floor, "round_s")));
        (void)json_object_set_new(result, "floor", floor);
    }
    if (code == STN_OK) {
        *ret = result;
    } else {
        json_decref(result);
    }
    return code;
}

static enum stn_code coordinator(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    const char *place = getenv("TMPDIR");
    const char *disk = o->dir != NULL ? o->dir : place != NULL && place[0] != '\0' ? place : "/tmp";
    json_t *result = NULL, *memory = NULL;
    stn_log_level(STN_LOG_WARN); /* the devices say every step */
    enum stn_code code = measure_in(o, disk, &result, err);
    if (code == STN_OK && o->dir == NULL && stn_file_exists(MEMORY_FOLDER)) {
        code = measure_in(o, MEMORY_FOLDER, &memory, err);
        (void)json_object_set_new(result, "tmpfs", memory);
    }
    if (code != STN_OK) {
        json_decref(result);
        return code;
    }
    (void)json_object_set_new(result, "clients", json_integer((json_int_t)o->clients));
    (void)json_object_set_new(result, "rounds", json_integer((json_int_t)o->rounds));
    (void)json_object_set_new(result, "secure", json_boolean(o->secure));
    return stn_session_take_result(result, line->json, err);
}

const struct stn_command stn_cmd_bench_coordinator = {
    .name = "bench coordinator", .args = "",
    .summary = "rounds of a real sternad in its own process over loopback, with K devices that do everything but train",
    .example = "sterna bench coordinator --clients 16 --params 1000000 --rounds 5 --secure on --json",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .run = coordinator,
};
