#include "server/shell/outer.h"

#include <assert.h>
#include <math.h>

/* A state is the magic, the kind, how many slices; for each the slice, its number of values, then m and v as the kind has
 * them. All little endian. They are moved where they lie. */
#define MAGIC 0x324d5453u /* "STM2" */
#define HEAD 12
#define SLICE_HEAD 12

/* ---- the kinds ---- */

/* n values: d is their mean deltas; m and v are moved too, where the kind has them. */
typedef void step_fn(const struct stn_outer_spec *s, size_t n, const float *d, float *x, float *m, float *v);

static void avg(const struct stn_outer_spec *s, size_t n, const float *d, float *x, float *m, float *v)
{
    (void)m;
    (void)v;
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((double)x[i] + s->rate * (double)d[i]);
    }
}

static void momentum(const struct stn_outer_spec *s, size_t n, const float *d, float *x, float *m, float *v)
{
    (void)v;
    for (size_t i = 0; i < n; i++) {
        double next = s->momentum * (double)m[i] + (double)d[i];
        x[i] = (float)((double)x[i] + s->rate * next);
        m[i] = (float)next;
    }
}

static void nesterov(const struct stn_outer_spec *s, size_t n, const float *d, float *x, float *m, float *v)
{
    (void)v;
    for (size_t i = 0; i < n; i++) {
        double next = s->momentum * (double)m[i] + (double)d[i];
        x[i] = (float)((double)x[i] + s->rate * ((double)d[i] + s->momentum * next));
        m[i] = (float)next;
    }
}

/* How far adam and yogi move, v being the next one. */
static void adapt(const struct stn_outer_spec *s, double d, double v, float *x, float *m)
{
    double next = s->beta1 * (double)*m + (1 - s->beta1) * d;
    *x = (float)((double)*x + s->rate * next / (sqrt(v) + s->eps));
    *m = (float)next;
}

static void adam(const struct stn_outer_spec *s, size_t n, const float *d, float *x, float *m, float *v)
{
    for (size_t i = 0; i < n; i++) {
        double by = (double)d[i], next = s->beta2 * (double)v[i] + (1 - s->beta2) * by * by;
        adapt(s, by, next, &x[i], &m[i]);
        v[i] = (float)next;
    }
}

static void yogi(const struct stn_outer_spec *s, size_t n, const float *d, float *x, float *m, float *v)
{
    for (size_t i = 0; i < n; i++) {
        double by = (double)d[i], square = by * by, sign = (double)(((double)v[i] > square) - ((double)v[i] < square));
        double next = (double)v[i] - (1 - s->beta2) * square * sign;
        adapt(s, by, next, &x[i], &m[i]);
        v[i] = (float)next;
    }
}

static const struct row {
    step_fn *step;
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

_Static_assert(sizeof(float) == 4 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are used as they lie in the bytes");
_Static_assert(HEAD % sizeof(float) == 0 && SLICE_HEAD % sizeof(float) == 0, "and there as aligned as the bytes are");

/* The next n of them, as they lie; NULL when they are not there, or not numbers from least on. */
static float *take_values(struct stn_buf *state, struct stn_cursor *cursor, size_t n, float least)
{
    float *values = (float *)(void *)(state->data + cursor->at);
    if (stn_buf_take(cursor, n * sizeof *values) == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i]) || values[i] < least) {
            return NULL;
        }
    }
    return values;
}

static enum stn_code take_slice(struct stn_outer_moments of[static STN_OUTER_SLICES], const struct row *row, struct stn_buf *state,
                                struct stn_cursor *cursor, struct stn_err *err)
{
    uint32_t slice = stn_buf_take_u32(cursor);
    uint64_t n = stn_buf_take_u64(cursor);
    if (cursor->failed || slice >= STN_OUTER_SLICES || of[slice].n != 0 || n == 0 || n > (cursor->size - cursor->at) / sizeof(float)) {
        return stn_err_set(err, STN_CORRUPT, "the optimiser's state has %llu values in slice %u", (unsigned long long)n, slice);
    }
    struct stn_outer_moments *to = &of[slice];
    to->n = (size_t)n;
    to->m = take_values(state, cursor, to->n, -INFINITY);
    to->v = row->has_v && to->m != NULL ? take_values(state, cursor, to->n, 0) : NULL;
    return to->m != NULL && (to->v != NULL) == row->has_v
               ? STN_OK
               : stn_err_set(err, STN_CORRUPT, "the optimiser's state has numbers that it cannot have, in slice %u", slice);
}

