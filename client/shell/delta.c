#include "client/shell/delta.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/entropy.h"
#include "io/file.h"
#include "proto/codec.h"

#define MAGIC "stn-dlt3"
#define MAGIC_SIZE 8
/* magic, digest of the lease, samples, loss, targets, tier, values, digest of the values as a blob's, digest of all before;
 * then the values */
#define HEAD (MAGIC_SIZE + STN_DIGEST_SIZE + 8 + 8 + 8 + 8 + 8 + STN_DIGEST_SIZE + STN_DIGEST_SIZE)

_Static_assert(sizeof(float) == 4 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are copied as they lie in memory");

/* A lease that is given again differs in how long it lives, and in nothing else. */
static enum stn_code name_lease(const struct stn_msg_lease *lease, struct stn_digest *ret, struct stn_err *err)
{
    struct stn_buf bytes = {0};
    struct stn_msg msg = {.type = STN_MSG_LEASE, .lease = *lease};
    msg.lease.expires_after_ms = 0;
    enum stn_code code = stn_codec_encode(&msg, &bytes, err);
    if (code == STN_OK) {
        *ret = stn_digest_of(bytes.data, bytes.size);
    }
    stn_buf_fini(&bytes);
    return code;
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double real_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

enum stn_code stn_delta_write(const char *path, const struct stn_msg_lease *lease, struct stn_delta *delta,
                              struct stn_err *err)
{
    struct stn_digest name;
    struct stn_buf head = {0};
    struct stn_file_draft draft;
    enum stn_code code = name_lease(lease, &name, err);
    if (code != STN_OK) {
        return code;
    }
    (void)stn_buf_add(&head, MAGIC, MAGIC_SIZE);
    (void)stn_buf_add(&head, name.bytes, sizeof name.bytes);
    (void)stn_buf_add_u64(&head, delta->info.n_samples);
    (void)stn_buf_add_u64(&head, bits_of(delta->info.loss_sum));
    (void)stn_buf_add_u64(&head, delta->info.n_tokens);
    (void)stn_buf_add_u64(&head, delta->info.tier);
    (void)stn_buf_add_u64(&head, delta->n_values);
    struct stn_digest digest = stn_digest_blob(delta->values, delta->n_values * sizeof(float));
    (void)stn_buf_add(&head, digest.bytes, sizeof digest.bytes);
    digest = stn_digest_of(head.data, head.size);
    (void)stn_buf_add(&head, digest.bytes, sizeof digest.bytes);
    code = head.failed ? stn_err_set(err, STN_MEMORY, "no memory for %s", path)
                       : stn_file_draft(&draft, path, STN_FILE_SECRET, err);
    if (code != STN_OK) {
        stn_buf_fini(&head);
        return code;
    }
    code = stn_file_draft_put(&draft, head.data, head.size, err);
    code = code == STN_OK ? stn_file_draft_put(&draft, delta->values, delta->n_values * sizeof(float), err) : code;
    if (code == STN_OK) {
        code = stn_file_draft_keep(&draft, err);
    } else {
        stn_file_draft_drop(&draft);
    }
    if (code == STN_OK) {
        delta->lease = name;
    }
    stn_buf_fini(&head);
    return code;
}

static bool is_digest(const uint8_t *bytes, struct stn_digest digest)
{
    return memcmp(bytes, digest.bytes, sizeof digest.bytes) == 0;
}

enum stn_code stn_delta_read(struct stn_delta *ret, const char *path, const struct stn_msg_lease *lease,
                             struct stn_err *err)
{
    struct stn_file_map map = {0};
    struct stn_delta delta = {0};
    enum stn_code code = name_lease(lease, &delta.lease, err);
    code = code == STN_OK ? stn_file_map(&map, path, STN_FILE_USE_ONCE, err) : code;
    if (code != STN_OK) {
        return code;
    }
    struct stn_cursor cursor = stn_buf_cursor(map.data, map.size);
    const uint8_t *magic = stn_buf_take(&cursor, MAGIC_SIZE), *of = stn_buf_take(&cursor, STN_DIGEST_SIZE);
    delta.info.n_samples = stn_buf_take_u64(&cursor);
    delta.info.loss_sum = real_of(stn_buf_take_u64(&cursor));
    delta.info.n_tokens = stn_buf_take_u64(&cursor);
    delta.info.tier = (uint32_t)stn_buf_take_u64(&cursor);
    uint64_t n = stn_buf_take_u64(&cursor);
    const uint8_t *of_values = stn_buf_take(&cursor, STN_DIGEST_SIZE), *of_head = stn_buf_take(&cursor, STN_DIGEST_SIZE);
    bool ok = !cursor.failed && n > 0 && n <= STN_MSG_VALUES && map.size == HEAD + n * sizeof(float) &&
              memcmp(magic, MAGIC, MAGIC_SIZE) == 0 && memcmp(of, delta.lease.bytes, sizeof delta.lease.bytes) == 0;
    ok = ok && is_digest(of_head, stn_digest_of(map.data, HEAD - STN_DIGEST_SIZE)) &&
         is_digest(of_values, stn_digest_blob(map.data + HEAD, map.size - HEAD));
    if (!ok) {
        code = stn_err_set(err, STN_CORRUPT, "%s: damaged, or another lease's delta", path);
        goto out;
    }
    delta.n_values = (size_t)n;
    delta.values = stn_mem_grow(NULL, delta.n_values, sizeof *delta.values);
    if (delta.values == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory for %s", path);
        goto out;
    }
    memcpy(delta.values, map.data + HEAD, delta.n_values * sizeof *delta.values);
    *ret = delta;
out:
    stn_file_unmap(&map);
    return code;
}

void stn_delta_free(struct stn_delta *delta)
{
    if (delta->values != NULL) {
        stn_entropy_wipe(delta->values, delta->n_values * sizeof *delta->values);
        stn_mem_free(delta->values);
    }
    *delta = (struct stn_delta){0};
}

bool stn_delta_is_of(const struct stn_delta *delta, const struct stn_msg_lease *lease)
{
    struct stn_digest name;
    return delta->values != NULL && name_lease(lease, &name, NULL) == STN_OK && stn_digest_equal(&name, &delta->lease);
}
