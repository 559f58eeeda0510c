/* A coordinator of a secure task with seven devices that have keys and keep to SA1, until a byte says otherwise: two bytes are an
 * event, who and what. A device does the next thing that it would do; says it with a bit changed, or as another; is late, leaves,
 * starts again; the coordinator's process ends and another goes on from its records, or from what a broken disk has left of them. Whatever happens: a ticket is answered once, a
 * sum that is merged is the plain sum of exactly the vectors that count, of at least n_min, among them all that were acknowledged,
 * and no honest device is quarantined for the lies of one. */
#include "tests/lib/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "channel/signed.h"
#include "client/core/secagg_client.h"
#include "client/simulate/disk.h"
#include "server/core/coordinator.h"

enum { N = 7, N_MIN = 5, VALUES = 8, EVENTS_MOST = 1000 };

struct device {
    struct stn_ident ident;
    struct stn_id id;
    struct stn_secagg_client *client; /* NULL: in no round */
    struct stn_msg_lease lease;
    struct stn_round_id round;
    struct stn_msg says; /* points into the client */
    bool has_said, is_over, has_lied, is_checking, is_acknowledged, counts;
    uint32_t x[VALUES], y[VALUES];
};

struct run {
    struct stn_cursor in;
    struct stn_rng rng;
    uint64_t now_ms;
    struct stn_ident coordinator_ident, directory;
    struct stn_coordinator *coordinator;
    struct stn_server_effects effects;
    struct stn_disk disk;
    struct stn_map tickets; /* asked and not answered -> the device, or this run for what nobody hears */
    uint64_t n_tickets, wake_ms;
    struct device devices[N];
    struct stn_round_id unmasking, merging;
    bool is_unmasking, is_merging;
    bool is_broken; /* a record was changed: nothing is promised but an end */
    uint32_t sum[VALUES];
};

static void must(bool is_so)
{
    if (!is_so) {
        abort();
    }
}

static struct device *device_of(struct run *run, const struct stn_id *id)
{
    for (int i = 0; i < N; i++) {
        if (memcmp(&run->devices[i].id, id, sizeof *id) == 0) {
            return &run->devices[i];
        }
    }
    abort();
}

/* ---- devices ---- */

static void draw(struct run *run, void *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)p)[i] = (uint8_t)stn_rng_u64(&run->rng);
    }
}

static void end_round(struct device *device)
{
    stn_secagg_client_free(device->client);
    device->client = NULL;
    device->says = (struct stn_msg){.type = STN_MSG_NONE};
    device->lease = (struct stn_msg_lease){0};
}

static void client_step(struct run *run, struct device *device, struct stn_secagg_client_event event)
{
    struct stn_secagg_client_effects said;
    bool has_masked = false;
    event.now_ms = run->now_ms;
    stn_secagg_client_step(device->client, &event, &said);
    for (size_t i = 0; i < said.n; i++) {
        const struct stn_secagg_client_effect *effect = &said.items[i];
        if (effect->type == STN_SECAGG_CLIENT_SEND) {
            device->says = effect->msg;
            device->has_said = false;
        } else if (effect->type == STN_SECAGG_CLIENT_MASK) {
            memcpy(device->y, device->x, sizeof device->y);
            stn_mask_apply(device->y, VALUES, 0, effect->masks.items, effect->masks.n);
            has_masked = true;
        }
        must(effect->type != STN_SECAGG_CLIENT_EVIDENCE || run->is_broken); /* this coordinator is honest */
        device->is_over = device->is_over || effect->type == STN_SECAGG_CLIENT_OVER;
    }
    if (has_masked) {
        struct stn_digest digest = stn_digest_of(device->y, sizeof device->y);
        client_step(run, device, (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MASKED, .masked = {.digest = digest}});
    }
}

