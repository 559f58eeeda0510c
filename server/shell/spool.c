#include "server/shell/spool.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "blob/parts.h"
#include "crypto/digest.h"

#define ROUND_TEXT (2 * sizeof(struct stn_round_id) + 1)
#define DEVICE_TEXT (2 * sizeof(struct stn_id) + 1)

enum stn_code stn_spool_open(struct stn_spool *spool, const char *folder, struct stn_err *err)
{
    if ((size_t)snprintf(spool->folder, sizeof spool->folder, "%s", folder) >= sizeof spool->folder) {
        return stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %zu bytes", folder, sizeof spool->folder - 1);
    }
    return stn_file_make_folder(folder, 0700, err);
}

void stn_spool_folder(const struct stn_spool *spool, const struct stn_round_id *round, char ret[static STN_FILE_PATH_MAX])
{
    char hex[ROUND_TEXT];
    stn_hex_put(hex, round->bytes, sizeof round->bytes);
    int n = snprintf(ret, STN_FILE_PATH_MAX, "%s/%s", spool->folder, hex);
    assert(n > 0 && n < STN_FILE_PATH_MAX - 128);
}

void stn_spool_path(const struct stn_spool *spool, const struct stn_round_id *round, const struct stn_id *device,
                    char ret[static STN_FILE_PATH_MAX])
{
    char hex[DEVICE_TEXT];
    stn_spool_folder(spool, round, ret);
    stn_hex_put(hex, device->bytes, sizeof device->bytes);
    size_t n = strlen(ret);
    (void)snprintf(ret + n, STN_FILE_PATH_MAX - n, "/%s", hex);
}

static enum stn_code list_missing(const struct stn_parts *parts, struct stn_arena *arena, struct stn_msg_missing *ret,
                                  struct stn_err *err)
{
    size_t n = stn_parts_n_missing(parts);
    if (stn_parts_n(parts) > STN_MSG_LEAVES) {
        return stn_err_set(err, STN_LIMIT, "an upload of %zu chunks, at most %d", stn_parts_n(parts), STN_MSG_LEAVES);
    }
    uint32_t *missing = stn_arena_new(arena, n + 1, sizeof *missing);
    if (missing == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to list %zu missing chunks", n);
    }
    size_t i = 0;
    for (uint32_t m = 0; m < n; m++) {
        i = stn_parts_next_missing(parts, i);
        missing[m] = (uint32_t)i++;
    }
    ret->n_missing = (uint32_t)n;
    ret->missing = missing;
    return STN_OK;
}

enum stn_code stn_spool_begin(const struct stn_spool *spool, const struct stn_server_upload *upload,
                              struct stn_arena *arena, struct stn_msg_missing *ret, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_msg_missing missing = {.round = upload->round,
                                      .n_chunks = (uint32_t)stn_digest_n_chunks(upload->size)};
    uint64_t size = 0;
    stn_spool_path(spool, &upload->round, &upload->device, path);
    if (stn_file_size(path, &size, NULL) == STN_OK && size == upload->size) {
        *ret = missing;
        return STN_OK;
    }
    struct stn_parts *parts = NULL;
    stn_spool_folder(spool, &upload->round, path);
    enum stn_code code = stn_file_make_folder(path, 0700, err);
    if (code == STN_OK) {
        stn_spool_path(spool, &upload->round, &upload->device, path);
        code = stn_parts_open(&parts, path, upload->size, err);
    }
    if (code == STN_OK) {
        code = list_missing(parts, arena, &missing, err);
    }
    if (code == STN_OK) {
        *ret = missing;
    }
    stn_parts_close(parts);
    return code;
}

/* The upload's size as it was begun: that of the .part. */
static enum stn_code size_of_part(const char *path, uint64_t *ret, struct stn_err *err)
{
    char part[STN_FILE_PATH_MAX];
    (void)snprintf(part, sizeof part, "%.*s.part", STN_FILE_PATH_MAX - 8, path);
    return stn_file_size(part, ret, err);
}

enum stn_code stn_spool_put(const struct stn_spool *spool, const struct stn_id *device,
                            const struct stn_msg_put_chunk *chunk, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_parts *parts = NULL;
    uint64_t size = 0;
    stn_spool_path(spool, &chunk->round, device, path);
    if (stn_file_exists(path)) {
        return STN_OK; /* all of it is there, and checked */
    }
    enum stn_code code = size_of_part(path, &size, err);
    if (code == STN_OK) {
        code = stn_parts_open(&parts, path, size, err);
    }
    if (code == STN_OK) {
        code = stn_parts_put(parts, chunk->index, chunk->data, chunk->size, err);
    }
    stn_parts_close(parts);
    return code;
}

/* Gives the whole file its name. */
static enum stn_code finish(const char *path, const struct stn_server_upload *upload, struct stn_err *err)
{
    struct stn_parts *parts = NULL;
    uint64_t size = 0;
    enum stn_code code = size_of_part(path, &size, err);
    if (code == STN_NOT_FOUND || (code == STN_OK && size != upload->size)) {
        return stn_err_set(err, STN_INVALID, "an upload of %llu bytes that was not begun",
                           (unsigned long long)upload->size);
    }
    if (code == STN_OK) {
        code = stn_parts_open(&parts, path, upload->size, err);
    }
    if (code == STN_OK && stn_parts_n_missing(parts) > 0) {
        code = stn_err_set(err, STN_INVALID, "%zu of %zu chunks are missing", stn_parts_n_missing(parts),
                           stn_parts_n(parts));
    }
    if (code == STN_OK) {
        code = stn_parts_finish(parts, err);
    }
    stn_parts_close(parts);
    return code;
}

enum stn_code stn_spool_check(const struct stn_spool *spool, const struct stn_server_upload *upload,
                              struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_file_map map = {0};
    stn_spool_path(spool, &upload->round, &upload->device, path);
    enum stn_code code = stn_file_exists(path) ? STN_OK : finish(path, upload, err);
    if (code == STN_OK) {
        code = stn_file_map(&map, path, STN_FILE_USE_ONCE, err);
    }
    if (code != STN_OK) {
        return code;
    }
    struct stn_digest digest = stn_digest_blob(map.data, map.size);
    if (map.size != upload->size || !stn_digest_equal(&digest, &upload->digest)) {
        code = stn_err_set(err, STN_CORRUPT, "the upload's bytes are not its digest's");
    }
    stn_file_unmap(&map);
    return code;
}

void stn_spool_remove(const struct stn_spool *spool, const struct stn_round_id *round, const struct stn_id *device)
{
    char path[STN_FILE_PATH_MAX];
    stn_spool_path(spool, round, device, path);
    stn_parts_remove(path);
    stn_err_ignore(stn_file_remove(path, NULL)); /* there is none when the upload was not checked */
}

void stn_spool_remove_round(const struct stn_spool *spool, const struct stn_round_id *round)
{
    struct stn_err err;
    char folder[STN_FILE_PATH_MAX];
    stn_spool_folder(spool, round, folder);
    enum stn_code code = stn_file_remove_tree(folder, &err);
    if (code != STN_OK && code != STN_NOT_FOUND) {
        stn_log_err(STN_LOG_WARN, "round_left", &err);
    }
}
