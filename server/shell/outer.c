#include "server/shell/outer.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

/* A state is the magic, the kind, how many slices; for each the slice, its number of values, then m and v as the kind has
 * them. All little endian. */
#define MAGIC 0x324d5453u /* "STM2" */

/* ---- the kinds ---- */

static void avg(const struct stn_outer_spec *s, double d, double *x, double *m, double *v)
{
    (void)m;
    (void)v;
    *x += s->rate * d;
}

static void momentum(const struct stn_outer_spec *s, double d, double *x, double *m, double *v)
{
    (void)v;
    *m = s->momentum * *m + d;
    *x += s->rate * *m;
}

static void nesterov(const struct stn_outer_spec *s, double d, double *x, double *m, double *v)
{
    (void)v;
    *m = s->momentum * *m + d;
    *x += s->rate * (d + s->momentum * *m);
}

static void adam(const struct stn_outer_spec *s, double d, double *x, double *m, double *v)
{
    *m = s->beta1 * *m + (1 - s->beta1) * d;
    *v = s->beta2 * *v + (1 - s->beta2) * d * d;
    *x += s->rate * *m / (sqrt(*v) + s->eps);
}

static void yogi(const struct stn_outer_spec *s, double d, double *x, double *m, double *v)
{
    const double square = d * d, sign = (double)((*v > square) - (*v < square));
    *m = s->beta1 * *m + (1 - s->beta1) * d;
    *v -= (1 - s->beta2) * square * sign;
    *x += s->rate * *m / (sqrt(*v) + s->eps);
}

static const struct row {
    void (*step)(const struct stn_outer_spec *s, double d, double *x, double *m, double *v);
    bool has_m, has_v;
    double rate;
} rows[STN_OUTER_KINDS] = {
    [STN_OUTER_AVG] = {avg, false, false, 1},         [STN_OUTER_MOMENTUM] = {momentum, true, false, 0.7},
    [STN_OUTER_NESTEROV] = {nesterov, true, false, 0.7}, [STN_OUTER_ADAM] = {adam, true, true, 0.01},
    [STN_OUTER_YOGI] = {yogi, true, true, 0.01},
};

const char *const stn_outer_names[STN_OUTER_KINDS + 1] = {
    [STN_OUTER_AVG] = "avg",   [STN_OUTER_MOMENTUM] = "momentum", [STN_OUTER_NESTEROV] = "nesterov",
    [STN_OUTER_ADAM] = "adam", [STN_OUTER_YOGI] = "yogi",
};

struct stn_outer_spec stn_outer_defaults(enum stn_outer kind)
{
    return (struct stn_outer_spec){
        .kind = kind, .rate = rows[kind].rate, .momentum = 0.9, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-3};
}

/* ---- the state ---- */

/* m and v (n) as at first. */
static enum stn_code begin(struct stn_outer_moments *ret, const struct stn_outer_spec *spec, size_t n, struct stn_err *err)
{
    const struct row *row = &rows[spec->kind];
    *ret = (struct stn_outer_moments){.n = n};
    ret->m = row->has_m ? stn_mem_new(n, sizeof *ret->m) : NULL;
    ret->v = row->has_v ? stn_mem_new(n, sizeof *ret->v) : NULL;
    if ((row->has_m && ret->m == NULL) || (row->has_v && ret->v == NULL)) {
        return stn_err_set(err, STN_MEMORY, "no memory for the optimiser's state of %zu values", n);
    }
    for (size_t i = 0; row->has_v && i < n; i++) {
        ret->v[i] = (float)(spec->eps * spec->eps);
    }
    return STN_OK;
}

_Static_assert(sizeof(float) == 4 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are copied as they lie in memory");

static bool take_values(struct stn_cursor *cursor, float *values, size_t n, float least)
{
    const uint8_t *from = values == NULL ? NULL : stn_buf_take(cursor, n * sizeof *values);
    if (from == NULL) {
        return values == NULL;
    }
    memcpy(values, from, n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i]) || values[i] < least) {
            return false;
        }
    }
    return true;
}

static enum stn_code take_slice(struct stn_outer_state *state, const struct stn_outer_spec *spec, struct stn_cursor *cursor,
                                struct stn_err *err)
{
    uint32_t slice = stn_buf_take_u32(cursor);
    uint64_t n = stn_buf_take_u64(cursor);
    if (cursor->failed || slice >= STN_OUTER_SLICES || state->of[slice].n != 0 || n == 0 || n > (cursor->size - cursor->at) / sizeof(float)) {
        return stn_err_set(err, STN_CORRUPT, "the optimiser's state has %llu values in slice %u", (unsigned long long)n, slice);
    }
    struct stn_outer_moments *to = &state->of[slice];
    enum stn_code code = begin(to, spec, (size_t)n, err);
    if (code == STN_OK && (!take_values(cursor, to->m, to->n, -INFINITY) || !take_values(cursor, to->v, to->n, 0))) {
        code = stn_err_set(err, STN_CORRUPT, "the optimiser's state has numbers that it cannot have, in slice %u", slice);
    }
    return code;
}

