#include "update/encode.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/mask.h"
#include "crypto/stream.h"
#include "update/block.h"

#define Z 6.0   /* standard deviations of room on each side */
#define ETA 0.2 /* of the clip's adaptation */
#define LOSS_UNIT 256.0
#define LOSS_BITS 43 /* 2^20 members stay below 2^63 */
#define TOKEN_BITS 32
#define WEIGHT_BITS 13
#define N_FIELDS (5 + STN_ENCODE_TIERS)
#define GROUP 8 /* blocks worked on at once, as stn_block_kernel.turn takes them: a row is half a line of a delta */
#define SKEW 8  /* doubles between two blocks of a group: a row must not share its cache sets */
#define STRETCH 1024 /* values of a block for which randomness is drawn at once */

/* The extras in the order in which they travel, low limbs first. */
struct fields {
    uint64_t value[N_FIELDS];
    unsigned bits[N_FIELDS];
    size_t n;
};

enum { COUNT, WEIGHT, CLIPPED, LOSS, TOKENS, TIER };

static struct fields fields_of(const struct stn_encode_config *config)
{
    struct fields fields = {
        .bits = {[COUNT] = 1,
                 [WEIGHT] = WEIGHT_BITS,
                 [CLIPPED] = 1,
                 [LOSS] = LOSS_BITS,
                 [TOKENS] = TOKEN_BITS},
        .n = TIER + config->n_tiers,
    };
    for (size_t i = TIER; i < fields.n; i++) {
        fields.bits[i] = WEIGHT_BITS;
    }
    return fields;
}

static enum stn_code check(const struct stn_encode_config *config, unsigned bits,
                           struct stn_err *err)
{
    if (config->n_values < 1 || config->n_members < 1 || config->n_tiers < 1) {
        return stn_err_set(err, STN_INVALID, "an encoding of %zu values, %u members, %u tiers",
                           config->n_values, config->n_members, config->n_tiers);
    }
    if (config->n_values > STN_ENCODE_VALUES || config->n_members > STN_ENCODE_MEMBERS ||
        config->n_tiers > STN_ENCODE_TIERS) {
        return stn_err_set(err, STN_LIMIT,
                           "an encoding of %zu values, %u members, %u tiers: at most %zu, %u, %d",
                           config->n_values, config->n_members, config->n_tiers, STN_ENCODE_VALUES,
                           STN_ENCODE_MEMBERS, STN_ENCODE_TIERS);
    }
    if (!(config->clip >= STN_ENCODE_CLIP_MIN && config->clip <= STN_ENCODE_CLIP_MAX)) {
        return stn_err_set(err, STN_INVALID, "a clip norm of %g, not %g to %g", config->clip,
                           STN_ENCODE_CLIP_MIN, STN_ENCODE_CLIP_MAX);
    }
    if (bits != 16 && bits != 24 && bits != 32) {
        return stn_err_set(err, STN_INVALID, "integers of %u bits, not 16, 24 or 32", bits);
    }
    uint32_t most = bits == 16 ? 1000 : bits == 24 ? 10000 : STN_ENCODE_MEMBERS;
    if (config->n_members > most) {
        return stn_err_set(err, STN_LIMIT, "%u bits are for %u members, not %u", bits, most,
                           config->n_members);
    }
    return STN_OK;
}

enum stn_code stn_encode_config_for(struct stn_encode_config *config, struct stn_err *err)
{
    unsigned bits = config->bits != 0 ? config->bits : config->n_members <= 10000 ? 24 : 32;
    enum stn_code code = check(config, bits, err);
    if (code != STN_OK) {
        return code;
    }
    config->bits = bits;
    config->bound = (((uint32_t)1 << (bits - 1)) - 1) / config->n_members;
    config->step = Z * config->clip / (sqrt((double)config->n_values) * config->bound);
    config->block = 1;
    while (config->block < config->n_values && config->block < STN_ENCODE_BLOCK) {
        config->block *= 2;
    }
    config->n_blocks = (config->n_values + config->block - 1) / config->block;
    config->limb_bits = 1; /* the most k with n (2^k - 1) < 2^(b-1) */
    while (config->limb_bits < 31 && ((uint32_t)2 << config->limb_bits) - 1 <= config->bound) {
        config->limb_bits++;
    }
    return STN_OK;
}

