#include "proto/codec_table.h"

#include "proto/hello.h"
#include "proto/sterna.pb-c.h"

#define NUMBER_ROW(kind_, n, s, m, min_, max_)                                                     \
    {                                                                                              \
        .number = (n), .kind = (kind_), .at = offsetof(struct s, m), .min = (min_), .max = (max_)  \
    }
#define BOOL(n, s, m) NUMBER_ROW(STN_CODEC_BOOL, n, s, m, 0, 1)
#define U32(n, s, m, min_, max_) NUMBER_ROW(STN_CODEC_U32, n, s, m, min_, max_)
#define U64(n, s, m, max_) NUMBER_ROW(STN_CODEC_U64, n, s, m, 0, max_)
#define F32(n, s, m) NUMBER_ROW(STN_CODEC_F32, n, s, m, 0, 0)
#define F64(n, s, m) NUMBER_ROW(STN_CODEC_F64, n, s, m, 0, 0)
#define NAME(n, s, m) NUMBER_ROW(STN_CODEC_NAME, n, s, m, 0, 0)
#define SIZE_OF(s, m) sizeof(((struct s *)0)->m)
#define FIXED(n, s, m)                                                                             \
    {                                                                                              \
        .number = (n), .kind = STN_CODEC_FIXED, .at = offsetof(struct s, m),                       \
        .size = SIZE_OF(s, m), .has_at = STN_CODEC_NOWHERE                                         \
    }
#define FIXED_IF(n, s, m, has)                                                                     \
    {                                                                                              \
        .number = (n), .kind = STN_CODEC_FIXED, .at = offsetof(struct s, m),                       \
        .size = SIZE_OF(s, m), .has_at = offsetof(struct s, has)                                   \
    }
#define DATA(n, s, m, count, max_)                                                                 \
    {                                                                                              \
        .number = (n), .kind = STN_CODEC_DATA, .at = offsetof(struct s, m),                        \
        .size = sizeof *((struct s *)0)->m, .n_at = offsetof(struct s, count), .max = (max_)       \
    }
#define LIST(n, s, m, count, max_)                                                                 \
    {                                                                                              \
        .number = (n), .kind = STN_CODEC_LIST, .at = offsetof(struct s, m),                        \
        .n_at = offsetof(struct s, count), .max = (max_)                                           \
    }
#define ONE(n, s, m, shape_)                                                                       \
    {                                                                                              \
        .number = (n), .kind = STN_CODEC_ONE, .at = offsetof(struct s, m), .size = SIZE_OF(s, m),  \
        .has_at = STN_CODEC_NOWHERE, .shape = &(shape_)                                            \
    }
#define ONE_IF(n, s, m, has, shape_)                                                               \
    {                                                                                              \
        .number = (n), .kind = STN_CODEC_ONE, .at = offsetof(struct s, m), .size = SIZE_OF(s, m),  \
        .has_at = offsetof(struct s, has), .shape = &(shape_)                                      \
    }
#define MANY(n, s, m, count, shape_)                                                               \
    {                                                                                              \
        .number = (n), .kind = STN_CODEC_MANY, .at = offsetof(struct s, m),                        \
        .size = sizeof *((struct s *)0)->m, .n_at = offsetof(struct s, count),                     \
        .max = sizeof(((struct s *)0)->m) / sizeof *((struct s *)0)->m, .shape = &(shape_)         \
    }
#define ROUND(s) FIXED(1, s, round)
#define SHAPE(name, descriptor_, check_)                                                           \
    static const struct stn_codec_shape name = {                                                   \
        .descriptor = &sterna__v1__##descriptor_##__descriptor,                                    \
        .rows = name##_rows,                                                                       \
        .n_rows = sizeof name##_rows / sizeof *name##_rows,                                        \
        .check = (check_)}

#define CODE_MAX (STN_N_CODES - 1)
#define SHORT_MAX                                                                                  \
    UINT16_MAX /* of a count that no honest message has more of: ranks, steps, epochs */