static enum stn_code take_all(struct stn_outer_state *state, const struct stn_outer_spec *spec, const uint8_t *p, size_t size,
                              struct stn_err *err)
{
    struct stn_cursor cursor = stn_buf_cursor(p, size);
    uint32_t magic = stn_buf_take_u32(&cursor), kind = stn_buf_take_u32(&cursor), n_slices = stn_buf_take_u32(&cursor);
    if (cursor.failed || magic != MAGIC || kind != spec->kind || n_slices > STN_OUTER_SLICES) {
        return stn_err_set(err, STN_CORRUPT, "%zu bytes are no optimiser's state of kind %s", size, stn_outer_names[spec->kind]);
    }
    enum stn_code code = STN_OK;
    for (uint32_t i = 0; code == STN_OK && i < n_slices; i++) {
        code = take_slice(state, spec, &cursor, err);
    }
    if (code == STN_OK && cursor.at != cursor.size) {
        code = stn_err_set(err, STN_CORRUPT, "%zu bytes behind the optimiser's state", cursor.size - cursor.at);
    }
    return code;
}

enum stn_code stn_outer_read(struct stn_outer_state *ret, const struct stn_outer_spec *spec, enum stn_slice slice, size_t n,
                             const uint8_t *p, size_t size, struct stn_err *err)
{
    struct stn_outer_state state = {0};
    assert(spec->kind < STN_OUTER_KINDS);
    enum stn_code code = size == 0 ? STN_OK : take_all(&state, spec, p, size, err);
    if (code == STN_OK && state.of[slice].n == 0) {
        code = begin(&state.of[slice], spec, n, err);
    }
    if (code == STN_OK && state.of[slice].n != n) {
        code = stn_err_set(err, STN_CORRUPT, "the optimiser's state is of %zu values, not of %zu", state.of[slice].n, n);
    }
    if (code != STN_OK) {
        stn_outer_fini(&state);
        return code;
    }
    *ret = state;
    return STN_OK;
}

static void add_values(struct stn_buf *buf, const float *values, size_t n)
{
    if (values != NULL) {
        (void)stn_buf_add(buf, values, n * sizeof *values);
    }
}

enum stn_code stn_outer_write(const struct stn_outer_state *state, const struct stn_outer_spec *spec, struct stn_buf *ret,
                              struct stn_err *err)
{
    uint32_t n_slices = 0;
    if (!rows[spec->kind].has_m) {
        return STN_OK;
    }
    for (size_t i = 0; i < STN_OUTER_SLICES; i++) {
        n_slices += state->of[i].n > 0;
    }
    (void)stn_buf_add_u32(ret, MAGIC);
    (void)stn_buf_add_u32(ret, spec->kind);
    (void)stn_buf_add_u32(ret, n_slices);
    for (uint32_t i = 0; i < STN_OUTER_SLICES; i++) {
        const struct stn_outer_moments *from = &state->of[i];
        if (from->n > 0) {
            (void)stn_buf_add_u32(ret, i);
            (void)stn_buf_add_u64(ret, from->n);
            add_values(ret, from->m, from->n);
            add_values(ret, from->v, from->n);
        }
    }
    return ret->failed ? stn_err_set(err, STN_MEMORY, "no memory for the optimiser's state") : STN_OK;
}

void stn_outer_fini(struct stn_outer_state *state)
{
    for (size_t i = 0; i < STN_OUTER_SLICES; i++) {
        stn_mem_free(state->of[i].m);
        stn_mem_free(state->of[i].v);
    }
    *state = (struct stn_outer_state){0};
}

void stn_outer_step(struct stn_outer_state *state, const struct stn_outer_spec *spec, enum stn_slice slice, const float *mean,
                    float *x, size_t n)
{
    const struct row *row = &rows[spec->kind];
    struct stn_outer_moments *of = &state->of[slice];
    assert(of->n == n);
    for (size_t i = 0; i < n; i++) {
        double to = (double)x[i], m = row->has_m ? (double)of->m[i] : 0, v = row->has_v ? (double)of->v[i] : 0;
        row->step(spec, (double)mean[i], &to, &m, &v);
        x[i] = (float)to;
        if (row->has_m) {
            of->m[i] = (float)m;
        }
        if (row->has_v) {
            of->v[i] = (float)v;
        }
    }
}
