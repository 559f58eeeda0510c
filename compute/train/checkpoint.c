#include "compute/train/checkpoint.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

#define MAGIC "STNCKPT2"
#define MAGIC_SIZE 8
#define HEAD (MAGIC_SIZE + 4)
#define N_COUNTS 15
#define N_REALS 8
#define STATE (8 * (N_COUNTS + N_REALS))

enum stn_code stn_checkpoint_identity(struct stn_buf *ret, const struct stn_checkpoint_subject *subject,
                                      struct stn_err *err)
{
    const struct stn_trainer_config *c = subject->config;
    const struct stn_trainer_run *run = subject->run;
    char model[STN_DIGEST_TEXT], data[STN_DIGEST_TEXT], start[STN_DIGEST_TEXT];
    stn_digest_put_text(&subject->model, model);
    stn_digest_put_text(&subject->data, data);
    stn_digest_put_text(&subject->start, start);
    (void)stn_buf_printf(ret, "model=%s\ndata=%s\nadapter=%s\n", model, data, start);
    (void)stn_buf_printf(ret, "steps=%llu\nseed=%llu\nctx=%zu\nbatch tokens=%zu\npass tokens=%zu\nbatch examples=%zu\n",
                         (unsigned long long)subject->n_steps, (unsigned long long)run->seed, c->context, c->batch_tokens,
                         stn_trainer_pass_tokens(c), c->batch_examples);
    (void)stn_buf_printf(ret, "lr=%.17g\nschedule=%s\nwarmup=%.17g\nclip=%.17g\n", c->lr,
                         stn_schedule_names[c->schedule], c->warmup, c->clip);
    if (subject->watch != NULL) {
        struct stn_digest held = stn_dataset_digest(subject->watch->dataset);
        stn_digest_put_text(&held, data);
    }
    (void)stn_buf_printf(ret, "backend=%s\n", c->backend == NULL ? "cpu" : c->backend);
    (void)stn_buf_printf(ret, "factors=%d\ndropout=%.9g\nvalidation=%s\nvalidation steps=%llu\npatience=%llu\n", (int)c->slice, (double)c->dropout,
                         subject->watch == NULL ? "none" : data,
                         (unsigned long long)(subject->watch == NULL ? 0 : subject->watch->every),
                         (unsigned long long)(subject->watch == NULL ? 0 : subject->watch->patience));
    (void)stn_buf_printf(ret, "adamw=%.17g %.17g %.17g %.17g\nbackward=%s\nrounding seed=%llu\nprox=%.17g\n", c->beta1,
                         c->beta2, c->eps, c->weight_decay, c->backward == STN_BACKWARD_INT8 ? "int8" : "exact",
                         (unsigned long long)c->seed, run->prox);
    if (!stn_buf_add_u8(ret, 0)) {
        return stn_err_set(err, STN_MEMORY, "no memory for a checkpoint's identity");
    }
    ret->size--;
    return STN_OK;
}

/* A state with room for the trainer's values, in one block that the caller frees. */
static float *new_state(struct stn_trainer_state *state, size_t n)
{
    float *block = stn_mem_new(n, 3 * sizeof *block);
    *state = (struct stn_trainer_state){.values = block};
    if (block != NULL) {
        state->m = block + n;
        state->v = block + 2 * n;
    }
    return block;
}