#define BLOB_MAX ((uint64_t)STN_MSG_LEAVES * STN_MSG_CHUNK)
#define TIME_MAX ((uint64_t)366 * 24 * 3600 * 1000) /* a year, in ms: no wait of ours is longer */

static const struct stn_codec_row train_rows[] = {
    U32(1, stn_train_spec, rank, 0, SHORT_MAX),
    F32(2, stn_train_spec, alpha),
    U32(3, stn_train_spec, targets, 0, UINT32_MAX),
    U32(4, stn_train_spec, local_steps, 0, UINT32_MAX),
    U32(5, stn_train_spec, local_epochs, 0, SHORT_MAX),
    U32(6, stn_train_spec, batch_examples, 0, UINT32_MAX),
    U32(7, stn_train_spec, batch_tokens, 0, UINT32_MAX),
    U32(8, stn_train_spec, ctx, 0, UINT32_MAX),
    F64(9, stn_train_spec, lr),
    U32(10, stn_train_spec, schedule, 0, STN_TRAIN_COSINE),
    F64(11, stn_train_spec, warmup),
    F64(12, stn_train_spec, clip),
    F64(13, stn_train_spec, weight_decay),
    F64(14, stn_train_spec, fedprox),
    BOOL(15, stn_train_spec, loss_all),
    U32(16, stn_train_spec, factor, 0, STN_FACTOR_B),
    U32(17, stn_train_spec, n_halvings, 0, STN_MSG_HALVINGS),
};
SHAPE(train, train_spec, NULL);

static const struct stn_codec_row blob_rows[] = {
    FIXED(1, stn_blob_ref, digest),
    U64(2, stn_blob_ref, size, BLOB_MAX),
};
SHAPE(blob, blob_ref, NULL);

static const struct stn_codec_row holdout_rows[] = {
    FIXED(1, stn_holdout, adapter),   U32(2, stn_holdout, n_targets, 0, UINT32_MAX),
    F64(3, stn_holdout, loss_before), F64(4, stn_holdout, loss_after),
    BOOL(5, stn_holdout, kept_old),
};
SHAPE(holdout, holdout, NULL);

static const struct stn_codec_row consent_rows[] = {
    NAME(1, stn_consent, task),
    U64(2, stn_consent, n_examples, UINT64_MAX),
    ONE_IF(3, stn_consent, holdout, has_holdout, holdout),
    U64(4, stn_consent, version, UINT64_MAX),
    U64(5, stn_consent, spent, UINT64_MAX),
};
SHAPE(consent, consent, NULL);

static const struct stn_codec_row check_in_rows[] = {
    U32(1, stn_msg_check_in, n_min_floor, 0, UINT32_MAX),
    MANY(2, stn_msg_check_in, consents, n_consents, consent),
    BOOL(3, stn_msg_check_in, secure_only),
};
SHAPE(check_in, check_in, NULL);

static const struct stn_codec_row get_leaves_rows[] = {FIXED(1, stn_msg_get_leaves, digest)};
SHAPE(get_leaves, get_leaves, NULL);

static const struct stn_codec_row get_chunk_rows[] = {
    FIXED(1, stn_msg_get_chunk, digest),
    U32(2, stn_msg_get_chunk, index, 0, STN_MSG_LEAVES - 1),
    U32(3, stn_msg_get_chunk, n, 1, STN_MSG_CHUNKS),
};
SHAPE(get_chunk, get_chunk, NULL);

static const struct stn_codec_row join_rows[] = {
    NAME(1, stn_msg_join, task),
    U64(2, stn_msg_join, lease, UINT64_MAX),
    U64(3, stn_msg_join, version, UINT64_MAX),
    U64(4, stn_msg_join, n_samples, UINT64_MAX),
    U32(5, stn_msg_join, tier, 0, STN_MSG_HALVINGS),
};
SHAPE(join, join, NULL);

