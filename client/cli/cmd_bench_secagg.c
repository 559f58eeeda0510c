#include "client/cli/cli.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/mem.h"
#include "client/cli/bench_model.h"
#include "client/cli/bench_round.h"
#include "client/cli/session.h"
#include "update/round.h"

#define DEVICE_ROOM 40000 /* bytes that the coordinator may have for a member beside the sum */

struct options {
    uint64_t clients, params, threads, seed;
    double dropout;
    bool full;
};

static const struct options defaults = {.clients = 100, .params = 1 << 20, .dropout = 0.02, .seed = 1};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"clients", 0, STN_OPTION_U64, AT(clients), "N", "devices of the round (100)", STN_BOUND_MEMBERS_MIN, 100000},
    {"params", 0, STN_OPTION_U64, AT(params), "D", "values of a delta (1048576)", 1, 1 << 28},
    {"dropout", 0, STN_OPTION_F64, AT(dropout), "P", "share lost between shares and upload (0.02)", 0, 0.5},
    {"threads", 0, STN_OPTION_U64, AT(threads), "N", "one a processor by default", 1, STN_SESSION_THREADS_MAX},
    {"seed", 0, STN_OPTION_U64, AT(seed), "S", "of all random numbers (1)"},
    {"full", 0, STN_OPTION_FLAG, AT(full), NULL,
     "all pair masks in all uploads, also those that cancel: slow, and the same sum and server"},
    {0},
};

static int compare(const void *a, const void *b)
{
    const struct stn_bench_device *const *x = a, *const *y = b;
    double difference = stn_bench_device_total_s(*x) - stn_bench_device_total_s(*y);
    return (difference > 0) - (difference < 0);
}

static json_t *device_parts(const struct stn_bench_device *device)
{
    json_t *object = json_object();
    for (int i = 0; i < STN_BENCH_DEVICE_PARTS && object != NULL; i++) {
        (void)json_object_set_new(object, stn_bench_device_parts[i], json_real(device->took_s[i]));
    }
    return object;
}

static enum stn_code report(const struct stn_bench_round *round, bool json, struct stn_err *err)
{
    const struct stn_bench_round_result *r = &round->result;
    const struct stn_bench_fleet *fleet = &round->fleet;
    const struct stn_bench_device *devices[STN_BENCH_FLEET_WHOLE];
    double params = (double)fleet->config.n_values, unmask_s = r->rebuild_s + r->masks_s;
    double removed = (double)r->n_masks * (double)stn_encode_length(&fleet->encoding) * sizeof(uint32_t);
    for (int i = 0; i < STN_BENCH_FLEET_WHOLE; i++) {
        devices[i] = &round->devices[i];
    }
    qsort(devices, STN_BENCH_FLEET_WHOLE, sizeof *devices, compare);
    const struct stn_bench_device *median = devices[STN_BENCH_FLEET_WHOLE / 2];
    json_t *result = json_pack(
        "{sf sf sf sf sI sI sf sf sf sf sf sI sI sI sI si si si si ss sI sI so s{sf sf sf sf sf sf sf}}", "device_s",
        stn_bench_device_total_s(median), "server_unmask_s", unmask_s, "server_total_s",
        r->requests_s + r->answers_s + r->verify_s + r->add_s + unmask_s + r->decode_s, "wire_bytes_per_param",
        (double)median->wire_bytes / params, "server_rss_bytes", (json_int_t)r->server_rss_bytes, "sum_error",
        (json_int_t)r->sum_error, "device_best_s", stn_bench_device_total_s(devices[0]), "server_unmask_cpu_s", r->unmask_cpu_s, "mask_bytes_per_s",
        r->mask_bytes_per_s, "unmask_fraction", removed / unmask_s / r->mask_bytes_per_s, "mean_error", r->mean_error,
        "server_rss_allowed_bytes", (json_int_t)(4 * fleet->config.n_values + (uint64_t)DEVICE_ROOM * fleet->config.n),
        "clients", (json_int_t)fleet->config.n, "params", (json_int_t)fleet->config.n_values, "lost",
        (json_int_t)fleet->config.n_lost, "k", (int)fleet->bound.k, "t", (int)fleet->bound.t, "bits",
        (int)fleet->encoding.bits, "threads", (int)stn_team_size(round->team), "kernel", stn_mask_chosen(), "masks_removed",
        (json_int_t)r->n_masks, "full", (json_int_t)fleet->config.is_full, "device", device_parts(median), "server",
        "requests_s", r->requests_s, "answers_s", r->answers_s, "verify_s", r->verify_s, "add_s", r->add_s, "rebuild_s",
        r->rebuild_s, "masks_s", r->masks_s, "decode_s", r->decode_s);
    return stn_session_take_result(result, json, err);
}

static enum stn_code secagg(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    const struct stn_bench_fleet_config config = {.n = (uint32_t)o->clients,
                                                  .n_lost = (uint32_t)floor(o->dropout * (double)o->clients),
                                                  .n_values = o->params, .seed = o->seed, .is_full = o->full};
    assert(config.n - config.n_lost >= STN_BENCH_FLEET_WHOLE); /* half of five or more */
    struct stn_bench_round *round = stn_mem_new(1, sizeof *round);
    if (round == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a round");
    }
    enum stn_code code = stn_bench_round_init(round, &config, stn_session_threads(o->threads), err);
    code = code != STN_OK ? code : stn_bench_round_run(round, err);
    code = code != STN_OK ? code : report(round, line->json, err);
    stn_bench_round_fini(round);
    stn_mem_free(round);
    return code;
}

const struct stn_command stn_cmd_bench_secagg = {
    .name = "bench secagg", .args = "",
    .summary = "what a secure round costs one device and the coordinator",
    .example = "sterna bench secagg --clients 1000 --params 1048576 --dropout 0.02 --json",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .run = secagg,
};