static void enter(struct run *run, struct device *device, const struct stn_msg_round_config *config)
{
    static const struct stn_secagg_client_record nothing;
    struct stn_secagg_client_config of = {.identity = device->ident, .n_min_floor = N_MIN};
    struct stn_secagg_client_entropy entropy;
    struct stn_terms terms;
    struct stn_digest cfg;
    memcpy(of.coordinator, run->coordinator_ident.pub, sizeof of.coordinator);
    memcpy(of.directory, run->directory.pub, sizeof of.directory);
    memcpy(of.certificate.device, device->ident.pub, sizeof of.certificate.device);
    stn_ident_cert_sign(&of.certificate, &run->directory);
    stn_secagg_client_free(device->client);
    device->says = (struct stn_msg){.type = STN_MSG_NONE};
    must(stn_secagg_client_new(&device->client, &of, NULL) == STN_OK);
    must(stn_signed_cfg(config, &cfg, NULL) == STN_OK && stn_terms_of(config, &cfg, &terms, NULL) == STN_OK);
    draw(run, &entropy, sizeof entropy);
    draw(run, device->x, sizeof device->x);
    device->round = config->round;
    device->is_over = device->has_lied = device->is_acknowledged = device->counts = false;
    client_step(run, device, (struct stn_secagg_client_event){
                                 .type = STN_SECAGG_CLIENT_START,
                                 .start = {.terms = &terms, .entropy = &entropy, .record = &nothing}});
}

static void hear(struct run *run, struct device *device, const struct stn_msg *msg)
{
    if (msg->type == STN_MSG_LEASE) {
        device->lease = msg->lease;
    } else if (msg->type == STN_MSG_ROUND_CONFIG) {
        enter(run, device, &msg->round_config);
    } else if (msg->type == STN_MSG_OK && device->client != NULL) {
        device->has_said = true;
        device->is_acknowledged = device->is_acknowledged || device->says.type == STN_MSG_PUT_END;
    } else if (msg->type == STN_MSG_REFUSED || msg->type == STN_MSG_VOIDED || msg->type == STN_MSG_RESULT) {
        end_round(device);
    } else if (device->client != NULL) {
        client_step(run, device, (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MESSAGE, .msg = msg});
    }
}

/* ---- the coordinator's shell ---- */

static void answer(struct run *run, stn_ticket ticket, const struct stn_msg *msg)
{
    void *to = stn_map_remove(&run->tickets, &ticket, sizeof ticket);
    must(to != NULL);
    if (to != run) {
        hear(run, to, msg);
    }
}

static void check_sum(struct run *run, const struct stn_server_effect *effect)
{
    uint32_t sum[VALUES] = {0}, n = 0;
    for (int i = 0; i < N; i++) {
        const struct device *device = &run->devices[i];
        bool is_in = memcmp(&device->round, &effect->merge.round, sizeof device->round) == 0;
        must(!is_in || device->counts || !device->is_acknowledged || run->is_broken);
        for (int k = 0; k < VALUES && is_in && device->counts; k++) {
            sum[k] += device->x[k];
        }
        n += is_in && device->counts;
    }
    must(run->is_broken || (n == effect->merge.n_included && memcmp(sum, run->sum, sizeof sum) == 0));
    must(effect->merge.n_included >= N_MIN);
}

static void unmask(struct run *run, const struct stn_server_effect *effect)
{
    for (int i = 0; i < N && effect->unmask.is_first; i++) {
        const struct device *device = &run->devices[i];
        bool is_in = memcmp(&device->round, &effect->unmask.round, sizeof device->round) == 0;
        for (int k = 0; k < VALUES; k++) {
            run->sum[k] = (i == 0 ? 0 : run->sum[k]) + (is_in && device->counts ? device->y[k] : 0);
        }
    }
    stn_mask_apply(run->sum, VALUES, 0, effect->unmask.masks, effect->unmask.n);
    run->unmasking = effect->unmask.round;
    run->is_unmasking = true;
}

