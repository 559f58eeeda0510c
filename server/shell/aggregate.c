#include "server/shell/aggregate.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/mem.h"
#include "base/str.h"
#include "update/pack.h"
#include "update/round.h"

#define PIECE ((size_t)1 << 18) /* elements that are read at a time */

static void sum_path(const struct stn_aggregate *aggregate, uint64_t number, char ret[static STN_FILE_PATH_MAX])
{
    stn_spool_folder(&aggregate->spool, &aggregate->round, ret);
    size_t n = strlen(ret);
    (void)snprintf(ret + n, STN_FILE_PATH_MAX - n, "/sum-%" PRIu64, number);
}

bool stn_aggregate_has(const struct stn_aggregate *aggregate, const struct stn_id *device)
{
    return stn_map_get(&aggregate->devices, device, sizeof *device) != NULL;
}

static enum stn_code include(struct stn_aggregate *aggregate, const struct stn_id *device, struct stn_err *err)
{
    return stn_map_set(&aggregate->devices, device, sizeof *device, aggregate)
               ? STN_OK
               : stn_err_set(err, STN_MEMORY, "no memory for one more of %zu devices", aggregate->devices.n);
}

static enum stn_code take_device(void *user, const struct stn_id *device, struct stn_err *err)
{
    return include(user, device, err);
}

/* ---- the vector on disk: its elements, little endian ---- */

static enum stn_code load(struct stn_aggregate *aggregate, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_file_map map = {0};
    sum_path(aggregate, aggregate->snapshot.number, path);
    enum stn_code code = stn_file_map(&map, path, STN_FILE_USE_ONCE, err);
    if (code != STN_OK) {
        return code;
    }
    struct stn_digest digest = stn_digest_blob(map.data, map.size);
    if (map.size != aggregate->length * sizeof *aggregate->sum ||
        !stn_digest_equal(&digest, &aggregate->snapshot.digest)) {
        code = stn_err_set(err, STN_CORRUPT, "%s: the sum of %zu updates is not the one that was saved", path,
                           aggregate->devices.n);
    } else {
        for (size_t i = 0; i < aggregate->length; i++) {
            aggregate->sum[i] = stn_buf_get_u32(map.data + i * sizeof *aggregate->sum);
        }
    }
    stn_file_unmap(&map);
    return code;
}

enum stn_code stn_aggregate_write(struct stn_aggregate *aggregate, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_file_draft draft;
    struct stn_digest_tree tree;
    assert(!aggregate->is_unmasking);
    enum stn_code code = stn_aggregate_keep(aggregate, err); /* the spools go once this snapshot is committed */
    if (code != STN_OK) {
        return code;
    }
    uint8_t *bytes = stn_mem_new(PIECE, sizeof *aggregate->sum);
    if (bytes == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to write a sum");
    }
    sum_path(aggregate, aggregate->snapshot.number + 1, path);
    code = stn_file_draft(&draft, path, STN_FILE_SECRET, err);
    stn_digest_tree_init(&tree, NULL, 0);
    for (size_t at = 0; at < aggregate->length && code == STN_OK; at += PIECE) {
        size_t n = aggregate->length - at < PIECE ? aggregate->length - at : PIECE;
        for (size_t i = 0; i < n; i++) {
            stn_buf_put_u32(bytes + i * sizeof *aggregate->sum, aggregate->sum[at + i]);
        }
        stn_digest_tree_add(&tree, bytes, n * sizeof *aggregate->sum);
        code = stn_file_draft_put(&draft, bytes, n * sizeof *aggregate->sum, err);
    }
    stn_mem_free(bytes);
    if (code != STN_OK) {
        stn_file_draft_drop(&draft);
        return code;
    }
    code = stn_file_draft_keep(&draft, err);
    if (code == STN_OK) {
        aggregate->snapshot.number++;
        aggregate->snapshot.digest = stn_digest_tree_end(&tree);
    }
    return code;
}

enum stn_code stn_aggregate_save(struct stn_aggregate *aggregate, struct stn_store *store, struct stn_err *err)
{
    size_t n = stn_aggregate_n_new(aggregate);
    struct stn_id *devices = stn_mem_new(n + 1, sizeof *devices);
    if (devices == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to name %zu devices", n);
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(&devices[i], aggregate->devices.entries[aggregate->n_in_snapshot + i].key, sizeof *devices);
    }
    enum stn_code code = stn_store_save_snapshot(store, &aggregate->snapshot, devices, n, err);
    stn_mem_free(devices);
    if (code == STN_OK) {
        aggregate->n_in_snapshot = aggregate->devices.n;
    }
    return code;
}

size_t stn_aggregate_n_new(const struct stn_aggregate *aggregate)
{
    return aggregate->devices.n - aggregate->n_in_snapshot;
}

/* ---- spools that are not needed any more ---- */

static enum stn_code keep(const struct stn_aggregate *aggregate, const struct stn_id *device, struct stn_err *err)
{
    char from[STN_FILE_PATH_MAX], to[STN_FILE_PATH_MAX], name[2 * sizeof device->bytes + 1];
    stn_spool_path(&aggregate->spool, &aggregate->round, device, from);
    stn_hex_put(name, device->bytes, sizeof device->bytes);
    enum stn_code code = stn_file_join(to, aggregate->kept, name, err);
    if (code == STN_OK && link(from, to) != 0 && errno != EEXIST) {
        code = stn_err_errno(err, errno, "%s", to);
    }
    return code;
}

enum stn_code stn_aggregate_keep(struct stn_aggregate *aggregate, struct stn_err *err)
{
    if (aggregate->kept[0] == '\0') {
        return STN_OK;
    }
    enum stn_code code = stn_file_make_folder(aggregate->kept, 0700, err);
    for (size_t i = aggregate->n_retired; i < aggregate->devices.n && code == STN_OK; i++) {
        code = keep(aggregate, aggregate->devices.entries[i].key, err);
    }
    return code;
}

