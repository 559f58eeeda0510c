#include "client/cli/bench_round.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/command.h"
#include "base/mem.h"
#include "base/progress.h"
#include "client/cli/session.h"
#include "update/pack.h"
#include "update/round.h"
#include "update/unmask.h"

#define RATE_MASKS 64
#define RATE_LEAST_S 0.25

/* ---- memory ---- */

/* The highest so far is forgotten, where the system allows it; returns what is there now. */
static uint64_t begin_rss(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file != NULL) {
        (void)fputs("5", file);
        (void)fclose(file);
    }
    return stn_session_rss();
}

static size_t length_of(const struct stn_bench_round *round)
{
    return stn_encode_length(&round->fleet.encoding);
}

enum stn_code stn_bench_round_init(struct stn_bench_round *round, const struct stn_bench_fleet_config *config,
                                   unsigned n_threads, struct stn_err *err)
{
    *round = (struct stn_bench_round){0};
    enum stn_code code = stn_bench_fleet_init(&round->fleet, config, err);
    code = code != STN_OK ? code : stn_team_new(&round->team, n_threads, err);
    if (code != STN_OK) {
        return code;
    }
    uint64_t size = stn_round_upload_size(&round->fleet.encoding);
    round->vector = stn_mem_aligned(length_of(round), sizeof *round->vector);
    round->packed = stn_mem_new(size, 1);
    round->leaves = stn_mem_new(stn_digest_n_chunks(size), sizeof *round->leaves);
    round->masks = stn_mem_new((size_t)round->fleet.bound.k + 1, sizeof *round->masks);
    round->effects = stn_mem_new(1, sizeof *round->effects);
    if (round->vector == NULL || round->packed == NULL || round->leaves == NULL || round->masks == NULL ||
        round->effects == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for an upload of %llu bytes", (unsigned long long)size);
    }
    memset(round->vector, 0xff, length_of(round) * sizeof *round->vector);
    memset(round->packed, 0xff, size);
    for (uint32_t i = 0; i < STN_BENCH_FLEET_WHOLE && code == STN_OK; i++) {
        code = stn_bench_device_init(&round->devices[i], &round->fleet, i, round->team, round->vector, err);
    }
    return code;
}

void stn_bench_round_fini(struct stn_bench_round *round)
{
    for (int i = 0; i < STN_BENCH_FLEET_WHOLE; i++) {
        stn_bench_device_fini(&round->devices[i]);
    }
    stn_secagg_server_free(round->server);
    if (round->effects != NULL) {
        stn_secagg_server_effects_fini(round->effects);
    }
    stn_mem_free(round->effects);
    stn_mem_free(round->sum);
    stn_mem_free(round->vector);
    stn_mem_free(round->packed);
    stn_mem_free(round->leaves);
    stn_mem_free(round->masks);
    stn_team_free(round->team);
    stn_bench_fleet_fini(&round->fleet);
}

/* ---- work on vectors, by all threads ---- */

struct job {
    struct stn_bench_round *round;
    const struct stn_mask *masks;
    size_t n_masks;
    const uint32_t *vector;
    atomic_bool has_failed;
};

static size_t end_of(const struct job *job, size_t unit)
{
    size_t end = unit * STN_UNMASK_STRIDE, length = length_of(job->round);
    return end < length ? end : length;
}

static void run(struct stn_bench_round *round, stn_team_work *work, struct job *job)
{
    job->round = round;
    stn_team_run(round->team, work, job, (length_of(round) + STN_UNMASK_STRIDE - 1) / STN_UNMASK_STRIDE);
}

/* As the coordinator's workers do it. */
static void help(void *user, unsigned member, size_t first, size_t n)
{
    (void)member;
    (void)first;
    (void)n;
    stn_unmask_help(user);
}

static void unmask(struct stn_bench_round *round, const struct stn_mask *masks, size_t n)
{
    struct stn_unmask work;
    stn_unmask_init(&work, round->sum, length_of(round), masks, n);
    stn_team_run(round->team, help, &work, stn_team_size(round->team));
}