size_t stn_encode_length(const struct stn_encode_config *config)
{
    struct fields fields = fields_of(config);
    size_t n = config->n_blocks * config->block;
    for (size_t i = 0; i < fields.n; i++) {
        n += (fields.bits[i] + config->limb_bits - 1) / config->limb_bits;
    }
    return n;
}

/* v <- D v, the next block of the signs. */
static void flip(const struct stn_block_kernel *kernel, double *v, size_t m, struct stn_stream *signs)
{
    uint8_t bits[STRETCH / 8];
    for (size_t at = 0; at < m; at += STRETCH) {
        size_t n = m - at < STRETCH ? m - at : STRETCH;
        stn_stream_bytes(signs, bits, (n + 7) / 8);
        kernel->flip(v + at, n, bits);
    }
}

/* The device's own randomness: a stream of masks from a seed that nobody else has. */
struct coins {
    struct stn_mask mask;
    uint64_t next; /* superblock */
};

static void draw(struct coins *coins, uint32_t *u, size_t n)
{
    memset(u, 0, n * sizeof *u);
    stn_mask_apply(u, n, coins->next, &coins->mask, 1);
    coins->next += (n + STN_MASK_SUPERBLOCK - 1) / STN_MASK_SUPERBLOCK;
}

/* q = clamp(floor(v scale + U), -L, L); how many were beyond. */
static size_t round_block(const struct stn_block_kernel *kernel, uint32_t *out, const double *v, size_t m, double scale,
                          uint32_t bound, struct coins *coins)
{
    uint32_t u[STRETCH];
    size_t n_clamped = 0;
    for (size_t at = 0; at < m; at += STRETCH) {
        size_t n = m - at < STRETCH ? m - at : STRETCH;
        draw(coins, u, n);
        n_clamped += kernel->round(out + at, v + at, n, scale, bound, u);
    }
    stn_entropy_wipe(u, sizeof u);
    return n_clamped;
}

static void gather_row(double *work, size_t pitch, const struct stn_encode_config *config, size_t p, size_t first,
                       size_t n_group, const float *delta, double factor)
{
    size_t at = p * config->n_blocks + first, n_here = at >= config->n_values ? 0 : config->n_values - at;
    n_here = n_here < n_group ? n_here : n_group;
    for (size_t j = 0; j < n_here; j++) {
        work[j * pitch + p] = (double)delta[at + j] * factor;
    }
    for (size_t j = n_here; j < n_group; j++) {
        work[j * pitch + p] = 0;
    }
}

/* Row p of a group is elements p n_blocks + first .. of the delta: one run of memory. */
static void gather(const struct stn_block_kernel *kernel, double *work, size_t pitch, const struct stn_encode_config *config,
                   size_t first, size_t n_group, const float *delta, double factor)
{
    size_t p = 0;
    for (; n_group == GROUP && p + 8 <= config->block && (p + 7) * config->n_blocks + first + GROUP <= config->n_values; p += 8) {
        kernel->turn(work + p, pitch, delta + p * config->n_blocks + first, config->n_blocks, factor);
    }
    for (; p < config->block; p++) {
        gather_row(work, pitch, config, p, first, n_group, delta, factor);
    }
}

static void scatter(float *mean, const struct stn_encode_config *config, size_t first,
                    size_t n_group, const double *work, size_t pitch, double factor)
{
    for (size_t p = 0; p < config->block; p++) {
        size_t at = p * config->n_blocks + first;
        for (size_t j = 0; j < n_group && at + j < config->n_values; j++) {
            mean[at + j] = (float)(work[j * pitch + p] * factor);
        }
    }
}

static size_t group_of(const struct stn_encode_config *config, size_t first)
{
    size_t left = config->n_blocks - first;
    return left < GROUP ? left : GROUP;
}

