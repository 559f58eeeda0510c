#include "compute/model/panels.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "io/file.h"

#define MAGIC "STNPANEL"
#define SUFFIX ".panels"
#define PAGE 4096       /* where each matrix begins, so that it can be dropped alone */
#define HEAD 64         /* bytes: magic, layout, number of matrices, the model's identity */
#define ENTRY 40        /* bytes of a matrix: rows, cols, offset, scale and whether blocks have theirs */
#define LOOKED_AT ((size_t)1 << 20) /* bytes of the model's file that count for its identity */

struct stn_panels {
    struct stn_file_map map;
    const struct stn_panels_matrix *matrices; /* a copy */
    size_t n_matrices;
};

static uint64_t round_up(uint64_t n)
{
    return (n + PAGE - 1) / PAGE * PAGE;
}

/* What the model's file is. A file that is replaced or written to is another. */
static enum stn_code identify(const struct stn_panels_place *place, struct stn_digest *ret, struct stn_err *err)
{
    const struct stn_gguf *gguf = place->gguf;
    struct stat is;
    if (stat(gguf->path, &is) != 0) {
        return stn_err_errno(err, errno, "%s", gguf->path);
    }
    uint8_t facts[48];
    stn_buf_put_u64(facts, (uint64_t)is.st_dev);
    stn_buf_put_u64(facts + 8, (uint64_t)is.st_ino);
    stn_buf_put_u64(facts + 16, (uint64_t)is.st_size);
    stn_buf_put_u64(facts + 24, (uint64_t)is.st_mtim.tv_sec);
    stn_buf_put_u64(facts + 32, (uint64_t)is.st_mtim.tv_nsec);
    stn_buf_put_u64(facts + 40, place->variant);
    struct stn_digest_state state;
    stn_digest_init(&state);
    stn_digest_add(&state, facts, sizeof facts);
    stn_digest_add(&state, gguf->data, gguf->size < LOOKED_AT ? gguf->size : LOOKED_AT);
    *ret = stn_digest_end(&state);
    return STN_OK;
}

static enum stn_code name_file(char path[static STN_FILE_PATH_MAX], const char *folder, const struct stn_digest *identity,
                               struct stn_err *err)
{
    char text[STN_DIGEST_TEXT], name[STN_DIGEST_TEXT + 32];
    stn_digest_put_text(identity, text);
    (void)snprintf(name, sizeof name, "%s-%d" SUFFIX, text, STN_TERNARY_LAYOUT);
    return stn_file_join(path, folder, name, err);
}

static void put_head(uint8_t head[static HEAD], const struct stn_digest *identity, size_t n_matrices)
{
    memset(head, 0, HEAD);
    memcpy(head, MAGIC, 8);
    stn_buf_put_u64(head + 8, STN_TERNARY_LAYOUT);
    stn_buf_put_u64(head + 16, n_matrices);
    memcpy(head + 24, identity->bytes, sizeof identity->bytes);
}

/* ---- reading ---- */

/* The parts of a matrix; false when the file is not what it says. */
static bool parts_of(const struct stn_panels *panels, size_t i, struct stn_ternary_parts *ret)
{
    const uint8_t *entry = panels->map.data + HEAD + i * ENTRY;
    uint64_t offset = stn_buf_get_u64(entry + 16), has_scales = stn_buf_get_u64(entry + 32);
    uint32_t bits = stn_buf_get_u32(entry + 24);
    stn_ternary_measure(panels->matrices[i].rows, panels->matrices[i].cols, ret);
    ret->scales_size = has_scales == 1 ? ret->scales_size : 0;
    if (stn_buf_get_u64(entry) != panels->matrices[i].rows || stn_buf_get_u64(entry + 8) != panels->matrices[i].cols ||
        has_scales > 1 || offset % PAGE != 0 || offset > panels->map.size ||
        ret->panels_size + ret->scales_size > panels->map.size - offset) {
        return false;
    }
    ret->panels = panels->map.data + offset;
    ret->block_scales = has_scales == 1 ? (const float *)(const void *)(ret->panels + ret->panels_size) : NULL;
    memcpy(&ret->scale, &bits, sizeof bits);
    return isfinite(ret->scale);
}