static const struct stn_codec_row advertise_rows[] = {
    ROUND(stn_msg_advertise),
    FIXED(2, stn_msg_advertise, config),
    FIXED(3, stn_msg_advertise, signature),
    FIXED_IF(4, stn_msg_advertise, advert, has_advert),
};
SHAPE(advertise, advertise, NULL);

static const struct stn_codec_row poll_rows[] = {
    ROUND(stn_msg_poll),
    U32(2, stn_msg_poll, stage, STN_STAGE_ADVERTISE, STN_STAGE_DONE),
};
SHAPE(poll, poll, NULL);

static const struct stn_codec_row put_begin_rows[] = {
    ROUND(stn_msg_put_begin),
    U64(2, stn_msg_put_begin, size, BLOB_MAX),
};
SHAPE(put_begin, put_begin, NULL);

static const struct stn_codec_row put_chunk_rows[] = {
    ROUND(stn_msg_put_chunk),
    U32(2, stn_msg_put_chunk, index, 0, STN_MSG_LEAVES - 1),
    DATA(3, stn_msg_put_chunk, data, size, STN_MSG_CHUNKS * STN_MSG_CHUNK),
};
SHAPE(put_chunk, put_chunk, NULL);

static const struct stn_codec_row put_end_rows[] = {
    ROUND(stn_msg_put_end),
    FIXED(2, stn_msg_put_end, digest),
    FIXED(3, stn_msg_put_end, signature),
};
SHAPE(put_end, put_end, NULL);

static const struct stn_codec_row leave_rows[] = {ROUND(stn_msg_leave)};
SHAPE(leave, leave, NULL);

static const struct stn_codec_row share_rows[] = {
    ROUND(stn_msg_share),
    FIXED(2, stn_msg_share, commitment),
    DATA(3, stn_msg_share, sealed, n_sealed, STN_MSG_NEIGHBOURS),
    FIXED(4, stn_msg_share, signature),
};
SHAPE(share, share, NULL);

static const struct stn_codec_row ack_rows[] = {
    ROUND(stn_msg_ack),
    FIXED(2, stn_msg_ack, survivors),
    FIXED(3, stn_msg_ack, signature),
};
SHAPE(ack, ack, NULL);

/* One thing for each slot, and slots that rise. */
static enum stn_code check_slots(const uint32_t *slots, uint32_t n_slots, uint32_t n_things,
                                 struct stn_err *err)
{
    if (n_slots != n_things) {
        return stn_err_set(err, STN_INVALID, "%u slots and %u of what is in them", n_slots,
                           n_things);
    }
    for (uint32_t i = 0; i < n_slots; i++) {
        if (slots[i] >= STN_MSG_NEIGHBOURS || (i > 0 && slots[i] <= slots[i - 1])) {
            return stn_err_set(err, STN_INVALID, "slot %u of a neighbour does not rise", slots[i]);
        }
    }
    return STN_OK;
}

static enum stn_code check_unmask(const void *message, struct stn_err *err)
{
    const struct stn_msg_unmask *unmask = message;
    return check_slots(unmask->slots, unmask->n_slots, unmask->n_opened, err);
}
static const struct stn_codec_row unmask_rows[] = {
    ROUND(stn_msg_unmask),
    FIXED(2, stn_msg_unmask, survivors),
    LIST(3, stn_msg_unmask, slots, n_slots, STN_MSG_NEIGHBOURS),
    DATA(4, stn_msg_unmask, opened, n_opened, STN_MSG_NEIGHBOURS),
};
SHAPE(unmask, unmask, check_unmask);

static const struct stn_codec_row refused_rows[] = {
    U32(1, stn_msg_refused, code, STN_INVALID, CODE_MAX),
    U64(2, stn_msg_refused, retry_after_ms, TIME_MAX),
};
SHAPE(refused, refused, NULL);

static const struct stn_codec_row release_rows[] = {
    NAME(1, stn_release, task),
    U64(2, stn_release, version, UINT64_MAX),
    ONE(3, stn_release, adapter, blob),
};
SHAPE(release, release, NULL);

