#include "blob/parts.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/digest.h"
#include "io/file.h"

#define CHUNKS_MAX ((uint64_t)1 << 22) /* a terabyte */

struct stn_parts {
    char path[STN_FILE_PATH_MAX], part[STN_FILE_PATH_MAX], have_path[STN_FILE_PATH_MAX];
    int part_fd, have_fd;
    uint64_t size;
    size_t n, n_missing;
    uint8_t *have; /* (n) 1: the chunk is there; else 0 */
};

static enum stn_code name_files(struct stn_parts *parts, const char *path, struct stn_err *err)
{
    int n = snprintf(parts->path, sizeof parts->path, "%s", path);
    int m = snprintf(parts->part, sizeof parts->part, "%s.part", path);
    int k = snprintf(parts->have_path, sizeof parts->have_path, "%s.have", path);
    const int room = STN_FILE_PATH_MAX;
    if (n < 0 || m < 0 || k < 0 || n >= room || m >= room || k >= room) {
        return stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %d bytes", path, room - 6);
    }
    return STN_OK;
}

/* What .have says, if it and .part are of this size; else both begin again. */
static enum stn_code resume(struct stn_parts *parts, struct stn_err *err)
{
    uint64_t part_size = 0, have_size = 0;
    enum stn_code code = stn_file_size(parts->part, &part_size, err);
    if (code == STN_OK) {
        code = stn_file_size(parts->have_path, &have_size, err);
    }
    if (code == STN_OK && part_size == parts->size && have_size == parts->n) {
        code = stn_file_pread(parts->have_fd, parts->have_path, parts->have, parts->n, 0, err);
    } else if (code == STN_OK) {
        code = stn_file_truncate(parts->have_fd, parts->have_path, 0, err);
        if (code == STN_OK) {
            code = stn_file_truncate(parts->have_fd, parts->have_path, parts->n, err);
        }
        if (code == STN_OK) {
            code = stn_file_truncate(parts->part_fd, parts->part, parts->size, err);
        }
    }
    for (size_t i = 0; i < parts->n; i++) {
        parts->have[i] = parts->have[i] == 1;
        parts->n_missing += parts->have[i] == 0;
    }
    return code;
}

enum stn_code stn_parts_open(struct stn_parts **ret, const char *path, uint64_t size, struct stn_err *err)
{
    uint64_t n = stn_digest_n_chunks(size);
    if (n > CHUNKS_MAX) {
        return stn_err_set(err, STN_LIMIT, "%s: %llu bytes, at most %llu", path, (unsigned long long)size,
                           (unsigned long long)(CHUNKS_MAX * STN_DIGEST_CHUNK));
    }
    struct stn_parts *parts = stn_mem_new(1, sizeof *parts);
    if (parts == NULL) {
        return stn_err_set(err, STN_MEMORY, "%s: no memory", path);
    }
    parts->part_fd = parts->have_fd = -1;
    parts->size = size;
    parts->n = (size_t)n;
    enum stn_code code = name_files(parts, path, err);
    parts->have = stn_mem_new(parts->n, 1);
    if (code == STN_OK && parts->have == NULL) {
        code = stn_err_set(err, STN_MEMORY, "%s: no memory for %zu chunks", path, parts->n);
    }
    if (code == STN_OK) {
        code = stn_file_open(&parts->part_fd, parts->part, STN_FILE_WRITE, STN_FILE_SECRET, err);
    }
    if (code == STN_OK) {
        code = stn_file_open(&parts->have_fd, parts->have_path, STN_FILE_WRITE, STN_FILE_SECRET, err);
    }
    if (code == STN_OK) {
        code = resume(parts, err);
    }
    if (code != STN_OK) {
        stn_parts_close(parts);
        return code;
    }
    *ret = parts;
    return STN_OK;
}

void stn_parts_close(struct stn_parts *parts)
{
    if (parts == NULL) {
        return;
    }
    stn_file_close(parts->part_fd);
    stn_file_close(parts->have_fd);
    stn_mem_free(parts->have);
    stn_mem_free(parts);
}