/* Where the vectors begin behind so many bytes: as a map of the file has them aligned. */
static size_t aligned(size_t size)
{
    return (size + STN_MEM_ALIGN - 1) / STN_MEM_ALIGN * STN_MEM_ALIGN;
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

static bool put_head(struct stn_buf *buf, const char *identity, size_t n, const struct stn_trainer_state *s,
                     const struct stn_watch *watch)
{
    const struct stn_trainer_totals *t = &s->totals;
    struct stn_watch_state w = {0};
    if (watch != NULL) {
        w = *stn_watch_state(watch);
    }
    const uint64_t words[N_COUNTS + N_REALS] = {
        n, s->n_done, s->n_steps, s->position.epoch, s->position.index, s->n_updates, t->n_examples, t->n_rows,
        t->n_targets, t->n_first, t->n_last, w.n_looks, w.n_worse, w.last_step, w.best_step, bits_of(t->first_sum),
        bits_of(t->last_sum), bits_of(t->loss), bits_of(w.first_loss), bits_of(w.last_loss), bits_of(w.best_loss),
        bits_of(w.last_accuracy), bits_of(w.best_accuracy),
    };
    size_t size = strlen(identity);
    bool ok = stn_buf_add(buf, MAGIC, MAGIC_SIZE) && stn_buf_add_u32(buf, (uint32_t)size) &&
              stn_buf_add(buf, identity, size);
    for (size_t i = 0; ok && i < N_COUNTS + N_REALS; i++) {
        ok = stn_buf_add_u64(buf, words[i]);
    }
    for (size_t i = aligned(buf->size) - buf->size; ok && i > 0; i--) {
        ok = stn_buf_add_u8(buf, 0);
    }
    return ok;
}

/* Returns the n_values that the file states. */
static uint64_t take_state(struct stn_trainer_state *s, struct stn_watch_state *w, struct stn_cursor *cursor)
{
    struct stn_trainer_totals *t = &s->totals;
    uint64_t n;
    uint64_t *const counts[N_COUNTS] = {
        &n, &s->n_done, &s->n_steps, &s->position.epoch, &s->position.index, &s->n_updates, &t->n_examples,
        &t->n_rows, &t->n_targets, &t->n_first, &t->n_last, &w->n_looks, &w->n_worse, &w->last_step, &w->best_step,
    };
    double *const reals[N_REALS] = {&t->first_sum, &t->last_sum, &t->loss, &w->first_loss, &w->last_loss, &w->best_loss,
                                    &w->last_accuracy, &w->best_accuracy};
    for (size_t i = 0; i < N_COUNTS; i++) {
        *counts[i] = stn_buf_take_u64(cursor);
    }
    for (size_t i = 0; i < N_REALS; i++) {
        *reals[i] = real_of(stn_buf_take_u64(cursor));
    }
    return n;
}

/* values, m and v are one block of size bytes; best: a third of that, or NULL. */
static enum stn_code write_draft(const char *path, const struct stn_buf *head, const float *values, size_t size,
                                 const float *best, struct stn_err *err)
{
    size_t best_size = best == NULL ? 0 : size / 3;
    struct stn_digest_state hash;
    stn_digest_init(&hash);
    stn_digest_add(&hash, head->data, head->size);
    stn_digest_add(&hash, values, size);
    stn_digest_add(&hash, best, best_size);
    struct stn_digest digest = stn_digest_end(&hash);
    struct stn_file_draft draft;
    enum stn_code code = stn_file_draft(&draft, path, STN_FILE_SECRET, err);
    if (code != STN_OK) {
        return code;
    }
    if ((code = stn_file_draft_put(&draft, head->data, head->size, err)) != STN_OK ||
        (code = stn_file_draft_put(&draft, values, size, err)) != STN_OK ||
        (code = stn_file_draft_put(&draft, best, best_size, err)) != STN_OK ||
        (code = stn_file_draft_put(&draft, digest.bytes, sizeof digest.bytes, err)) != STN_OK) {
        stn_file_draft_drop(&draft);
        return code;
    }
    return stn_file_draft_keep(&draft, err);
}

enum stn_code stn_checkpoint_save(const char *folder, const char *identity, const struct stn_trainer *trainer,
                                  const struct stn_watch *watch, struct stn_err *err)
{
    size_t n = stn_trainer_n_values(trainer);
    char path[STN_FILE_PATH_MAX];
    struct stn_buf head = {0};
    struct stn_trainer_state state;
    void *block = new_state(&state, n);
    enum stn_code code = stn_file_make_folder(folder, 0700, err);
    if (code == STN_OK) {
        code = stn_file_join(path, folder, STN_CHECKPOINT_NAME, err);
    }
    if (code != STN_OK) {
        goto out;
    }
    if (block == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory for a checkpoint of %zu values", n);
        goto out;
    }
    if ((code = stn_trainer_save(trainer, &state, err)) != STN_OK) {
        goto out;
    }
    code = put_head(&head, identity, n, &state, watch)
               ? write_draft(path, &head, state.values, n * 3 * sizeof(float), watch == NULL ? NULL : stn_watch_best(watch), err)
               : stn_err_set(err, STN_MEMORY, "no memory for a checkpoint");
out:
    stn_buf_fini(&head);
    stn_mem_free(block);
    return code;
}

/* STN_INVALID with the first line of ours that the checkpoint's identity has otherwise. */
static enum stn_code check_identity(const char *theirs, size_t size, const char *ours, struct stn_err *err)
{
    if (size == strlen(ours) && memcmp(theirs, ours, size) == 0) {
        return STN_OK;
    }
    size_t line = 0, at = 0; /* line: where the line of at begins */
    while (at < size && ours[at] != '\0' && theirs[at] == ours[at]) {
        at++;
        line = theirs[at - 1] == '\n' ? at : line;
    }
    size_t n = size - line, m = strlen(ours) - line;
    const char *end = memchr(theirs + line, '\n', n);
    n = end == NULL ? n : (size_t)(end - (theirs + line));
    end = memchr(ours + line, '\n', m);
    m = end == NULL ? m : (size_t)(end - (ours + line));
    return stn_err_set(err, STN_INVALID, "the checkpoint is of another run: it has %.*s, this run %.*s",
                       n > 90 ? 90 : (int)n, theirs + line, m > 90 ? 90 : (int)m, ours + line);
}

/* The state behind the identity; all of it, or nothing. Vectors are used where they lie in the file. */
static enum stn_code read_state(struct stn_cursor *cursor, size_t body, struct stn_trainer *trainer, struct stn_watch *watch,
                                struct stn_err *err)
{
    size_t n = stn_trainer_n_values(trainer), n_vectors = watch == NULL ? 3 : 4;
    struct stn_trainer_state state = {0};
    struct stn_watch_state looks;
    uint64_t n_stated = take_state(&state, &looks, cursor);
    size_t at = aligned(cursor->at);
    if (n_stated != n || at > body || body - at != n * n_vectors * sizeof(float)) {
        return stn_err_set(err, STN_INVALID, "the checkpoint has %llu values, this run %zu", (unsigned long long)n_stated, n);
    }
    state.values = (float *)(uintptr_t)(cursor->data + at); /* nobody writes to it */
    state.m = state.values + n;
    state.v = state.values + 2 * n;
    enum stn_code code = stn_trainer_can_restore(trainer, &state, err);
    if (code == STN_OK && watch != NULL) {
        code = stn_watch_restore(watch, &looks, state.values + 3 * n, err);
    }
    return code != STN_OK ? code : stn_trainer_restore(trainer, &state, err);
}

static enum stn_code read_checkpoint(struct stn_cursor *cursor, const char *identity, struct stn_trainer *trainer,
                                     struct stn_watch *watch, struct stn_err *err)
{
    struct stn_digest digest = {0};
    size_t body = cursor->size < sizeof digest.bytes ? 0 : cursor->size - sizeof digest.bytes;
    if (body < HEAD + STATE || memcmp(cursor->data, MAGIC, MAGIC_SIZE) != 0) {
        return stn_err_set(err, STN_CORRUPT, "this is no checkpoint of this version of sterna");
    }
    struct stn_digest is = stn_digest_of(cursor->data, body);
    memcpy(digest.bytes, cursor->data + body, sizeof digest.bytes);
    (void)stn_buf_take(cursor, MAGIC_SIZE);
    size_t size = stn_buf_take_u32(cursor);
    if (!stn_digest_equal(&is, &digest) || size > STN_CHECKPOINT_IDENTITY_LIMIT || size > body - HEAD - STATE) {
        return stn_err_set(err, STN_CORRUPT, "the checkpoint is damaged: its bytes are not what its digest says");
    }
    enum stn_code code = check_identity((const char *)stn_buf_take(cursor, size), size, identity, err);
    return code != STN_OK ? code : read_state(cursor, body, trainer, watch, err);
}

enum stn_code stn_checkpoint_load(const char *folder, const char *identity, struct stn_trainer *trainer,
                                  struct stn_watch *watch, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_file_map map = {0};
    enum stn_code code = stn_file_join(path, folder, STN_CHECKPOINT_NAME, err);
    if (code == STN_OK) {
        code = stn_file_map(&map, path, STN_FILE_USE_ONCE, err);
    }
    if (code != STN_OK) {
        return code;
    }
    struct stn_cursor cursor = stn_buf_cursor(map.data, map.size);
    code = read_checkpoint(&cursor, identity, trainer, watch, err);
    if (code != STN_OK) {
        (void)stn_err_prefix(err, "%s", path);
    }
    stn_file_unmap(&map);
    return code;
}

/* A draft of a checkpoint: its writer is gone, because the folder is locked. */
static enum stn_code remove_draft(void *user, const char *name, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    if (!stn_str_starts(name, STN_CHECKPOINT_NAME ".") || !stn_str_ends(name, ".tmp")) {
        return STN_OK;
    }
    enum stn_code code = stn_file_join(path, user, name, err);
    return code != STN_OK ? code : stn_file_remove(path, err);
}

enum stn_code stn_checkpoint_claim(int *ret, const char *folder, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX], at[STN_FILE_PATH_MAX];
    int lock = -1;
    enum stn_code code = stn_file_make_folder(folder, 0700, err);
    code = code != STN_OK ? code : stn_file_join(path, folder, "lock", err);
    code = code != STN_OK ? code : stn_file_join(at, folder, ".", err);
    code = code != STN_OK ? code : stn_file_lock(&lock, path, err);
    code = code != STN_OK ? code : stn_file_list(at, remove_draft, at, err);
    if (code != STN_OK) {
        stn_file_close(lock);
        return code;
    }
    *ret = lock;
    return STN_OK;
}