static void save(struct run *run, const struct stn_record *record)
{
    must(stn_disk_save(&run->disk, record));
    if (record->type == STN_RECORD_QUARANTINE) {
        int n_liars = 0;
        for (int i = 0; i < N; i++) {
            n_liars += run->devices[i].has_lied;
        }
        must(run->is_broken || n_liars > 1 || device_of(run, &record->quarantine.device)->has_lied);
    }
}

static void carry_out(struct run *run, const struct stn_server_effect *effect)
{
    struct stn_msg msg = {.type = STN_MSG_MISSING};
    switch (effect->type) {
    case STN_SERVER_SAVE:
        save(run, &effect->record);
        break;
    case STN_SERVER_FORGET:
        stn_disk_forget(&run->disk, &effect->record);
        break;
    case STN_SERVER_REPLY:
        answer(run, effect->ticket, &effect->msg);
        break;
    case STN_SERVER_TELL:
        stn_coordinator_tell(run->coordinator, &effect->tell, &msg);
        must(msg.type != STN_MSG_WAIT);
        answer(run, effect->ticket, &msg);
        break;
    case STN_SERVER_SPOOL:
        answer(run, effect->ticket, &msg);
        break;
    case STN_SERVER_WAKE:
        run->wake_ms = effect->at_ms;
        break;
    case STN_SERVER_CHECK:
        device_of(run, &effect->upload.device)->is_checking = true;
        break;
    case STN_SERVER_ADD:
        device_of(run, &effect->upload.device)->counts = true;
        break;
    case STN_SERVER_UNMASK:
        unmask(run, effect);
        break;
    case STN_SERVER_MERGE:
        check_sum(run, effect);
        run->merging = effect->merge.round;
        run->is_merging = true;
        break;
    case STN_SERVER_ANSWER:
        must(effect->code == STN_OK);
        break;
    case STN_SERVER_DROP:
    case STN_SERVER_CLOSE:
    case STN_SERVER_TRACE:
        break;
    }
}

static void tell(struct run *run, struct stn_server_event event)
{
    event.now_ms = run->now_ms;
    run->effects.n = 0;
    stn_coordinator_step(run->coordinator, &event, &run->effects);
    for (size_t i = 0; i < run->effects.n; i++) {
        carry_out(run, &run->effects.items[i]);
    }
}

static void start_server(struct run *run)
{
    struct stn_coordinator_config config = {.seed = 1, .identity = run->coordinator_ident, .cfg = stn_signed_cfg};
    memcpy(config.directory, run->directory.pub, sizeof config.directory);
    stn_coordinator_free(run->coordinator);
    stn_map_fini(&run->tickets);
    run->tickets = (struct stn_map){0};
    run->is_unmasking = run->is_merging = false;
    for (int i = 0; i < N; i++) {
        run->devices[i].is_checking = run->devices[i].counts = false;
    }
    must(stn_coordinator_new(&run->coordinator, &config, NULL) == STN_OK);
    for (size_t i = run->disk.records.n; i-- > 0;) {
        const struct stn_record *record = run->disk.records.entries[i].value;
        struct stn_server_event event = {.type = STN_SERVER_RESTORE, .record = *record};
        stn_coordinator_step(run->coordinator, &event, &run->effects);
    }
    tell(run, (struct stn_server_event){.type = STN_SERVER_START});
}

/* ---- what happens ---- */

/* to: who hears the answer; NULL: nobody. */
static void ask(struct run *run, const struct stn_id *by, struct device *to, const struct stn_msg *msg)
{
    struct stn_server_event event = {.type = STN_SERVER_REQUEST,
                                     .ticket = ++run->n_tickets,
                                     .request = {.device = *by, .msg = msg}};
    must(stn_map_set(&run->tickets, &event.ticket, sizeof event.ticket, to == NULL ? (void *)run : (void *)to));
    tell(run, event);
}

static void put_begin(struct run *run, struct device *device)
{
    struct stn_msg msg = {.type = STN_MSG_PUT_BEGIN, .put_begin = {.round = device->round, .size = 3 * 100}};
    ask(run, &device->id, NULL, &msg);
}