static const struct stn_codec_row come_back_rows[] = {
    U64(1, stn_msg_come_back, after_ms, TIME_MAX),
    ONE_IF(2, stn_msg_come_back, release, has_release, release),
};
SHAPE(come_back, come_back, NULL);

static const struct stn_codec_row lease_rows[] = {
    U64(1, stn_msg_lease, lease, UINT64_MAX),    NAME(2, stn_msg_lease, task),
    U64(3, stn_msg_lease, version, UINT64_MAX),  ONE(4, stn_msg_lease, base, blob),
    ONE(5, stn_msg_lease, adapter, blob),        ONE(6, stn_msg_lease, train, train),
    U32(7, stn_msg_lease, n_min, 0, UINT32_MAX), BOOL(8, stn_msg_lease, secure),
    U64(9, stn_msg_lease, seed, UINT64_MAX),     U64(10, stn_msg_lease, expires_after_ms, TIME_MAX),
};
SHAPE(lease, lease, NULL);

static const struct stn_codec_row leaves_rows[] = {
    FIXED(1, stn_msg_leaves, digest),
    U64(2, stn_msg_leaves, size, BLOB_MAX),
    DATA(3, stn_msg_leaves, leaves, n_leaves, STN_MSG_LEAVES),
};
SHAPE(leaves, leaves, NULL);

static const struct stn_codec_row chunk_rows[] = {
    FIXED(1, stn_msg_chunk, digest),
    U32(2, stn_msg_chunk, index, 0, STN_MSG_LEAVES - 1),
    DATA(3, stn_msg_chunk, data, size, STN_MSG_CHUNKS * STN_MSG_CHUNK),
};
SHAPE(chunk, chunk, NULL);

static const struct stn_codec_row base_rows[] = {
    FIXED(1, stn_base, adapter),
    U64(2, stn_base, version, UINT64_MAX),
    F64(3, stn_base, discount),
};
SHAPE(base, base, NULL);

static const struct stn_codec_row round_config_rows[] = {
    ROUND(stn_msg_round_config),
    U32(2, stn_msg_round_config, protocol, 0, UINT16_MAX),
    NAME(3, stn_msg_round_config, task),
    FIXED(4, stn_msg_round_config, task_digest),
    FIXED(5, stn_msg_round_config, model),
    FIXED(6, stn_msg_round_config, adapter),
    U64(7, stn_msg_round_config, version, UINT64_MAX),
    U32(8, stn_msg_round_config, factor, 0, STN_FACTOR_B),
    U64(9, stn_msg_round_config, n_values, STN_MSG_VALUES),
    U32(10, stn_msg_round_config, bits, 0, 32),
    U32(11, stn_msg_round_config, n_max, 0, UINT32_MAX),
    U32(12, stn_msg_round_config, n_min, 0, UINT32_MAX),
    F64(13, stn_msg_round_config, clip_norm),
    U32(14, stn_msg_round_config, weight_max, 0, UINT32_MAX),
    FIXED(15, stn_msg_round_config, signature),
    FIXED(16, stn_msg_round_config, seed),
    BOOL(17, stn_msg_round_config, secure),
    U64(18, stn_msg_round_config, join_ms, TIME_MAX),
    U64(19, stn_msg_round_config, upload_ms, TIME_MAX),
    F64(20, stn_msg_round_config, gamma),
    F64(21, stn_msg_round_config, delta),
    U32(22, stn_msg_round_config, sigma, 0, UINT16_MAX),
    U32(23, stn_msg_round_config, eta, 0, UINT16_MAX),
    U64(24, stn_msg_round_config, share_ms, TIME_MAX),
    U64(25, stn_msg_round_config, ack_ms, TIME_MAX),
    U64(26, stn_msg_round_config, unmask_ms, TIME_MAX),
    U32(27, stn_msg_round_config, n_halvings, 0, STN_MSG_HALVINGS),
    MANY(28, stn_msg_round_config, bases, n_bases, base),
};
SHAPE(round_config, round_config, NULL);

