#include "blob/blob.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum stn_code stn_blob_open(struct stn_blob_store *store, const char *folder, struct stn_err *err)
{
    if ((size_t)snprintf(store->folder, sizeof store->folder, "%s", folder) >= sizeof store->folder) {
        return stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %zu bytes", folder, sizeof store->folder - 1);
    }
    return stn_file_make_folder(folder, 0700, err);
}

void stn_blob_path(const struct stn_blob_store *store, const struct stn_digest *digest, char ret[static STN_FILE_PATH_MAX])
{
    char hex[STN_DIGEST_TEXT];
    stn_digest_put_text(digest, hex);
    int n = snprintf(ret, STN_FILE_PATH_MAX, "%s/%s", store->folder, hex);
    assert(n > 0 && n < STN_FILE_PATH_MAX - 16);
}

static void leaves_path(const struct stn_blob_store *store, const struct stn_digest *digest, char ret[static STN_FILE_PATH_MAX])
{
    stn_blob_path(store, digest, ret);
    size_t n = strlen(ret);
    (void)snprintf(ret + n, STN_FILE_PATH_MAX - n, ".leaves");
}

bool stn_blob_has(const struct stn_blob_store *store, const struct stn_digest *digest)
{
    char path[STN_FILE_PATH_MAX];
    stn_blob_path(store, digest, path);
    return stn_file_exists(path);
}

/* They only save time, and are checked where they are read: so neither synced nor whole in one step. */
static void put_leaves(const struct stn_blob_store *store, const struct stn_digest *digest, const struct stn_digest *leaves, size_t n)
{
    char path[STN_FILE_PATH_MAX];
    int fd = -1;
    leaves_path(store, digest, path);
    enum stn_code code = n == 0 ? STN_OK : stn_file_open(&fd, path, STN_FILE_WRITE, STN_FILE_SECRET, NULL);
    if (fd >= 0) {
        code = stn_file_truncate(fd, path, n * sizeof *leaves, NULL);
        code = code == STN_OK ? stn_file_pwrite(fd, path, leaves, n * sizeof *leaves, 0, NULL) : code;
    }
    stn_err_ignore(code);
    stn_file_close(fd);
}

enum stn_code stn_blob_put(const struct stn_blob_store *store, const void *p, size_t size, struct stn_digest *ret,
                           struct stn_err *err)
{
    struct stn_digest_tree tree;
    const uint64_t n = stn_digest_n_chunks(size);
    if (n > STN_BLOB_LEAVES_MAX) {
        return stn_err_set(err, STN_LIMIT, "a blob of %llu chunks, at most %d", (unsigned long long)n, STN_BLOB_LEAVES_MAX);
    }
    struct stn_digest *leaves = stn_mem_new((size_t)n, sizeof *leaves);
    if (leaves == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %llu chunks", (unsigned long long)n);
    }
    stn_digest_tree_init(&tree, leaves, (size_t)n);
    stn_digest_tree_add(&tree, p, size);
    const struct stn_digest digest = stn_digest_tree_end(&tree);
    char path[STN_FILE_PATH_MAX];
    stn_blob_path(store, &digest, path);
    enum stn_code code = stn_file_exists(path) ? STN_OK : stn_file_replace(path, p, size, STN_FILE_SECRET, err);
    leaves_path(store, &digest, path);
    if (code == STN_OK && !stn_file_exists(path)) {
        put_leaves(store, &digest, leaves, (size_t)n);
    }
    stn_mem_free(leaves);
    if (code == STN_OK) {
        *ret = digest;
    }
    return code;
}

enum stn_code stn_blob_put_file(const struct stn_blob_store *store, const char *path, struct stn_digest *ret,
                                uint64_t *ret_size, struct stn_err *err)
{
    struct stn_file_map map = {0};
    enum stn_code code = stn_file_map(&map, path, STN_FILE_USE_ONCE, err);
    if (code == STN_OK) {
        code = stn_blob_put(store, map.data, map.size, ret, err);
        *ret_size = map.size;
    }
    stn_file_unmap(&map);
    return code;
}

enum stn_code stn_blob_name_file(const char *path, struct stn_digest *ret, uint64_t *ret_size, struct stn_err *err)
{
    struct stn_file_map map = {0};
    enum stn_code code = stn_file_map(&map, path, STN_FILE_USE_ONCE, err);
    if (code == STN_OK) {
        *ret = stn_digest_blob(map.data, map.size);
        *ret_size = map.size;
    }
    stn_file_unmap(&map);
    return code;
}

/* Hashes the file again; on STN_OK *ret holds n leaves that fit the name. */
static enum stn_code compute_leaves(const char *path, const struct stn_digest *digest, struct stn_digest *leaves, size_t n,
                                    uint64_t size, struct stn_err *err)
{
    struct stn_file_map map = {0};
    enum stn_code code = stn_file_map(&map, path, STN_FILE_USE_ONCE, err);
    if (code != STN_OK) {
        return code;
    }
    struct stn_digest_tree tree;
    stn_digest_tree_init(&tree, leaves, n);
    stn_digest_tree_add(&tree, map.data, map.size);
    struct stn_digest name = stn_digest_tree_end(&tree);
    if (map.size != size || !stn_digest_equal(&name, digest)) {
        code = stn_err_set(err, STN_CORRUPT, "%s: the bytes are not what the name says", path);
    }
    stn_file_unmap(&map);
    return code;
}