static bool is_whole(const struct stn_panels *panels, const struct stn_digest *identity)
{
    uint8_t head[HEAD];
    struct stn_ternary_parts parts;
    put_head(head, identity, panels->n_matrices);
    if (panels->map.size < HEAD + panels->n_matrices * ENTRY || memcmp(panels->map.data, head, HEAD) != 0) {
        return false;
    }
    for (size_t i = 0; i < panels->n_matrices; i++) {
        if (!parts_of(panels, i, &parts)) {
            return false;
        }
    }
    return true;
}

enum stn_code stn_panels_open(struct stn_panels **ret, const struct stn_panels_place *place,
                              const struct stn_panels_matrix *matrices, size_t n_matrices, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_digest identity;
    struct stn_panels *panels = stn_mem_new(1, sizeof *panels);
    if (panels == NULL || (panels->matrices = stn_mem_copy(matrices, n_matrices * sizeof *matrices)) == NULL) {
        stn_mem_free(panels);
        return stn_err_set(err, STN_MEMORY, "no memory for %zu matrices", n_matrices);
    }
    panels->n_matrices = n_matrices;
    enum stn_code code = identify(place, &identity, err);
    code = code != STN_OK ? code : name_file(path, place->folder, &identity, err);
    code = code != STN_OK ? code : stn_file_map(&panels->map, path, STN_FILE_USE_ONCE, err);
    if (code == STN_OK && !is_whole(panels, &identity)) {
        code = stn_err_set(err, STN_NOT_FOUND, "%.200s is no file of this model's panels", path);
    }
    if (code != STN_OK) {
        stn_panels_close(panels);
        return code;
    }
    (void)utimensat(AT_FDCWD, path, NULL, 0); /* used: the longest unused go first; it may be another's file */
    *ret = panels;
    return STN_OK;
}

void stn_panels_close(struct stn_panels *panels)
{
    if (panels != NULL) {
        stn_file_unmap(&panels->map);
        stn_mem_free((void *)(uintptr_t)panels->matrices);
        stn_mem_free(panels);
    }
}

enum stn_code stn_panels_take(const struct stn_panels *panels, size_t i, struct stn_ternary **ret, struct stn_err *err)
{
    struct stn_ternary_parts parts;
    if (!parts_of(panels, i, &parts)) {
        return stn_err_set(err, STN_CORRUPT, "matrix %zu of a file of panels is not where it was", i);
    }
    return stn_ternary_borrow(ret, panels->matrices[i].rows, panels->matrices[i].cols, &parts, err);
}

/* ---- making ---- */

struct oldest {
    const char *folder;
    size_t n_files;
    struct timespec when;
    char path[STN_FILE_PATH_MAX];
};

static enum stn_code look_at(void *user, const char *name, struct stn_err *err)
{
    struct oldest *oldest = user;
    char path[STN_FILE_PATH_MAX];
    struct stat is;
    if (!stn_str_ends(name, SUFFIX) || stn_file_join(path, oldest->folder, name, err) != STN_OK || stat(path, &is) != 0) {
        return STN_OK;
    }
    if (oldest->n_files++ == 0 || is.st_mtim.tv_sec < oldest->when.tv_sec) {
        oldest->when = is.st_mtim;
        (void)stn_str_copy(oldest->path, sizeof oldest->path, path);
    }
    return STN_OK;
}

/* Until one more file may be put there. What cannot be removed stays. */
static void remove_old(const char *folder)
{
    struct oldest oldest;
    do {
        oldest = (struct oldest){.folder = folder};
        if (stn_file_list(folder, look_at, &oldest, NULL) != STN_OK || oldest.n_files < STN_PANELS_KEPT) {
            return;
        }
    } while (stn_file_remove(oldest.path, NULL) == STN_OK);
}