/* The next thing that the device would do. */
static void play(struct run *run, struct device *device)
{
    struct stn_msg msg = {.type = STN_MSG_CHECK_IN, .check_in = {.n_min_floor = N_MIN, .secure_only = true, .n_consents = 1}};
    if (device->is_over) {
        end_round(device);
        device->is_over = false;
    }
    if (device->lease.lease == 0) {
        msg.check_in.consents[0] = (struct stn_consent){.task = "t", .n_examples = 5};
        ask(run, &device->id, device, &msg);
    } else if (device->client == NULL) {
        msg = (struct stn_msg){.type = STN_MSG_JOIN,
                               .join = {.task = "t", .lease = device->lease.lease, .version = device->lease.version, .n_samples = 5}};
        ask(run, &device->id, device, &msg);
    } else if (device->has_said) {
        msg = (struct stn_msg){.type = STN_MSG_POLL,
                               .poll = {.round = device->round, .stage = stn_secagg_client_stage(device->client)}};
        ask(run, &device->id, device, &msg);
    } else {
        if (device->says.type == STN_MSG_PUT_END) {
            put_begin(run, device);
        }
        if (device->client != NULL) {
            msg = device->says;
            ask(run, &device->id, device, &msg);
        }
    }
}

/* Its last word with a bit changed, or another's; nobody hears the answer. */
static void lie(struct run *run, struct device *device, uint8_t how)
{
    struct stn_opened opened[N];
    struct device *other = &run->devices[how % N];
    struct stn_msg msg = how % 16 < 8 || other->client == NULL ? device->says : other->says;
    if (device->client == NULL || msg.type == STN_MSG_NONE) {
        return;
    }
    if (msg.type == STN_MSG_UNMASK && msg.unmask.n_opened > 0) { /* what it shows is not signed */
        memcpy(opened, msg.unmask.opened, msg.unmask.n_opened * sizeof *opened);
        for (uint32_t i = 0; i < msg.unmask.n_opened; i++) {
            bool is_false = how % 4 == 3 || i == how % msg.unmask.n_opened; /* all of them, or one */
            opened[i].key[how % 7] ^= (uint8_t)(is_false ? 1 + how % 9 : 0);
        }
        msg.unmask.opened = opened;
        device->has_lied = true;
    } else if (how % 2 == 0) {
        ((uint8_t *)&msg.advertise)[(how * 31u) % sizeof(struct stn_msg_ack)] ^= (uint8_t)(1u << how % 8);
    }
    if (msg.type != STN_MSG_SHARE || how % 2 != 0) { /* a changed bit may be of a pointer */
        ask(run, &device->id, NULL, &msg);
    }
}

static void check(struct run *run, struct device *device, bool is_whole)
{
    struct stn_server_event event = {.type = STN_SERVER_UPLOAD_CHECKED};
    event.checked.round = device->round;
    event.checked.device = device->id;
    event.checked.code = is_whole ? STN_OK : STN_CORRUPT;
    if (device->is_checking) {
        device->is_checking = false;
        tell(run, event);
    }
}

static void finish(struct run *run, bool fails)
{
    if (run->is_unmasking) {
        run->is_unmasking = false;
        tell(run, (struct stn_server_event){.type = STN_SERVER_UNMASKED, .unmasked = run->unmasking});
    } else if (run->is_merging) {
        struct stn_server_event event = {.type = STN_SERVER_MERGED};
        event.merged.round = run->merging;
        event.merged.code = fails ? STN_CORRUPT : STN_OK;
        event.merged.adapter = (struct stn_blob_ref){.digest = {.bytes = {'m'}}, .size = 1};
        run->is_merging = false;
        tell(run, event);
    }
}