enum stn_code stn_blob_leaves(const struct stn_blob_store *store, const struct stn_digest *digest,
                              struct stn_digest **ret, size_t *ret_n, uint64_t *ret_size, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX], beside[STN_FILE_PATH_MAX];
    stn_blob_path(store, digest, path);
    leaves_path(store, digest, beside);
    uint64_t size;
    enum stn_code code = stn_file_size(path, &size, err);
    if (code != STN_OK) {
        return code;
    }
    uint64_t n = stn_digest_n_chunks(size);
    if (n > STN_BLOB_LEAVES_MAX) {
        return stn_err_set(err, STN_LIMIT, "%s: %llu chunks, at most %d", path, (unsigned long long)n, STN_BLOB_LEAVES_MAX);
    }
    struct stn_digest *leaves = stn_mem_new((size_t)n, sizeof *leaves);
    if (leaves == NULL) {
        return stn_err_set(err, STN_MEMORY, "%s: no memory for %llu chunks", path, (unsigned long long)n);
    }
    const size_t leaves_size = (size_t)n * sizeof *leaves;
    struct stn_buf kept = {0};
    if (stn_file_read(beside, leaves_size, &kept, NULL) == STN_OK && kept.size == leaves_size && n > 0) {
        memcpy(leaves, kept.data, kept.size);
    }
    stn_buf_fini(&kept);
    if (!stn_digest_tree_check(leaves, (size_t)n, size, digest)) {
        code = compute_leaves(path, digest, leaves, (size_t)n, size, err);
        if (code == STN_OK) {
            put_leaves(store, digest, leaves, (size_t)n);
        }
    }
    if (code != STN_OK) {
        stn_mem_free(leaves);
        return code;
    }
    *ret = leaves;
    *ret_n = (size_t)n;
    *ret_size = size;
    return STN_OK;
}

enum stn_code stn_blob_chunks(const struct stn_blob_store *store, const struct stn_digest *digest, size_t i, size_t n, void *p,
                              size_t *ret_size, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    stn_blob_path(store, digest, path);
    int fd = -1;
    uint64_t size;
    enum stn_code code = stn_file_size(path, &size, err);
    if (code == STN_OK && i >= stn_digest_n_chunks(size)) {
        code = stn_err_set(err, STN_INVALID, "%s: no chunk %zu", path, i);
    }
    if (code == STN_OK) {
        code = stn_file_open(&fd, path, STN_FILE_READ, 0, err);
    }
    if (code == STN_OK) {
        *ret_size = stn_digest_run_size(size, i, n);
        code = stn_file_pread(fd, path, p, *ret_size, (uint64_t)i * STN_DIGEST_CHUNK, err);
    }
    stn_file_close(fd);
    return code;
}

/* Whether what lies on the disk as chunk i is right; else it counts as missing. */
static enum stn_code check_kept(struct stn_blob_incoming *incoming, struct stn_err *err)
{
    uint8_t *bytes = stn_mem_new(STN_DIGEST_CHUNK, 1);
    if (bytes == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a chunk");
    }
    enum stn_code code = STN_OK;
    for (size_t i = 0; code == STN_OK && i < stn_parts_n(incoming->parts); i++) {
        size_t size;
        if (!stn_parts_has(incoming->parts, i)) {
            continue;
        }
        struct stn_digest leaf = {0};
        if (stn_parts_get(incoming->parts, i, bytes, &size, NULL) == STN_OK) {
            leaf = stn_digest_leaf(bytes, size);
        }
        if (!stn_digest_equal(&leaf, &incoming->leaves[i])) {
            code = stn_parts_forget(incoming->parts, i, err);
        }
    }
    stn_mem_free(bytes);
    return code;
}

enum stn_code stn_blob_begin(struct stn_blob_incoming *incoming, const struct stn_blob_store *store,
                             const struct stn_digest *digest, uint64_t size, const struct stn_digest *leaves, size_t n,
                             struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    stn_blob_path(store, digest, path);
    if (n > STN_BLOB_LEAVES_MAX || !stn_digest_tree_check(leaves, n, size, digest)) {
        return stn_err_set(err, STN_CORRUPT, "%s: the %zu hashes of its chunks are not those of its name", path, n);
    }
    *incoming = (struct stn_blob_incoming){.store = store, .digest = *digest};
    incoming->leaves = stn_mem_copy(leaves, n * sizeof *leaves);
    if (incoming->leaves == NULL) {
        return stn_err_set(err, STN_MEMORY, "%s: no memory for %zu chunks", path, n);
    }
    enum stn_code code = stn_parts_open(&incoming->parts, path, size, err);
    if (code == STN_OK) {
        code = check_kept(incoming, err);
    }
    if (code != STN_OK) {
        stn_blob_stop(incoming);
    }
    return code;
}