static void add(void *user, unsigned member, size_t first, size_t n)
{
    const struct job *job = user;
    unsigned bits = job->round->fleet.encoding.bits;
    size_t from = first * STN_UNMASK_STRIDE;
    (void)member;
    stn_pack_add(job->round->sum + from, job->round->upload + from * bits / 8, end_of(job, first + n) - from, bits);
}

/* A device's upload. */
static void make(void *user, unsigned member, size_t first, size_t n)
{
    const struct job *job = user;
    unsigned bits = job->round->fleet.encoding.bits;
    uint32_t tile[STN_MASK_TILE];
    (void)member;
    for (size_t at = first * STN_UNMASK_STRIDE, end = end_of(job, first + n); at < end; at += STN_MASK_TILE) {
        size_t n_tile = end - at < STN_MASK_TILE ? end - at : STN_MASK_TILE;
        memcpy(tile, job->vector + at, n_tile * sizeof *tile);
        stn_mask_apply(tile, n_tile, at / STN_MASK_SUPERBLOCK, job->masks, job->n_masks);
        stn_pack_put(job->round->packed + at * bits / 8, tile, n_tile, bits);
    }
}

static void hash(void *user, unsigned member, size_t first, size_t n)
{
    const struct job *job = user;
    uint64_t size = stn_round_upload_size(&job->round->fleet.encoding);
    (void)member;
    for (size_t i = first; i < first + n; i++) {
        job->round->leaves[i] = stn_digest_leaf(job->round->upload + i * STN_DIGEST_CHUNK, stn_digest_chunk_size(size, i));
    }
}

static void deal(void *user, unsigned member, size_t first, size_t n)
{
    struct job *job = user;
    (void)member;
    for (size_t i = first; i < first + n; i++) {
        if (stn_bench_fleet_deal(&job->round->fleet, (uint32_t)i, NULL) != STN_OK) {
            atomic_store(&job->has_failed, true);
        }
    }
}

static void mask_tile(void *user, unsigned member, size_t first, size_t n)
{
    const struct job *job = user;
    uint32_t tile[STN_MASK_TILE] = {0};
    (void)member;
    for (size_t i = 0; i < n; i++) {
        stn_mask_apply(tile, STN_MASK_TILE, 16 * (first + i), job->masks, job->n_masks);
    }
}

/* What the threads reach when nothing but the streams is to be made. */
static void measure_rate(struct stn_bench_round *round)
{
    static const struct stn_mask masks[RATE_MASKS];
    struct job job = {.round = round, .masks = masks, .n_masks = RATE_MASKS};
    size_t n = 16 * (size_t)stn_team_size(round->team);
    double from_s = stn_session_now_s(), took_s = 0;
    while (took_s < RATE_LEAST_S) {
        stn_team_run(round->team, mask_tile, &job, n);
        round->rate_bytes += (double)(n * RATE_MASKS * STN_MASK_TILE * sizeof(uint32_t));
        took_s = stn_session_now_s() - from_s;
    }
    round->rate_s += took_s;
}

/* ---- the coordinator ---- */

static void lap(double *part, double *from_s)
{
    double now_s = stn_session_now_s();
    *part += now_s - *from_s;
    *from_s = now_s;
}