/* A bit of a record of the round, and the process starts. */
static void break_disk(struct run *run, uint8_t at)
{
    for (size_t i = 0; i < run->disk.records.n; i++) {
        struct stn_record *record = run->disk.records.entries[(i + at) % run->disk.records.n].value;
        if (record->type == STN_RECORD_SECAGG) {
            ((uint8_t *)(record + 1))[at * 7u % record->secagg.of.size] ^= (uint8_t)(1u << at % 8);
            run->is_broken = true;
            break;
        }
    }
    start_server(run);
}

static void happen(struct run *run, struct device *device, uint8_t who, uint8_t what)
{
    struct stn_msg leave = {.type = STN_MSG_LEAVE, .leave = {.round = device->round}};
    if (what < 144) {
        play(run, device);
    } else if (what < 168) {
        check(run, device, what != 144);
    } else if (what < 192) {
        finish(run, what == 168);
    } else if (what < 208) {
        lie(run, device, what);
    } else if (what < 216) {
        run->now_ms = run->wake_ms == UINT64_MAX ? run->now_ms + 1 : run->wake_ms;
        tell(run, (struct stn_server_event){.type = STN_SERVER_TIME});
    } else if (what < 224) {
        start_server(run);
    } else if (what < 232) {
        ask(run, &device->id, NULL, &leave);
        end_round(device);
    } else if (what < 240) { /* a new process of the device knows nothing of the round */
        end_round(device);
    } else if (what >= 252) {
        break_disk(run, who);
    } else {
        stn_ticket ticket = run->n_tickets - what % 8u;
        (void)stn_map_remove(&run->tickets, &ticket, sizeof ticket);
        tell(run, (struct stn_server_event){.type = STN_SERVER_TICKET_LOST, .ticket = ticket});
    }
}

static void create_task(struct run *run)
{
    struct stn_server_event event = {.type = STN_SERVER_TASK_CREATE};
    event.create.adapter = (struct stn_blob_ref){.digest = {.bytes = {'a'}}, .size = 1};
    event.create.spec = (struct stn_task_spec){
        .name = "t", .base = {.digest = {.bytes = {'b'}}, .size = 1000}, .n_values = 100, .n_values_b = 50, .target = N,
        .n_min = N_MIN, .over_select = 1, .join_window_ms = 1000, .report_deadline_ms = 50000, .upload_ms = 2000, .secure = true,
        .gamma = 0.1, .delta = 0.1, .sigma = 64, .eta = 30, .share_ms = 1000, .ack_ms = 1000, .unmask_ms = 1000,
        .outer = {.rate = 1}, .clip_norm = 1, .weight_max = 8, .bits = 24,
        .train = {.rank = 8, .alpha = 16, .targets = 1, .local_steps = 5, .batch_tokens = 256, .ctx = 64, .lr = 1e-3}};
    tell(run, event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run = stn_mem_new(1, sizeof *run);
    must(run != NULL);
    run->in = stn_buf_cursor(data, size);
    run->now_ms = 1000000;
    stn_rng_init(&run->rng, 1);
    stn_ident_from_seed(&run->coordinator_ident, (const uint8_t[32]){1});
    stn_ident_from_seed(&run->directory, (const uint8_t[32]){2});
    for (uint8_t i = 0; i < N; i++) {
        stn_ident_from_seed(&run->devices[i].ident, (const uint8_t[32]){3, i});
        memcpy(&run->devices[i].id, run->devices[i].ident.pub, sizeof run->devices[i].id);
    }
    start_server(run);
    create_task(run);
    for (int i = 0; i < EVENTS_MOST && run->in.at + 1 < run->in.size; i++) {
        uint8_t who = stn_buf_take_u8(&run->in), what = stn_buf_take_u8(&run->in);
        run->now_ms += who / 64;
        happen(run, &run->devices[who % N], who, what);
    }
    for (int i = 0; i < N; i++) {
        stn_secagg_client_free(run->devices[i].client);
    }
    stn_coordinator_free(run->coordinator);
    stn_map_fini(&run->tickets);
    stn_disk_fini(&run->disk);
    stn_mem_free(run->effects.items);
    stn_mem_free(run);
    return 0;
}