static enum stn_code keep(struct stn_blob_incoming *incoming, size_t i, const struct stn_digest *leaf, const void *p,
                          size_t size, struct stn_err *err)
{
    if (!stn_digest_equal(leaf, &incoming->leaves[i])) {
        return stn_err_set(err, STN_CORRUPT, "chunk %zu: the bytes are not what its hash says", i);
    }
    return stn_parts_put(incoming->parts, i, p, size, err);
}

/* Those that are held; the first that went wrong is told. */
static enum stn_code keep_held(struct stn_blob_incoming *incoming, struct stn_err *err)
{
    struct stn_digest leaves[STN_BLOB_HELD];
    struct stn_digest_tree tree;
    enum stn_code code = STN_OK;
    stn_digest_tree_init(&tree, leaves, STN_BLOB_HELD);
    stn_digest_tree_add(&tree, incoming->held, incoming->n_held * STN_DIGEST_CHUNK);
    for (size_t i = 0; i < incoming->n_held; i++) {
        struct stn_err other;
        enum stn_code one = keep(incoming, incoming->held_index[i], &leaves[i], incoming->held + i * STN_DIGEST_CHUNK,
                                 STN_DIGEST_CHUNK, code == STN_OK ? err : &other);
        code = code == STN_OK ? one : code;
    }
    incoming->n_held = 0;
    return code;
}

enum stn_code stn_blob_take_chunk(struct stn_blob_incoming *incoming, size_t i, const void *p, size_t size,
                                  struct stn_err *err)
{
    if (i >= stn_parts_n(incoming->parts)) {
        return stn_err_set(err, STN_INVALID, "chunk %zu of a blob of %zu", i, stn_parts_n(incoming->parts));
    }
    if (incoming->held == NULL && size == STN_DIGEST_CHUNK) {
        incoming->held = stn_mem_grow(NULL, STN_BLOB_HELD, STN_DIGEST_CHUNK);
    }
    if (incoming->held == NULL || size != STN_DIGEST_CHUNK) {
        struct stn_digest leaf = stn_digest_leaf(p, size);
        return keep(incoming, i, &leaf, p, size, err);
    }
    memcpy(incoming->held + incoming->n_held * STN_DIGEST_CHUNK, p, size);
    incoming->held_index[incoming->n_held++] = i;
    return incoming->n_held == STN_BLOB_HELD ? keep_held(incoming, err) : STN_OK;
}

enum stn_code stn_blob_finish(struct stn_blob_incoming *incoming, struct stn_err *err)
{
    enum stn_code code = keep_held(incoming, err);
    return code == STN_OK ? stn_parts_finish(incoming->parts, err) : code;
}

void stn_blob_stop(struct stn_blob_incoming *incoming)
{
    stn_err_ignore(keep_held(incoming, NULL)); /* a chunk that is not right comes again */
    stn_mem_free(incoming->held);
    stn_parts_close(incoming->parts);
    stn_mem_free(incoming->leaves);
    *incoming = (struct stn_blob_incoming){0};
}

enum stn_code stn_blob_remove(const struct stn_blob_store *store, const struct stn_digest *digest, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    leaves_path(store, digest, path);
    stn_err_ignore(stn_file_remove(path, NULL));
    stn_blob_path(store, digest, path);
    stn_parts_remove(path);
    return stn_file_remove(path, err);
}

struct sweep {
    const struct stn_blob_store *store;
    const struct stn_digest *keep;
    size_t n;
};

static bool is_left(const struct sweep *sweep, const char *name)
{
    const char *ending = name + STN_DIGEST_TEXT - 1;
    if (stn_str_ends(ending, ".tmp")) { /* as stn_file_draft names them */
        return true;
    }
    bool is_kept = sweep->n == 0 || (strcmp(ending, ".part") != 0 && strcmp(ending, ".have") != 0);
    for (size_t i = 0; i < sweep->n && !is_kept; i++) {
        char text[STN_DIGEST_TEXT];
        stn_digest_put_text(&sweep->keep[i], text);
        is_kept = strncmp(name, text, STN_DIGEST_TEXT - 1) == 0;
    }
    return !is_kept;
}

static enum stn_code each_file(void *user, const char *name, struct stn_err *err)
{
    const struct sweep *sweep = user;
    char path[STN_FILE_PATH_MAX], hex[STN_DIGEST_TEXT] = "";
    struct stn_digest digest;
    (void)err;
    if (strlen(name) >= sizeof hex) {
        memcpy(hex, name, sizeof hex - 1);
    }
    if (stn_digest_get_text(&digest, hex) && is_left(sweep, name) &&
        stn_file_join(path, sweep->store->folder, name, NULL) == STN_OK) {
        stn_err_ignore(stn_file_remove(path, NULL)); /* the next start may */
    }
    return STN_OK;
}

void stn_blob_sweep(const struct stn_blob_store *store, const struct stn_digest *keep, size_t n)
{
    struct sweep sweep = {store, keep, n};
    stn_err_ignore(stn_file_list(store->folder, each_file, &sweep, NULL)); /* as each file */
}