/* Removes ROUND/sum-N of every other N than the snapshot's. */
static enum stn_code drop_sum(void *user, const char *name, struct stn_err *err)
{
    (void)err;
    const struct stn_aggregate *aggregate = user;
    char path[STN_FILE_PATH_MAX], kept[STN_FILE_PATH_MAX];
    sum_path(aggregate, aggregate->snapshot.number, kept);
    stn_spool_folder(&aggregate->spool, &aggregate->round, path);
    size_t n = strlen(path);
    (void)snprintf(path + n, sizeof path - n, "/%s", name);
    if (stn_str_starts(name, "sum-") && strcmp(path, kept) != 0) {
        stn_err_ignore(stn_file_remove(path, NULL)); /* tried again with the next snapshot */
    }
    return STN_OK;
}

static void drop_sums(struct stn_aggregate *aggregate)
{
    char folder[STN_FILE_PATH_MAX];
    stn_spool_folder(&aggregate->spool, &aggregate->round, folder);
    stn_err_ignore(stn_file_list(folder, drop_sum, aggregate, NULL)); /* what stays goes with the round */
}

void stn_aggregate_clean(struct stn_aggregate *aggregate)
{
    for (; aggregate->n_retired < aggregate->n_in_snapshot; aggregate->n_retired++) {
        stn_spool_remove(&aggregate->spool, &aggregate->round, aggregate->devices.entries[aggregate->n_retired].key);
    }
    drop_sums(aggregate);
}

void stn_aggregate_unmask(struct stn_aggregate *aggregate, struct stn_unmask *ret, const struct stn_mask *masks, size_t n,
                          bool is_first)
{
    assert(is_first == !aggregate->is_unmasking);
    aggregate->is_unmasking = true;
    stn_unmask_init(ret, aggregate->sum, aggregate->length, masks, n);
}

/* ---- life ---- */

static enum stn_code prepare(struct stn_aggregate *aggregate, struct stn_store *store,
                             const struct stn_msg_round_config *config, const char *kept, struct stn_err *err)
{
    if (!stn_str_copy(aggregate->kept, sizeof aggregate->kept, kept == NULL ? "" : kept)) {
        return stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %zu bytes", kept, sizeof aggregate->kept - 1);
    }
    enum stn_code code = stn_round_encoding(config, &aggregate->encoding, err);
    if (code != STN_OK) {
        return code;
    }
    aggregate->length = stn_encode_length(&aggregate->encoding);
    aggregate->sum = stn_mem_aligned(aggregate->length, sizeof *aggregate->sum);
    if (aggregate->sum == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a sum of %zu elements", aggregate->length);
    }
    code = stn_store_get_snapshot(store, &config->round, &aggregate->snapshot, take_device, aggregate, err);
    if (code == STN_OK) {
        aggregate->n_in_snapshot = aggregate->devices.n;
        code = load(aggregate, err);
    } else if (code == STN_NOT_FOUND) {
        code = STN_OK;
    }
    if (code == STN_OK && aggregate->snapshot.number > 0) {
        stn_aggregate_clean(aggregate); /* the last process may have ended before its step 3 */
    }
    return code;
}

enum stn_code stn_aggregate_open(struct stn_aggregate **ret, const struct stn_spool *spool, struct stn_store *store,
                                 const struct stn_msg_round_config *config, const char *kept, struct stn_err *err)
{
    struct stn_aggregate *aggregate = stn_mem_new(1, sizeof *aggregate);
    if (aggregate == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a round's sum");
    }
    aggregate->round = config->round;
    aggregate->spool = *spool;
    aggregate->snapshot.round = config->round;
    enum stn_code code = prepare(aggregate, store, config, kept, err);
    if (code != STN_OK) {
        stn_aggregate_close(aggregate);
        return code;
    }
    *ret = aggregate;
    return STN_OK;
}

void stn_aggregate_close(struct stn_aggregate *aggregate)
{
    if (aggregate == NULL) {
        return;
    }
    stn_map_fini(&aggregate->devices);
    stn_mem_free(aggregate->sum);
    stn_mem_free(aggregate);
}

/* ---- adding ---- */

static enum stn_code add_file(struct stn_aggregate *aggregate, int fd, const char *path, struct stn_err *err)
{
    const size_t width = aggregate->encoding.bits / 8;
    uint8_t *bytes = stn_mem_new(PIECE, width);
    if (bytes == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to read an update");
    }
    enum stn_code code = STN_OK;
    for (size_t at = 0; at < aggregate->length && code == STN_OK; at += PIECE) {
        size_t n = aggregate->length - at < PIECE ? aggregate->length - at : PIECE;
        code = stn_file_pread(fd, path, bytes, n * width, (uint64_t)at * width, err);
        if (code == STN_OK) {
            stn_pack_add(aggregate->sum + at, bytes, n, aggregate->encoding.bits);
        }
    }
    stn_mem_free(bytes);
    return code;
}

enum stn_code stn_aggregate_add(struct stn_aggregate *aggregate, const struct stn_id *device, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    int fd = -1;
    if (stn_aggregate_has(aggregate, device)) {
        return STN_OK;
    }
    assert(!aggregate->is_unmasking);
    stn_spool_path(&aggregate->spool, &aggregate->round, device, path);
    enum stn_code code = stn_file_open(&fd, path, STN_FILE_READ, 0, err);
    if (code == STN_OK) {
        code = add_file(aggregate, fd, path, err);
    }
    stn_file_close(fd);
    return code == STN_OK ? include(aggregate, device, err) : code;
}