bool stn_checkpoint_backend(const char *folder, char ret[static STN_CHECKPOINT_BACKEND])
{
    static const char line[] = "\nbackend=";
    char path[STN_FILE_PATH_MAX];
    struct stn_file_map map = {0};
    size_t n = 0;
    if (stn_file_join(path, folder, STN_CHECKPOINT_NAME, NULL) != STN_OK || stn_file_map(&map, path, STN_FILE_USE_ONCE, NULL) != STN_OK) {
        return false;
    }
    struct stn_cursor cursor = stn_buf_cursor(map.data, map.size);
    const uint8_t *magic = stn_buf_take(&cursor, MAGIC_SIZE);
    size_t size = stn_buf_take_u32(&cursor);
    size = size > STN_CHECKPOINT_IDENTITY_LIMIT ? 0 : size;
    const char *identity = (const char *)stn_buf_take(&cursor, size);
    const char *at = magic == NULL || memcmp(magic, MAGIC, MAGIC_SIZE) != 0 || identity == NULL ? NULL : memmem(identity, size, line, strlen(line));
    if (at != NULL) {
        at += strlen(line);
        const char *end = memchr(at, '\n', (size_t)(identity + size - at));
        n = end == NULL || end - at >= STN_CHECKPOINT_BACKEND ? 0 : (size_t)(end - at);
        memcpy(ret, at, n);
        ret[n] = '\0';
    }
    stn_file_unmap(&map);
    return n > 0;
}

bool stn_checkpoint_exists(const char *folder)
{
    char path[STN_FILE_PATH_MAX];
    return stn_file_join(path, folder, STN_CHECKPOINT_NAME, NULL) == STN_OK && stn_file_exists(path);
}