static enum stn_code weigh(const struct stn_encode_config *config,
                           const struct stn_encode_info *info, uint32_t *ret, struct stn_err *err)
{
    if (info->n_samples == 0 || info->tier >= config->n_tiers || !(info->loss_sum >= 0) ||
        !(info->discount >= 0 && info->discount <= 1)) {
        return stn_err_set(err, STN_INVALID,
                           "a delta of %llu samples, tier %u of %u, loss %g, discount %g",
                           (unsigned long long)info->n_samples, info->tier, config->n_tiers,
                           info->loss_sum, info->discount);
    }
    if (info->n_tokens > UINT32_MAX ||
        info->loss_sum * LOSS_UNIT > (double)(((uint64_t)1 << LOSS_BITS) - 1)) {
        return stn_err_set(err, STN_LIMIT, "a delta of %llu tokens and a loss of %g",
                           (unsigned long long)info->n_tokens, info->loss_sum);
    }
    uint64_t weight = STN_ENCODE_WEIGHT;
    if (config->w_max > 0 && info->n_samples < config->w_max) {
        weight = (info->n_samples * STN_ENCODE_WEIGHT + config->w_max / 2) / config->w_max;
    }
    if (info->discount > 0) {
        weight = (uint64_t)((double)weight * info->discount + 0.5);
    }
    *ret = weight == 0 ? 1 : (uint32_t)weight;
    return STN_OK;
}

static void put_extras(const struct stn_encode_config *config, const struct stn_encode_info *info,
                       const struct stn_encode_result *result, uint32_t *out)
{
    struct fields fields = fields_of(config);
    fields.value[COUNT] = 1;
    fields.value[WEIGHT] = result->weight;
    fields.value[CLIPPED] = result->clipped;
    fields.value[LOSS] = (uint64_t)(info->loss_sum * LOSS_UNIT + 0.5);
    fields.value[TOKENS] = info->n_tokens;
    fields.value[TIER + info->tier] = result->weight;
    for (size_t i = 0; i < fields.n; i++) {
        for (unsigned at = 0; at < fields.bits[i]; at += config->limb_bits) {
            *out++ = (uint32_t)(fields.value[i] >> at) & (((uint32_t)1 << config->limb_bits) - 1);
        }
    }
}

enum stn_code stn_encode_delta(const struct stn_encode_config *config, const float *delta,
                               const struct stn_encode_info *info,
                               const uint8_t private_seed[static STN_ENCODE_SEED], uint32_t *out,
                               struct stn_encode_result *ret, struct stn_err *err)
{
    struct stn_encode_result result = {0};
    enum stn_code code = weigh(config, info, &result.weight, err);
    if (code != STN_OK) {
        return code;
    }
    const struct stn_block_kernel *kernel = stn_block_kernel();
    double weight = result.weight / (double)STN_ENCODE_WEIGHT, sum = kernel->norm2(delta, config->n_values);
    if (!isfinite(sum)) {
        return stn_err_set(err, STN_INVALID, "the delta has values that are not finite");
    }
    result.norm = weight * sqrt(sum);
    result.clipped = result.norm > config->clip;
    double factor = result.clipped ? weight * (config->clip / result.norm) : weight;
    size_t pitch = config->block + SKEW, room = GROUP * pitch;
    double *work = stn_mem_aligned(room, sizeof *work);
    if (work == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to encode a delta");
    }
    struct stn_stream signs;
    struct coins coins = {0};
    stn_stream_init(&signs, config->seed, 0);
    memcpy(coins.mask.seed, private_seed, sizeof coins.mask.seed);
    double scale = 1 / (sqrt((double)config->block) * config->step);
    for (size_t first = 0; first < config->n_blocks; first += GROUP) {
        size_t n_group = group_of(config, first);
        gather(kernel, work, pitch, config, first, n_group, delta, factor);
        for (size_t j = 0; j < n_group; j++) {
            flip(kernel, work + j * pitch, config->block, &signs);
            kernel->hadamard(work + j * pitch, config->block);
            result.n_clamped += round_block(kernel, out + (first + j) * config->block, work + j * pitch,
                                            config->block, scale, config->bound, &coins);
        }
    }
    put_extras(config, info, &result, out + config->n_blocks * config->block);
    stn_stream_fini(&signs);
    stn_entropy_wipe(&coins, sizeof coins);
    stn_entropy_wipe(work, room * sizeof *work);
    stn_mem_free(work);
    *ret = result;
    return STN_OK;
}

/* The sums of the fields; false when a limb is more than n members can have put there. */
static bool get_extras(const struct stn_encode_config *config, const uint32_t *sum,
                       uint32_t n_expected, struct fields *ret)
{
    uint32_t low = UINT32_MAX >> (32 - config->bits);
    uint64_t most = (uint64_t)n_expected * (((uint32_t)1 << config->limb_bits) - 1);
    *ret = fields_of(config);
    for (size_t i = 0; i < ret->n; i++) {
        uint64_t value = 0;
        for (unsigned at = 0; at < ret->bits[i]; at += config->limb_bits) {
            uint64_t limb = *sum++ & low;
            if (limb > most || limb > (INT64_MAX - value) >> at) {
                return false;
            }
            value += limb << at;
        }
        if (value > (((uint64_t)1 << ret->bits[i]) - 1) * n_expected) {
            return false;
        }
        ret->value[i] = value;
    }
    return true;
}