static const struct stn_codec_row roster_rows[] = {
    ROUND(stn_msg_roster),
    U32(2, stn_msg_roster, n_members, 0, UINT32_MAX),
    FIXED(3, stn_msg_roster, root),
    FIXED(4, stn_msg_roster, signature),
    U32(5, stn_msg_roster, index, 0, UINT32_MAX),
    DATA(6, stn_msg_roster, adverts, n_adverts, STN_MSG_NEIGHBOURS),
    DATA(7, stn_msg_roster, proof, n_proof, STN_MSG_PROOF),
    U32(8, stn_msg_roster, tier, 0, STN_MSG_HALVINGS),
};
SHAPE(roster, roster, NULL);

static enum stn_code check_deliver(const void *message, struct stn_err *err)
{
    const struct stn_msg_deliver *deliver = message;
    return check_slots(deliver->slots, deliver->n_slots, deliver->n_slots, err);
}
static const struct stn_codec_row deliver_rows[] = {
    ROUND(stn_msg_deliver),
    LIST(2, stn_msg_deliver, slots, n_slots, STN_MSG_NEIGHBOURS),
};
SHAPE(deliver, deliver, check_deliver);

static enum stn_code check_survivors(const void *message, struct stn_err *err)
{
    const struct stn_msg_survivors *survivors = message;
    for (uint32_t i = 0; i < survivors->n_members; i++) {
        if (survivors->members[i].survived > 1) {
            return stn_err_set(err, STN_INVALID, "a member that neither survived nor did not");
        }
    }
    return STN_OK;
}
static const struct stn_codec_row survivors_rows[] = {
    ROUND(stn_msg_survivors),
    FIXED(2, stn_msg_survivors, root),
    U32(3, stn_msg_survivors, n_survivors, 0, UINT32_MAX),
    FIXED(4, stn_msg_survivors, signature),
    DATA(5, stn_msg_survivors, members, n_members, STN_MSG_NEIGHBOURS + 1),
    DATA(6, stn_msg_survivors, proof, n_proof, STN_MSG_PROOF),
};
SHAPE(survivors, survivors, check_survivors);

static enum stn_code check_acks(const void *message, struct stn_err *err)
{
    const struct stn_msg_acks *acks = message;
    return check_slots(acks->slots, acks->n_slots, acks->n_signatures, err);
}
static const struct stn_codec_row acks_rows[] = {
    ROUND(stn_msg_acks),
    LIST(2, stn_msg_acks, slots, n_slots, STN_MSG_NEIGHBOURS),
    DATA(3, stn_msg_acks, signatures, n_signatures, STN_MSG_NEIGHBOURS),
};
SHAPE(acks, acks, check_acks);

static enum stn_code check_missing(const void *message, struct stn_err *err)
{
    const struct stn_msg_missing *missing = message;
    for (uint32_t i = 0; i < missing->n_missing; i++) {
        uint32_t number = missing->missing[i];
        if (number >= missing->n_chunks || (i > 0 && number <= missing->missing[i - 1])) {
            return stn_err_set(err, STN_INVALID, "missing chunk %u of %u does not rise", number,
                               missing->n_chunks);
        }
    }
    return STN_OK;
}
static const struct stn_codec_row missing_rows[] = {
    ROUND(stn_msg_missing),
    U32(2, stn_msg_missing, n_chunks, 0, STN_MSG_LEAVES),
    LIST(3, stn_msg_missing, missing, n_missing, STN_MSG_LEAVES),
};
SHAPE(missing, missing, check_missing);

static const struct stn_codec_row result_rows[] = {
    ROUND(stn_msg_result),
    NAME(2, stn_msg_result, task),
    U64(3, stn_msg_result, version, UINT64_MAX),
    ONE(4, stn_msg_result, adapter, blob),
    U32(5, stn_msg_result, n_included, 0, UINT32_MAX),
    BOOL(6, stn_msg_result, included),
    FIXED(7, stn_msg_result, signature),
};
SHAPE(result, result, NULL);

