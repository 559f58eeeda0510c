#include "client/core/policy.h"

#include <math.h>
#include <string.h>

static bool is_zero(const uint8_t *p, size_t size)
{
    uint8_t all = 0;
    for (size_t i = 0; i < size; i++) {
        all |= p[i];
    }
    return all == 0;
}

static bool is_same(const struct stn_digest *a, const struct stn_digest *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static bool is_blob(const struct stn_blob_ref *blob)
{
    return blob->size > 0 && blob->size <= (uint64_t)STN_MSG_LEAVES * STN_MSG_CHUNK &&
           !is_zero(blob->digest.bytes, sizeof blob->digest.bytes);
}

static bool is_name(const char name[static STN_MSG_NAME])
{
    return memchr(name, 0, STN_MSG_NAME) != NULL && stn_msg_is_task_name(name);
}

struct stn_consent *stn_policy_consent(struct stn_consent *consents, uint32_t n, const char *task)
{
    for (uint32_t i = 0; i < n; i++) {
        if (consents[i].n_examples > 0 && strcmp(consents[i].task, task) == 0) {
            return &consents[i];
        }
    }
    return NULL;
}

static bool can_train(const struct stn_train_spec *train)
{
    bool has_numbers = isfinite(train->alpha) && isfinite(train->lr) && isfinite(train->warmup) &&
                       isfinite(train->clip) && isfinite(train->weight_decay) &&
                       isfinite(train->fedprox);
    return has_numbers && train->rank > 0 && train->ctx > 0 && train->batch_tokens > 0 &&
           (train->local_steps > 0 || train->local_epochs > 0) &&
           train->schedule <= STN_TRAIN_COSINE && train->factor <= STN_FACTOR_B &&
           train->n_halvings <= STN_MSG_HALVINGS && train->rank >> train->n_halvings > 0;
}

enum stn_code stn_policy_lease(const struct stn_msg_lease *lease, struct stn_consent *consents,
                               uint32_t n, uint32_t n_min_floor, bool allows_plain)
{
    if (!is_name(lease->task) || !is_blob(&lease->base) || !is_blob(&lease->adapter) ||
        !can_train(&lease->train) || lease->expires_after_ms == 0 || lease->n_min == 0) {
        return STN_INVALID;
    }
    if (stn_policy_consent(consents, n, lease->task) == NULL) {
        return STN_DENIED;
    }
    if (lease->n_min < n_min_floor) {
        return STN_LIMIT;
    }
    return lease->secure || allows_plain ? STN_OK : STN_DENIED;
}

/* Whether the sum of n_max encoded deltas fits b bits at all, and each number is one. */
static bool can_encode(const struct stn_msg_round_config *config)
{
    bool is_width = config->bits == 16 || config->bits == 24 || config->bits == 32;
    return is_width && config->n_max < (1ull << (config->bits - 1)) && config->n_values > 0 &&
           config->n_values <= STN_MSG_VALUES && config->clip_norm > 0 &&
           isfinite(config->clip_norm) && config->weight_max > 0;
}

/* Whether the lease's delta may go into the round: its version is one of those listed, which begin
 * with the round's own. */
static bool has_base(const struct stn_msg_round_config *config, const struct stn_msg_lease *lease)
{
    bool is_there = false;
    for (uint32_t i = 0; i < config->n_bases && i < STN_MSG_BASES; i++) {
        const struct stn_base *base = &config->bases[i];
        bool is_own = i == 0 ? base->version == config->version && is_same(&base->adapter, &config->adapter)
                             : base->version < config->bases[i - 1].version;
        if (!is_own || !(base->discount > 0 && base->discount <= 1)) {
            return false;
        }
        is_there = is_there || (base->version == lease->version &&
                                is_same(&base->adapter, &lease->adapter.digest));
    }
    return is_there;
}

enum stn_code stn_policy_config(const struct stn_msg_round_config *config,
                                const struct stn_digest *digest, const struct stn_msg_lease *lease,
                                uint32_t n_min_floor, bool allows_plain)
{
    if (is_zero(digest->bytes, sizeof digest->bytes) || (!config->secure && !allows_plain)) {
        return STN_DENIED;
    }
    if (config->protocol != STN_MSG_VERSION) {
        return STN_UNSUPPORTED;
    }
    if (is_zero(config->round.bytes, sizeof config->round.bytes) || !is_name(config->task) ||
        strcmp(config->task, lease->task) != 0 || !is_same(&config->model, &lease->base.digest)) {
        return STN_INVALID;
    }
    if (!has_base(config, lease) || config->n_halvings != lease->train.n_halvings ||
        config->factor != lease->train.factor || config->secure != lease->secure ||
        config->join_ms == 0 || config->upload_ms == 0 || !can_encode(config)) {
        return STN_INVALID;
    }
    if (config->n_min < n_min_floor || config->n_min < lease->n_min ||
        config->n_max < config->n_min) {
        return STN_LIMIT;
    }
    return STN_OK;
}

enum stn_code stn_policy_roster(const struct stn_msg_roster *roster,
                                const struct stn_msg_round_config *config, uint32_t n_min_floor)
{
    if (memcmp(&roster->round, &config->round, sizeof roster->round) != 0) {
        return STN_INVALID;
    }
    bool is_size = roster->n_members >= config->n_min && roster->n_members >= n_min_floor &&
                   roster->n_members <= config->n_max;
    if (roster->tier > config->n_halvings) {
        return STN_INVALID;
    }
    return is_size ? STN_OK : STN_LIMIT;
}

enum stn_code stn_policy_result(const struct stn_msg_result *result,
                                const struct stn_msg_round_config *config)
{
    bool is_ours = memcmp(&result->round, &config->round, sizeof result->round) == 0 &&
                   is_name(result->task) && strcmp(result->task, config->task) == 0;
    return is_ours && result->version > config->version && is_blob(&result->adapter) ? STN_OK
                                                                                     : STN_INVALID;
}

enum stn_code stn_policy_release(const struct stn_release *release, struct stn_consent *consents,
                                 uint32_t n)
{
    if (!is_name(release->task) || !is_blob(&release->adapter) || release->version == 0) {
        return STN_INVALID;
    }
    return stn_policy_consent(consents, n, release->task) == NULL ? STN_DENIED : STN_OK;
}