/* What the fields say together; STN_CORRUPT when n_expected members cannot have said it. */
static enum stn_code totals_of(const struct stn_encode_config *config, const uint32_t *sum,
                               uint32_t n_expected, struct stn_encode_totals *ret,
                               struct stn_err *err)
{
    struct fields fields;
    bool possible = get_extras(config, sum, n_expected, &fields);
    if (possible && fields.value[COUNT] != n_expected) {
        return stn_err_set(err, STN_CORRUPT, "the sum is of %llu members, not of %u",
                           (unsigned long long)fields.value[COUNT], n_expected);
    }
    uint64_t weight = fields.value[WEIGHT], tiers = 0;
    *ret = (struct stn_encode_totals){.n_members = n_expected};
    for (size_t i = 0; i < config->n_tiers; i++) {
        tiers += fields.value[TIER + i];
        ret->tier_weight[i] = (double)fields.value[TIER + i] / STN_ENCODE_WEIGHT;
    }
    if (!possible || weight < n_expected || weight != tiers ||
        weight > (uint64_t)n_expected * STN_ENCODE_WEIGHT) {
        return stn_err_set(err, STN_CORRUPT, "no %u members have such a sum", n_expected);
    }
    ret->weight = (double)weight / STN_ENCODE_WEIGHT;
    ret->n_clipped = (uint32_t)fields.value[CLIPPED];
    ret->loss_sum = (double)fields.value[LOSS] / LOSS_UNIT;
    ret->n_tokens = fields.value[TOKENS];
    return STN_OK;
}

enum stn_code stn_encode_decode(const struct stn_encode_config *config, const uint32_t *sum,
                                uint32_t n_expected, float *mean, struct stn_encode_totals *ret,
                                struct stn_err *err)
{
    assert(n_expected > 0 && n_expected <= config->n_members);
    struct stn_encode_totals totals;
    enum stn_code code =
        totals_of(config, sum + config->n_blocks * config->block, n_expected, &totals, err);
    if (code != STN_OK) {
        return code;
    }
    size_t pitch = config->block + SKEW;
    double *work = stn_mem_aligned(GROUP * pitch, sizeof *work);
    if (work == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to decode a sum");
    }
    struct stn_stream signs;
    const struct stn_block_kernel *kernel = stn_block_kernel();
    stn_stream_init(&signs, config->seed, 0);
    double factor = config->step / (sqrt((double)config->block) * totals.weight);
    for (size_t first = 0; first < config->n_blocks; first += GROUP) {
        size_t n_group = group_of(config, first);
        for (size_t j = 0; j < n_group; j++) {
            double *v = work + j * pitch;
            const uint32_t *from = sum + (first + j) * config->block;
            for (size_t i = 0; i < config->block; i++) {
                /* the sign of b bits: up to the top, and back with it */
                v[i] = (int32_t)(from[i] << (32 - config->bits)) >> (32 - config->bits);
            }
            kernel->hadamard(v, config->block);
            flip(kernel, v, config->block, &signs);
        }
        scatter(mean, config, first, n_group, work, pitch, factor);
    }
    stn_mem_free(work);
    *ret = totals;
    return STN_OK;
}

/* exp by its series: |x| <= ETA, so that 16 terms are past the last bit, and the same on every
 * machine. */
double stn_encode_adapt(double clip, double share_unclipped, double quantile)
{
    assert(share_unclipped >= 0 && share_unclipped <= 1 && quantile >= 0 && quantile <= 1);
    double x = -ETA * (share_unclipped - quantile), factor = 0;
    for (int i = 16; i > 0; i--) {
        factor = 1 + factor * x / i;
    }
    clip *= factor;
    return clip < STN_ENCODE_CLIP_MIN   ? STN_ENCODE_CLIP_MIN
           : clip > STN_ENCODE_CLIP_MAX ? STN_ENCODE_CLIP_MAX
                                        : clip;
}