/* Bytes if every block of every matrix had its scale. */
static uint64_t most_bytes(const struct stn_panels_matrix *matrices, size_t n_matrices)
{
    uint64_t sum = round_up(HEAD + n_matrices * ENTRY);
    for (size_t i = 0; i < n_matrices; i++) {
        struct stn_ternary_parts parts;
        stn_ternary_measure(matrices[i].rows, matrices[i].cols, &parts);
        sum += round_up(parts.panels_size + parts.scales_size);
    }
    return sum;
}

static enum stn_code put_matrix(struct stn_file_draft *draft, const struct stn_ternary *w, uint64_t *offset, uint8_t *entry,
                                struct stn_err *err)
{
    struct stn_ternary_parts parts;
    uint32_t bits;
    stn_ternary_apart(w, &parts);
    memcpy(&bits, &parts.scale, sizeof bits);
    memset(entry, 0, ENTRY);
    stn_buf_put_u64(entry, stn_ternary_rows(w));
    stn_buf_put_u64(entry + 8, stn_ternary_cols(w));
    stn_buf_put_u64(entry + 16, *offset);
    stn_buf_put_u32(entry + 24, bits);
    stn_buf_put_u64(entry + 32, parts.scales_size > 0 ? 1 : 0);
    enum stn_code code = stn_file_pwrite(draft->fd, draft->temporary, parts.panels, parts.panels_size, *offset, err);
    if (code == STN_OK && parts.scales_size > 0) {
        code = stn_file_pwrite(draft->fd, draft->temporary, parts.block_scales, parts.scales_size, *offset + parts.panels_size,
                               err);
    }
    *offset = round_up(*offset + parts.panels_size + parts.scales_size);
    return code;
}

static enum stn_code put_all(struct stn_file_draft *draft, const struct stn_digest *identity, size_t n_matrices,
                             enum stn_code (*pack)(void *context, size_t i, struct stn_ternary **ret, struct stn_err *err),
                             void *context, struct stn_err *err)
{
    size_t size = HEAD + n_matrices * ENTRY;
    uint64_t offset = round_up(size);
    uint8_t *head = stn_mem_new(size, 1);
    enum stn_code code = head == NULL ? stn_err_set(err, STN_MEMORY, "no memory for %zu matrices", n_matrices) : STN_OK;
    for (size_t i = 0; i < n_matrices && code == STN_OK; i++) {
        struct stn_ternary *w = NULL;
        code = pack(context, i, &w, err);
        code = code != STN_OK ? code : put_matrix(draft, w, &offset, head + HEAD + i * ENTRY, err);
        stn_ternary_free(w);
    }
    if (code == STN_OK) {
        put_head(head, identity, n_matrices);
        code = stn_file_pwrite(draft->fd, draft->temporary, head, size, 0, err);
    }
    stn_mem_free(head);
    return code;
}

enum stn_code stn_panels_make(const struct stn_panels_place *place, const struct stn_panels_matrix *matrices,
                              size_t n_matrices,
                              enum stn_code (*pack)(void *context, size_t i, struct stn_ternary **ret, struct stn_err *err),
                              void *context, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_digest identity;
    struct stn_file_draft draft;
    uint64_t room = 0, most = most_bytes(matrices, n_matrices);
    enum stn_code code = stn_file_make_folder(place->folder, 0700, err);
    code = code != STN_OK ? code : identify(place, &identity, err);
    code = code != STN_OK ? code : name_file(path, place->folder, &identity, err);
    if (code == STN_OK) {
        remove_old(place->folder);
        code = stn_file_free_space(place->folder, &room, err);
    }
    if (code == STN_OK && (room < STN_PANELS_MARGIN || room - STN_PANELS_MARGIN < most)) {
        code = stn_err_set(err, STN_FULL, "%.150s has room for %llu bytes, panels take up to %llu", place->folder,
                           (unsigned long long)room, (unsigned long long)most);
    }
    code = code != STN_OK ? code : stn_file_draft(&draft, path, STN_FILE_SECRET, err);
    if (code == STN_OK) {
        code = put_all(&draft, &identity, n_matrices, pack, context, err);
        if (code == STN_OK) {
            code = stn_file_draft_keep(&draft, err);
        } else {
            stn_file_draft_drop(&draft);
        }
    }
    return code;
}