size_t stn_parts_n(const struct stn_parts *parts)
{
    return parts->n;
}

size_t stn_parts_n_missing(const struct stn_parts *parts)
{
    return parts->n_missing;
}

bool stn_parts_has(const struct stn_parts *parts, size_t i)
{
    return i < parts->n && parts->have[i] == 1;
}

size_t stn_parts_next_missing(const struct stn_parts *parts, size_t i)
{
    while (i < parts->n && parts->have[i] == 1) {
        i++;
    }
    return i < parts->n ? i : parts->n;
}

size_t stn_parts_chunk_size(const struct stn_parts *parts, size_t i)
{
    return stn_digest_chunk_size(parts->size, i);
}

/* n chunks from i on, none of which is there. */
static enum stn_code put_missing(struct stn_parts *parts, size_t i, size_t n, const void *p, size_t size, struct stn_err *err)
{
    enum stn_code code = stn_file_pwrite(parts->part_fd, parts->part, p, size, (uint64_t)i * STN_DIGEST_CHUNK, err);
    if (code != STN_OK) {
        return code;
    }
    memset(parts->have + i, 1, n);
    code = stn_file_pwrite(parts->have_fd, parts->have_path, parts->have + i, n, i, err);
    if (code == STN_OK) {
        parts->n_missing -= n;
    } else {
        memset(parts->have + i, 0, n);
    }
    return code;
}

enum stn_code stn_parts_put(struct stn_parts *parts, size_t i, const void *p, size_t size, struct stn_err *err)
{
    const uint8_t *bytes = p;
    size_t end = i + (size + STN_DIGEST_CHUNK - 1) / STN_DIGEST_CHUNK;
    if (i >= parts->n || end == i || size != stn_digest_run_size(parts->size, i, end - i)) {
        return stn_err_set(err, STN_INVALID, "%s: %zu bytes from chunk %zu of %zu on do not fit", parts->path, size, i, parts->n);
    }
    enum stn_code code = STN_OK;
    for (size_t at = i, next; code == STN_OK && at < end; at = next) {
        next = at + 1;
        while (next < end && parts->have[next] == parts->have[at]) {
            next++;
        }
        if (parts->have[at] != 1) {
            code = put_missing(parts, at, next - at, bytes + (at - i) * STN_DIGEST_CHUNK,
                               stn_digest_run_size(parts->size, at, next - at), err);
        }
    }
    return code;
}

enum stn_code stn_parts_get(const struct stn_parts *parts, size_t i, void *p, size_t *ret_size, struct stn_err *err)
{
    assert(stn_parts_has(parts, i));
    *ret_size = stn_parts_chunk_size(parts, i);
    return stn_file_pread(parts->part_fd, parts->part, p, *ret_size, (uint64_t)i * STN_DIGEST_CHUNK, err);
}

enum stn_code stn_parts_forget(struct stn_parts *parts, size_t i, struct stn_err *err)
{
    assert(i < parts->n);
    parts->n_missing += parts->have[i] == 1;
    parts->have[i] = 0;
    return stn_file_pwrite(parts->have_fd, parts->have_path, parts->have + i, 1, i, err);
}

enum stn_code stn_parts_finish(struct stn_parts *parts, struct stn_err *err)
{
    assert(parts->n_missing == 0);
    enum stn_code code = stn_file_sync(parts->part_fd, parts->part, err);
    if (code == STN_OK) {
        code = stn_file_rename(parts->part, parts->path, err);
    }
    if (code == STN_OK) {
        stn_err_ignore(stn_file_remove(parts->have_path, NULL)); /* left behind it is removed with the next file of this name */
    }
    return code;
}

void stn_parts_remove(const char *path)
{
    static const char *const endings[] = {"part", "have"};
    for (size_t i = 0; i < 2; i++) {
        char name[STN_FILE_PATH_MAX];
        if (snprintf(name, sizeof name, "%s.%s", path, endings[i]) < (int)sizeof name) {
            stn_err_ignore(stn_file_remove(name, NULL));
        }
    }
}