static const struct stn_codec_row voided_rows[] = {
    ROUND(stn_msg_voided),
    U32(2, stn_msg_voided, code, STN_INVALID, CODE_MAX),
};
SHAPE(voided, voided, NULL);

static const struct stn_codec_shape ok = {.descriptor = &sterna__v1__ok__descriptor};
static const struct stn_codec_shape waiting = {.descriptor = &sterna__v1__wait__descriptor};

static const struct stn_codec_shape *const shapes[] = {
    [STN_MSG_CHECK_IN] = &check_in,
    [STN_MSG_GET_LEAVES] = &get_leaves,
    [STN_MSG_GET_CHUNK] = &get_chunk,
    [STN_MSG_JOIN] = &join,
    [STN_MSG_ADVERTISE] = &advertise,
    [STN_MSG_POLL] = &poll,
    [STN_MSG_PUT_BEGIN] = &put_begin,
    [STN_MSG_PUT_CHUNK] = &put_chunk,
    [STN_MSG_PUT_END] = &put_end,
    [STN_MSG_LEAVE] = &leave,
    [STN_MSG_SHARE] = &share,
    [STN_MSG_ACK] = &ack,
    [STN_MSG_UNMASK] = &unmask,
    [STN_MSG_REFUSED] = &refused,
    [STN_MSG_OK] = &ok,
    [STN_MSG_COME_BACK] = &come_back,
    [STN_MSG_LEASE] = &lease,
    [STN_MSG_LEAVES_ARE] = &leaves,
    [STN_MSG_CHUNK_IS] = &chunk,
    [STN_MSG_ROUND_CONFIG] = &round_config,
    [STN_MSG_ROSTER] = &roster,
    [STN_MSG_MISSING] = &missing,
    [STN_MSG_RESULT] = &result,
    [STN_MSG_VOIDED] = &voided,
    [STN_MSG_WAIT] = &waiting,
    [STN_MSG_DELIVER] = &deliver,
    [STN_MSG_SURVIVORS] = &survivors,
    [STN_MSG_ACKS] = &acks,
};

const struct stn_codec_shape *stn_codec_table_shape(uint32_t type)
{
    return type < sizeof shapes / sizeof *shapes ? shapes[type] : NULL;
}

const ProtobufCMessageDescriptor *stn_codec_table_envelope(void)
{
    return &sterna__v1__envelope__descriptor;
}

static const struct stn_codec_row enrol_rows[] = {
    FIXED(1, stn_hello_enrol, token),
    FIXED(2, stn_hello_enrol, device),
};
SHAPE(enrol, enrol, NULL);

static enum stn_code check_hello(const void *message, struct stn_err *err)
{
    const struct stn_hello *hello = message;
    if (hello->version_min == 0 || hello->version_min > hello->version_max) {
        return stn_err_set(err, STN_INVALID, "versions %u to %u are none", hello->version_min,
                           hello->version_max);
    }
    return STN_OK;
}
static const struct stn_codec_row hello_rows[] = {
    U32(1, stn_hello, version_min, 0, UINT16_MAX),
    U32(2, stn_hello, version_max, 0, UINT16_MAX),
    ONE_IF(3, stn_hello, enrol, has_enrol, enrol),
};
const struct stn_codec_shape stn_codec_table_hello = {
    .descriptor = &sterna__v1__hello__descriptor,
    .rows = hello_rows,
    .n_rows = sizeof hello_rows / sizeof *hello_rows,
    .check = check_hello,
};

static const struct stn_codec_row hello_reply_rows[] = {
    U32(1, stn_hello_reply, version, 1, UINT16_MAX),
    U64(2, stn_hello_reply, session, UINT64_MAX),
    FIXED_IF(3, stn_hello_reply, certificate, has_certificate),
};
const struct stn_codec_shape stn_codec_table_hello_reply = {
    .descriptor = &sterna__v1__hello_reply__descriptor,
    .rows = hello_reply_rows,
    .n_rows = sizeof hello_reply_rows / sizeof *hello_reply_rows,
};