/* One step and what it asks for; *again when it wants to hear that masks are off. */
static enum stn_code step(struct stn_bench_round *round, const struct stn_secagg_server_event *event, bool *again,
                          struct stn_err *err)
{
    struct stn_bench_round_result *result = &round->result;
    enum stn_code code = STN_OK;
    struct job job = {0};
    double from_s = stn_session_now_s();
    stn_secagg_server_step(round->server, event, round->effects);
    lap(stn_secagg_server_view(round->server).stage == STN_STAGE_DONE ? &result->rebuild_s : &result->requests_s, &from_s);
    for (size_t i = 0; i < round->effects->n; i++) {
        const struct stn_secagg_server_effect *effect = &round->effects->items[i];
        if (effect->type == STN_SECAGG_SERVER_ANSWER && effect->code != STN_OK) {
            code = stn_err_set(err, effect->code, "the coordinator refuses what a device says: %s",
                               stn_err_name(effect->code));
        } else if (effect->type == STN_SECAGG_SERVER_VOID) {
            code = stn_err_set(err, effect->code, "the round is void: %u of %u devices lost are too many",
                               round->fleet.config.n_lost, round->fleet.config.n);
        } else if (effect->type == STN_SECAGG_SERVER_WAKE) {
            round->wake_ms = effect->at_ms;
        } else if (effect->type == STN_SECAGG_SERVER_COUNT) {
            run(round, add, &job);
            lap(&result->add_s, &from_s);
        } else if (effect->type == STN_SECAGG_SERVER_MASK) {
            unmask(round, effect->masks.items, effect->masks.n);
            result->n_masks += effect->masks.n;
            lap(&result->masks_s, &from_s);
            *again = true;
        } else if (effect->type == STN_SECAGG_SERVER_CLEAR) {
            round->is_clear = true;
            result->n_survivors = effect->n;
        }
    }
    return code;
}

static enum stn_code tell(struct stn_bench_round *round, struct stn_secagg_server_event event, struct stn_err *err)
{
    bool again = true;
    enum stn_code code = STN_OK;
    event.now_ms = round->now_ms;
    while (again && code == STN_OK) {
        double from_s = stn_session_cpu_s();
        again = false;
        code = step(round, &event, &again, err);
        if (stn_secagg_server_view(round->server).stage == STN_STAGE_DONE) {
            round->result.unmask_cpu_s += stn_session_cpu_s() - from_s;
        }
        event = (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_MASKED, .now_ms = round->now_ms};
        if (code == STN_OK && stn_command_stopping()) {
            code = stn_err_set(err, STN_CANCELLED, "stopped in a round of %u devices", round->fleet.config.n);
        }
    }
    return code;
}

static struct stn_id id_of(const struct stn_bench_round *round, uint32_t i)
{
    struct stn_id id;
    memcpy(id.bytes, round->fleet.members[i].ident.pub, sizeof id.bytes);
    return id;
}

static enum stn_code request(struct stn_bench_round *round, uint32_t i, const struct stn_msg *msg, struct stn_err *err)
{
    return tell(round, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_REQUEST, .device = id_of(round, i),
                                                        .msg = msg}, err);
}

/* Everybody has a place, and shares for the neighbours. */
static enum stn_code seat(struct stn_bench_round *round, const uint8_t root[static 32], struct stn_err *err)
{
    struct job job = {.round = round};
    enum stn_code code = stn_bench_fleet_seat(&round->fleet, root, err);
    if (code == STN_OK) {
        stn_team_run(round->team, deal, &job, round->fleet.config.n);
    }
    return atomic_load(&job.has_failed)
               ? stn_err_set(err, STN_MEMORY, "no memory for the shares of %u devices", round->fleet.config.n)
               : code;
}

/* Everybody who is still there polls for the end of a stage. */
static enum stn_code answer(struct stn_bench_round *round, enum stn_stage stage, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    uint8_t root[32] = {0};
    for (uint32_t i = 0; i < round->fleet.config.n && code == STN_OK; i++) {
        struct stn_bench_fleet_member *member = &round->fleet.members[i];
        struct stn_id id = id_of(round, i);
        struct stn_msg msg;
        if (member->is_lost && stage >= STN_STAGE_UPLOAD) {
            continue;
        }
        double from_s = stn_session_now_s();
        code = stn_secagg_server_answer(round->server, &id, stage, &msg);
        lap(&round->result.answers_s, &from_s);
        if (code != STN_OK) {
            return stn_err_set(err, code, "the coordinator has no answer to a poll for stage %d: %s", (int)stage,
                               stn_err_name(code));
        }
        if (stage == STN_STAGE_ADVERTISE) {
            member->index = msg.roster.index;
            memcpy(root, msg.roster.root, sizeof root);
        } else if (stage == STN_STAGE_UPLOAD) {
            round->survivors = (struct stn_roster_survivors){msg.survivors.root, msg.survivors.n_survivors};
        }
        code = member->is_whole ? stn_bench_device_hear(&round->devices[i], stage, &msg, err) : STN_OK;
    }
    return code == STN_OK && stage == STN_STAGE_ADVERTISE ? seat(round, root, err) : code;
}

