/* recompute: makes every release of a task again from the updates that the coordinator kept ([debug] keep_updates), with
 * plain loops of its own, and compares bit for bit. It shares with the coordinator the readers of config and adapter
 * files, and nothing of the encoding, the decoding or the outer optimiser (SA1, "Encoding"; server/shell/merge.h).
 *   recompute FLEET      the folder of sternad; rounds follow each other from version 0
 * Prints the last adapter's digest. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "compute/model/adapter.h"
#include "crypto/entropy.h"
#include "io/file.h"
#include "proto/codec.h"

#define ROUNDS_MAX 1000
#define PATH 4096

struct round {
    char folder[PATH];
    json_t *release;
    struct stn_msg_round_config config;
};

static struct stn_err err;

static _Noreturn void fail(const char *what, const char *where)
{
    (void)fprintf(stderr, "error: %s: %s\n", where, what);
    exit(EXIT_FAILURE);
}

static void need(enum stn_code code, const char *where)
{
    if (code != STN_OK) {
        fail(err.text, where);
    }
}

static void *memory(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (p == NULL) {
        fail("no memory", "recompute");
    }
    return p;
}

/* ---- the signs: ChaCha20 with nonce 0 (RFC 8439, section 2.3), block by block ---- */

static uint32_t rotate(uint32_t v, int n)
{
    return v << n | v >> (32 - n);
}

static void quarter(uint32_t *s, int a, int b, int c, int d)
{
    s[a] += s[b]; s[d] = rotate(s[d] ^ s[a], 16);
    s[c] += s[d]; s[b] = rotate(s[b] ^ s[c], 12);
    s[a] += s[b]; s[d] = rotate(s[d] ^ s[a], 8);
    s[c] += s[d]; s[b] = rotate(s[b] ^ s[c], 7);
}