static enum stn_code take_all(struct stn_outer_moments of[static STN_OUTER_SLICES], const struct stn_outer_spec *spec,
                              struct stn_buf *state, struct stn_err *err)
{
    const struct row *row = &rows[spec->kind];
    struct stn_cursor cursor = stn_buf_cursor(state->data, state->size);
    uint32_t magic = stn_buf_take_u32(&cursor), kind = stn_buf_take_u32(&cursor), n_slices = stn_buf_take_u32(&cursor);
    if (cursor.failed || !row->has_m || magic != MAGIC || kind != spec->kind || n_slices > STN_OUTER_SLICES) {
        return stn_err_set(err, STN_CORRUPT, "%zu bytes are no optimiser's state of kind %s", state->size, stn_outer_names[spec->kind]);
    }
    enum stn_code code = STN_OK;
    for (uint32_t i = 0; code == STN_OK && i < n_slices; i++) {
        code = take_slice(of, row, state, &cursor, err);
    }
    if (code == STN_OK && cursor.at != cursor.size) {
        code = stn_err_set(err, STN_CORRUPT, "%zu bytes behind the optimiser's state", cursor.size - cursor.at);
    }
    return code;
}

/* A slice that moves for the first time goes behind the others. */
static enum stn_code begin(struct stn_outer_moments *ret, const struct stn_outer_spec *spec, enum stn_slice slice, size_t n,
                           struct stn_buf *state, struct stn_err *err)
{
    const struct row *row = &rows[spec->kind];
    const size_t before = state->size, n_floats = n * (1 + (size_t)row->has_v);
    if (before == 0) {
        (void)stn_buf_add_u32(state, MAGIC);
        (void)stn_buf_add_u32(state, spec->kind);
        (void)stn_buf_add_u32(state, 0);
    }
    (void)stn_buf_add_u32(state, slice);
    (void)stn_buf_add_u64(state, n);
    float *values = (float *)(void *)stn_buf_extend(state, n_floats * sizeof *values);
    if (state->failed) {
        state->failed = false;
        state->size = before;
        return stn_err_set(err, STN_MEMORY, "no memory for the optimiser's state of %zu values", n);
    }
    uint8_t *n_slices = state->data + HEAD - 4;
    stn_buf_put_u32(n_slices, stn_buf_get_u32(n_slices) + 1);
    for (size_t i = 0; i < n_floats; i++) {
        values[i] = i < n ? 0 : (float)(spec->eps * spec->eps);
    }
    *ret = (struct stn_outer_moments){.n = n, .m = values, .v = row->has_v ? values + n : NULL};
    return STN_OK;
}

enum stn_code stn_outer_find(struct stn_outer_moments *ret, const struct stn_outer_spec *spec, enum stn_slice slice, size_t n,
                             struct stn_buf *state, struct stn_err *err)
{
    struct stn_outer_moments of[STN_OUTER_SLICES] = {{0}};
    assert(spec->kind < STN_OUTER_KINDS);
    enum stn_code code = state->size == 0 ? STN_OK : take_all(of, spec, state, err);
    if (code == STN_OK && !rows[spec->kind].has_m) {
        of[slice].n = n;
    } else if (code == STN_OK && of[slice].n == 0) {
        code = begin(&of[slice], spec, slice, n, state, err);
    }
    if (code == STN_OK && of[slice].n != n) {
        code = stn_err_set(err, STN_CORRUPT, "the optimiser's state is of %zu values, not of %zu", of[slice].n, n);
    }
    if (code == STN_OK) {
        *ret = of[slice];
    }
    return code;
}

void stn_outer_step(const struct stn_outer_moments *moments, const struct stn_outer_spec *spec, size_t first, size_t n,
                    const float *mean, float *x)
{
    assert(first <= moments->n && n <= moments->n - first);
    rows[spec->kind].step(spec, n, mean, x, moments->m == NULL ? NULL : moments->m + first,
                          moments->v == NULL ? NULL : moments->v + first);
}