/* What member i says in a stage. */
static enum stn_code compose(struct stn_bench_round *round, uint32_t i, enum stn_stage stage, struct stn_msg *ret,
                             struct stn_err *err)
{
    if (round->fleet.members[i].is_whole) {
        *ret = round->devices[i].says;
        return STN_OK;
    }
    switch (stage) {
    case STN_STAGE_ADVERTISE:
        stn_bench_fleet_advertise(&round->fleet, i, ret);
        return STN_OK;
    case STN_STAGE_SHARE:
        return stn_bench_fleet_share(&round->fleet, i, ret, err);
    case STN_STAGE_ACK:
        stn_bench_fleet_ack(&round->fleet, i, &round->survivors, ret);
        return STN_OK;
    default:
        return stn_bench_fleet_unmask(&round->fleet, i, &round->survivors.root, ret, err);
    }
}

static enum stn_code say(struct stn_bench_round *round, enum stn_stage stage, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    for (uint32_t i = 0; i < round->fleet.config.n && code == STN_OK; i++) {
        struct stn_msg msg;
        if (!round->fleet.members[i].is_lost || stage < STN_STAGE_UPLOAD) {
            code = compose(round, i, stage, &msg, err);
            code = code != STN_OK ? code : request(round, i, &msg, err);
        }
    }
    return code;
}

/* ---- uploads, one at a time ---- */

/* Makes the upload of member i, unless it lies there. */
static enum stn_code make_upload(struct stn_bench_round *round, uint32_t i, struct stn_err *err)
{
    struct job job = {.masks = round->masks, .vector = stn_bench_fleet_vector(&round->fleet, i)};
    round->upload = round->packed;
    if (round->fleet.members[i].is_whole) {
        round->upload = round->devices[i].packed;
        return STN_OK;
    }
    enum stn_code code = stn_bench_fleet_masks(&round->fleet, i, round->masks, &job.n_masks, err);
    if (code == STN_OK) {
        run(round, make, &job);
    }
    return code;
}

static enum stn_code upload(struct stn_bench_round *round, uint32_t i, struct stn_err *err)
{
    uint64_t size = stn_round_upload_size(&round->fleet.encoding);
    struct job job = {.round = round};
    struct stn_msg msg;
    enum stn_code code = make_upload(round, i, err);
    if (code != STN_OK) {
        return code;
    }
    double from_s = stn_session_now_s();
    stn_team_run(round->team, hash, &job, stn_digest_n_chunks(size));
    struct stn_digest name = stn_digest_tree_name(round->leaves, stn_digest_n_chunks(size), size);
    lap(&round->result.verify_s, &from_s);
    if (round->fleet.members[i].is_whole) {
        msg = round->devices[i].says;
        if (!stn_digest_equal(&msg.put_end.digest, &name)) {
            return stn_err_set(err, STN_CORRUPT, "an upload is not what its device has signed");
        }
    } else {
        stn_bench_fleet_put_end(&round->fleet, i, &name, &msg);
    }
    return tell(round, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_UPLOAD, .device = id_of(round, i),
                                                        .upload = &msg.put_end}, err);
}

static enum stn_code upload_all(struct stn_bench_round *round, struct stn_err *err)
{
    struct stn_progress progress;
    enum stn_code code = STN_OK;
    uint32_t n = round->fleet.config.n;
    stn_progress_start(&progress, "upload", n);
    for (uint32_t i = 0; i < n && code == STN_OK; i++) {
        code = round->fleet.members[i].is_lost ? STN_OK : upload(round, i, err);
        stn_progress_at(&progress, i + 1, "");
    }
    stn_progress_end(&progress);
    if (code == STN_OK && round->fleet.config.n_lost > 0) { /* nobody else will come */
        round->now_ms = round->wake_ms;
        code = tell(round, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_TIME}, err);
    }
    return code;
}