static void chacha_block(const uint8_t key[32], uint32_t counter, uint8_t out[64])
{
    uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, s[16];
    for (int i = 0; i < 8; i++) {
        start[4 + i] = stn_buf_get_u32(key + 4 * i);
    }
    start[12] = counter;
    memcpy(s, start, sizeof s);
    for (int i = 0; i < 10; i++) {
        quarter(s, 0, 4, 8, 12); quarter(s, 1, 5, 9, 13); quarter(s, 2, 6, 10, 14); quarter(s, 3, 7, 11, 15);
        quarter(s, 0, 5, 10, 15); quarter(s, 1, 6, 11, 12); quarter(s, 2, 7, 8, 13); quarter(s, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++) {
        stn_buf_put_u32(out + 4 * i, s[i] + start[i]);
    }
}

/* ---- a round ---- */

static void read_round(struct round *round, const char *kept, const char *name)
{
    char path[PATH + 32];
    struct stn_buf bytes = {0};
    struct stn_arena arena = {.limit = (size_t)1 << 20};
    struct stn_msg msg;
    json_error_t wrong;
    (void)snprintf(round->folder, sizeof round->folder, "%s/%s", kept, name);
    (void)snprintf(path, sizeof path, "%s/config", round->folder);
    need(stn_file_read(path, (size_t)1 << 20, &bytes, &err), path);
    need(stn_codec_decode(&msg, &arena, bytes.data, bytes.size, &err), path);
    if (msg.type != STN_MSG_ROUND_CONFIG) {
        fail("no round's config", path);
    }
    round->config = msg.round_config;
    stn_arena_fini(&arena);
    stn_buf_fini(&bytes);
    (void)snprintf(path, sizeof path, "%s/release.json", round->folder);
    round->release = json_load_file(path, 0, &wrong);
    if (round->release == NULL) {
        fail(wrong.text, path);
    }
}

static json_int_t version_of(const struct round *round)
{
    return json_integer_value(json_object_get(round->release, "version"));
}

/* Adds every kept update, element by element; how many there were. */
static uint32_t add_up(const struct round *round, uint64_t *sum, size_t length)
{
    uint32_t n = 0;
    size_t width = round->config.bits / 8;
    DIR *dir = opendir(round->folder);
    for (struct dirent *entry = dir == NULL ? NULL : readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[PATH + 300];
        struct stn_buf bytes = {0};
        if (strlen(entry->d_name) != 64) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", round->folder, entry->d_name);
        need(stn_file_read(path, length * width, &bytes, &err), path);
        if (bytes.size != length * width) {
            fail("an update of another size", path);
        }
        for (size_t i = 0; i < length; i++) {
            for (size_t j = 0; j < width; j++) {
                sum[i] += (uint64_t)bytes.data[i * width + j] << (8 * j);
            }
        }
        stn_buf_fini(&bytes);
        n++;
    }
    (void)(dir != NULL && closedir(dir));
    return n;
}

/* Of a secure round: the masks that came off the sum, each a byte (1: it was taken away) and its seed. Element
 * 256 s + 16 w + l of a stream is word w of block 16 s + l (SA1, "PRG"). */
static void take_masks(const struct round *round, uint64_t *sum, size_t length)
{
    char path[PATH + 32];
    struct stn_buf bytes = {0};
    (void)snprintf(path, sizeof path, "%s/masks", round->folder);
    need(stn_file_read(path, (size_t)1 << 30, &bytes, &err), path);
    if (bytes.size % 33 != 0) {
        fail("not a list of masks", path);
    }
    for (size_t at = 0; at < bytes.size; at += 33) {
        for (size_t block = 0; block * 16 < length + 256; block++) {
            uint8_t words[64];
            chacha_block(bytes.data + at + 1, (uint32_t)block, words);
            for (size_t w = 0; w < 16; w++) {
                size_t i = 256 * (block / 16) + 16 * w + block % 16;
                uint64_t word = stn_buf_get_u32(words + 4 * w);
                if (i < length) {
                    sum[i] += bytes.data[at] == 1 ? -word : word;
                }
            }
        }
    }
    stn_buf_fini(&bytes);
}

/* The value of an extra of so many bits, which travels in limbs from *at on. */
static uint64_t extra(const uint64_t *sum, size_t *at, unsigned bits, unsigned limb_bits, uint64_t modulus)
{
    uint64_t value = 0;
    for (unsigned done = 0; done < bits; done += limb_bits) {
        value += (sum[(*at)++] % modulus) << done;
    }
    return value;
}

static void walsh(double *v, size_t m)
{
    for (size_t h = 1; h < m; h *= 2) {
        for (size_t i = 0; i < m; i++) {
            if ((i & h) == 0) {
                double a = v[i], b = v[i + h];
                v[i] = a + b;
                v[i + h] = a - b;
            }
        }
    }
}

/* The mean of the round's deltas; what those of each tier weigh. */
static void mean_of(const struct round *round, float *mean, double *ret_by_tier)
{
    const struct stn_msg_round_config *c = &round->config;
    const uint64_t d = c->n_values, modulus = (uint64_t)1 << c->bits;
    const uint64_t most = (modulus / 2 - 1) / c->n_max; /* L */
    size_t m = 1;
    while (m < d && m < 8192) {
        m *= 2;
    }
    const size_t n_blocks = (size_t)((d + m - 1) / m);
    unsigned limb_bits = 1;
    while (limb_bits < 31 && ((uint64_t)2 << limb_bits) - 1 <= most) {
        limb_bits++;
    }
    static const unsigned extras[] = {1, 13, 1, 43, 32, 13}; /* count, weight, clipped, loss, tokens; each tier's weight */
    size_t length = n_blocks * m, at = length;
    for (size_t i = 0; i < 6 + (size_t)c->n_halvings; i++) {
        length += (extras[i < 5 ? i : 5] + limb_bits - 1) / limb_bits;
    }
    uint64_t *sum = memory(length, sizeof *sum);
    uint32_t n = add_up(round, sum, length);
    if (c->secure) {
        take_masks(round, sum, length);
    }
    uint64_t count = extra(sum, &at, extras[0], limb_bits, modulus);
    double weight = (double)extra(sum, &at, extras[1], limb_bits, modulus) / 4096, by_tiers = 0;
    for (int i = 2; i < 5; i++) {
        (void)extra(sum, &at, extras[i], limb_bits, modulus);
    }
    for (uint32_t tier = 0; tier <= c->n_halvings; tier++) {
        ret_by_tier[tier] = (double)extra(sum, &at, extras[5], limb_bits, modulus) / 4096;
        by_tiers += ret_by_tier[tier];
    }
    if (by_tiers != weight) {
        fail("tiers do not weigh what all do", round->folder);
    }
    if (n == 0 || count != n || n != json_integer_value(json_object_get(round->release, "n_included"))) {
        fail("the kept updates are not those that were counted", round->folder);
    }
    double step = 6.0 * c->clip_norm / (sqrt((double)d) * (double)most);
    double factor = step / (sqrt((double)m) * weight);
    double *v = memory(m, sizeof *v);
    for (size_t block = 0; block < n_blocks; block++) {
        for (size_t i = 0; i < m; i++) {
            uint64_t u = sum[block * m + i] % modulus;
            v[i] = u < modulus / 2 ? (double)u : (double)u - (double)modulus;
        }
        walsh(v, m);
        for (size_t i = 0; i < m; i++) {
            uint8_t signs[64];
            size_t bit = block * m + i, element = i * n_blocks + block;
            chacha_block(c->seed, (uint32_t)(bit / 512), signs);
            double x = (signs[bit % 512 / 8] >> bit % 8 & 1) != 0 ? -v[i] : v[i];
            if (element < d) {
                mean[element] = (float)(x * factor);
            }
        }
    }
    free(v);
    free(sum);
}

/* The values that the round's factor has, and the rank that each is of, in the adapter's order: A's come before their B's,
 * product after product. */
static size_t factor_of(const struct round *round, const struct stn_adapter *shape, size_t *ret, uint32_t *ret_rank)
{
    size_t n = 0;
    for (size_t i = 0; i < shape->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &shape->tensors[i];
        bool trains = round->config.factor == 0 || (round->config.factor == 2) == tensor->is_b;
        for (size_t k = 0; trains && k < (size_t)tensor->rows * tensor->cols; k++) {
            ret_rank[n] = (uint32_t)(tensor->is_b ? k % tensor->cols : k / tensor->cols);
            ret[n++] = tensor->offset + k;
        }
    }
    return n;
}

/* Of mixed ranks: a rank's mean is over those who have trained it, and of ranks above the round's tier there is none. */
static void weigh_ranks(const struct round *round, const struct stn_adapter *shape, const uint32_t *rank, size_t n,
                        const double *by_tier, float *mean)
{
    const uint32_t left = shape->rank >> json_integer_value(json_object_get(round->release, "tier"));
    double all = 0;
    for (uint32_t tier = 0; tier <= round->config.n_halvings; tier++) {
        all += by_tier[tier];
    }
    for (size_t i = 0; i < n && round->config.n_halvings > 0; i++) {
        double has = 0;
        for (uint32_t tier = 0; tier <= round->config.n_halvings; tier++) {
            has += rank[i] < shape->rank >> tier ? by_tier[tier] : 0;
        }
        mean[i] = rank[i] < left && has > 0 ? (float)((double)mean[i] * (all / has)) : 0;
    }
}

/* x, momentum (of the adapter): from one version to the next. */
static void merge(const struct round *round, const struct stn_adapter *shape, float *x, float *momentum)
{
    size_t *at = memory(shape->n_values, sizeof *at);
    uint32_t *rank = memory(shape->n_values, sizeof *rank);
    size_t n = factor_of(round, shape, at, rank);
    double by_tier[STN_MSG_HALVINGS + 1] = {0};
    float *mean = memory(n, sizeof *mean);
    const double rate = json_real_value(json_object_get(round->release, "outer_rate"));
    const double keep = json_real_value(json_object_get(round->release, "outer_momentum"));
    bool is_nesterov = strcmp(json_string_value(json_object_get(round->release, "outer")), "nesterov") == 0;
    if (n != round->config.n_values) {
        fail("the round is not of its factor", round->folder);
    }
    mean_of(round, mean, by_tier);
    weigh_ranks(round, shape, rank, n, by_tier, mean);
    for (size_t i = 0; i < n; i++) {
        float *value = &x[at[i]], *moment = &momentum[at[i]];
        if (is_nesterov) {
            double m = keep * (double)*moment + (double)mean[i];
            *moment = (float)m;
            *value = (float)((double)*value + rate * ((double)mean[i] + keep * m));
        } else {
            *value = (float)((double)*value + rate * (double)mean[i]);
        }
    }
    free(mean);
    free(rank);
    free(at);
}

/* ---- all rounds ---- */

static struct stn_adapter *load(const char *fleet, const json_t *digest)
{
    char path[PATH];
    struct stn_adapter *adapter = NULL;
    (void)snprintf(path, sizeof path, "%s/blobs/%s", fleet, json_string_value(digest));
    need(stn_adapter_file_load(&adapter, NULL, path, &err), path);
    return adapter;
}

static int by_version(const void *a, const void *b)
{
    json_int_t left = version_of(a), right = version_of(b);
    return (left > right) - (left < right);
}

static size_t read_rounds(const char *fleet, struct round *rounds)
{
    char kept[PATH / 2];
    size_t n = 0;
    (void)snprintf(kept, sizeof kept, "%s/kept", fleet);
    DIR *dir = opendir(kept);
    for (struct dirent *entry = dir == NULL ? NULL : readdir(dir); entry != NULL && n < ROUNDS_MAX; entry = readdir(dir)) {
        if (strlen(entry->d_name) == 32) {
            read_round(&rounds[n++], kept, entry->d_name);
        }
    }
    (void)(dir != NULL && closedir(dir));
    if (n == 0) {
        fail("no round was kept", kept);
    }
    qsort(rounds, n, sizeof *rounds, by_version);
    return n;
}

int main(int argc, char **argv)
{
    if (argc != 2 || stn_entropy_start(&err) != STN_OK) {
        fail("expected the coordinator's folder", "recompute");
    }
    struct round *rounds = memory(ROUNDS_MAX, sizeof *rounds);
    size_t n_rounds = read_rounds(argv[1], rounds);
    struct stn_adapter *first = load(argv[1], json_object_get(rounds[0].release, "from_adapter"));
    float *momentum = memory(first->n_values, sizeof *momentum);
    for (size_t i = 0; i < n_rounds; i++) {
        struct stn_adapter *released = load(argv[1], json_object_get(rounds[i].release, "adapter"));
        if (version_of(&rounds[i]) != (json_int_t)i + 1) {
            fail("this is not the next version", rounds[i].folder);
        }
        merge(&rounds[i], first, first->values, momentum);
        if (!stn_adapter_is_like(first, released) ||
            memcmp(first->values, released->values, first->n_values * sizeof *first->values) != 0) {
            fail("the released adapter is not what its updates come to", rounds[i].folder);
        }
        stn_adapter_free(released);
    }
    (void)printf("%s\n", json_string_value(json_object_get(rounds[n_rounds - 1].release, "adapter")));
    stn_adapter_free(first);
    for (size_t i = 0; i < n_rounds; i++) {
        json_decref(rounds[i].release);
    }
    free(momentum);
    free(rounds);
    return EXIT_SUCCESS;
}