/* ---- a round ---- */

static enum stn_code open_round(struct stn_bench_round *round, struct stn_err *err)
{
    struct stn_secagg_server_config config = {.terms = round->fleet.terms, .target = round->fleet.config.n,
                                              .coordinator = round->fleet.coordinator};
    memcpy(config.directory, round->fleet.directory.pub, sizeof config.directory);
    round->sum = stn_mem_aligned(length_of(round), sizeof *round->sum);
    if (round->sum == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a sum of %zu elements", length_of(round));
    }
    enum stn_code code = stn_secagg_server_new(&round->server, &config, err);
    code = code != STN_OK ? code : tell(round, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_OPEN}, err);
    for (int i = 0; i < STN_BENCH_FLEET_WHOLE && code == STN_OK; i++) {
        code = stn_bench_device_start(&round->devices[i], err);
    }
    return code;
}

static enum stn_code open_secrets(struct stn_bench_round *round, struct stn_err *err)
{
    enum stn_code code = answer(round, STN_STAGE_ACK, err);
    measure_rate(round);
    code = code != STN_OK ? code : say(round, STN_STAGE_UNMASK, err);
    measure_rate(round);
    round->result.mask_bytes_per_s = round->rate_bytes / round->rate_s;
    if (code == STN_OK && !round->is_clear) {
        code = stn_err_set(err, STN_CORRUPT, "the sum of %u devices is still masked", round->fleet.config.n);
    }
    return code;
}

/* The mean, and how far it is from the mean of the survivors' deltas. */
static enum stn_code decode(struct stn_bench_round *round, uint64_t base_rss, struct stn_err *err)
{
    const struct stn_bench_fleet *fleet = &round->fleet;
    size_t n_values = fleet->config.n_values;
    struct stn_encode_totals totals;
    float *mean = stn_mem_new(n_values, sizeof *mean);
    if (mean == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a mean of %zu values", n_values);
    }
    double from_s = stn_session_now_s(), squares = 0;
    enum stn_code code = stn_encode_decode(&fleet->encoding, round->sum, round->result.n_survivors, mean, &totals, err);
    lap(&round->result.decode_s, &from_s);
    uint64_t peak = stn_session_peak_rss();
    round->result.server_rss_bytes = peak > base_rss ? peak - base_rss : 0;
    double times[STN_BENCH_FLEET_WHOLE];
    for (uint32_t v = 0; v < STN_BENCH_FLEET_WHOLE; v++) {
        times[v] = stn_bench_fleet_times(fleet, v);
    }
    for (size_t i = 0; i < n_values && code == STN_OK; i++) {
        double plain = 0;
        for (uint32_t v = 0; v < STN_BENCH_FLEET_WHOLE; v++) {
            plain += times[v] * (double)fleet->deltas[v][i];
        }
        double error = mean[i] - plain / round->result.n_survivors;
        squares += error * error;
    }
    round->result.mean_error = sqrt(squares / (double)n_values);
    stn_mem_free(mean);
    return code;
}

enum stn_code stn_bench_round_run(struct stn_bench_round *round, struct stn_err *err)
{
    uint64_t base_rss = begin_rss();
    enum stn_code code = open_round(round, err);
    code = code != STN_OK ? code : say(round, STN_STAGE_ADVERTISE, err);
    code = code != STN_OK ? code : answer(round, STN_STAGE_ADVERTISE, err);
    code = code != STN_OK ? code : say(round, STN_STAGE_SHARE, err);
    code = code != STN_OK ? code : answer(round, STN_STAGE_SHARE, err);
    code = code != STN_OK ? code : upload_all(round, err);
    code = code != STN_OK ? code : answer(round, STN_STAGE_UPLOAD, err);
    code = code != STN_OK ? code : say(round, STN_STAGE_ACK, err);
    code = code != STN_OK ? code : open_secrets(round, err);
    if (code == STN_OK) {
        round->result.sum_error = stn_bench_fleet_error(&round->fleet, round->sum);
        code = decode(round, base_rss, err);
    }
    return code;
}
