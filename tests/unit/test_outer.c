#include "tests/lib/run.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "server/shell/outer.h"

enum { N = 40, ROUNDS = 6 };

static struct stn_err err;
static float means[ROUNDS][N];

static void setup(void)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 3);
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < N; i++) {
            means[r][i] = (float)(0.01 * stn_rng_normal(&rng));
        }
    }
}

/* The formulas once more, one value at a time. */
static void expect(const struct stn_outer_spec *s, double d, double *x, double *m, double *v)
{
    double square = d * d;
    switch ((enum stn_outer)s->kind) {
    case STN_OUTER_AVG:
        *x = *x + s->rate * d;
        return;
    case STN_OUTER_MOMENTUM:
        *m = s->momentum * *m + d;
        *x = *x + s->rate * *m;
        return;
    case STN_OUTER_NESTEROV:
        *m = s->momentum * *m + d;
        *x = *x + s->rate * d + s->rate * s->momentum * *m;
        return;
    case STN_OUTER_ADAM:
        *v = s->beta2 * *v + (1 - s->beta2) * square;
        break;
    case STN_OUTER_YOGI:
        *v = *v > square ? *v - (1 - s->beta2) * square : *v < square ? *v + (1 - s->beta2) * square : *v;
        break;
    }
    *m = s->beta1 * *m + (1 - s->beta1) * d;
    *x = *x + s->rate * *m / (sqrt(*v) + s->eps);
}

START_TEST(every_kind_is_its_formula_round_after_round)
{
    const struct stn_outer_spec spec = stn_outer_defaults((enum stn_outer)_i);
    struct stn_outer_moments moments;
    struct stn_buf state = {0};
    float x[N] = {0};
    double want[N] = {0}, m[N] = {0}, v[N];
    ck_assert_int_eq(stn_outer_find(&moments, &spec, STN_SLICE_BOTH, N, &state, &err), STN_OK);
    for (int i = 0; i < N; i++) {
        v[i] = spec.eps * spec.eps;
    }
    for (int r = 0; r < ROUNDS; r++) {
        stn_outer_step(&moments, &spec, 0, N, means[r], x);
        for (int i = 0; i < N; i++) {
            expect(&spec, (double)means[r][i], &want[i], &m[i], &v[i]);
            ck_assert_double_eq_tol((double)x[i], want[i], 1e-6 * (1 + fabs(want[i])));
        }
    }
    ck_assert_double_gt(fabs(want[0]), 0);
    stn_buf_fini(&state);
}
END_TEST

START_TEST(a_state_that_is_found_again_in_a_copy_moves_as_one_that_stayed_in_parts_too)
{
    const struct stn_outer_spec spec = stn_outer_defaults((enum stn_outer)_i);
    struct stn_outer_moments stays, again;
    struct stn_buf state = {0}, kept = {0};
    float x[N] = {0}, y[N] = {0};
    const size_t part = N / 3;
    ck_assert_int_eq(stn_outer_find(&stays, &spec, STN_SLICE_BOTH, N, &state, &err), STN_OK);
    for (int r = 0; r < ROUNDS; r++) {
        struct stn_buf copy = {0};
        (void)stn_buf_add(&copy, kept.data, kept.size);
        stn_buf_fini(&kept);
        ck_assert_int_eq(stn_outer_find(&again, &spec, STN_SLICE_BOTH, N, &copy, &err), STN_OK);
        stn_outer_step(&stays, &spec, 0, N, means[r], x);
        stn_outer_step(&again, &spec, 0, part, means[r], y);
        stn_outer_step(&again, &spec, part, N - part, means[r] + part, y + part);
        kept = copy;
        ck_assert_mem_eq(x, y, sizeof x);
    }
    ck_assert_uint_eq(state.size, kept.size);
    ck_assert(state.size == 0 || memcmp(state.data, kept.data, kept.size) == 0);
    ck_assert_int_eq(kept.size == 0, spec.kind == STN_OUTER_AVG);
    stn_buf_fini(&state);
    stn_buf_fini(&kept);
}
END_TEST

START_TEST(each_slice_has_a_state_of_its_own)
{
    const struct stn_outer_spec spec = stn_outer_defaults(STN_OUTER_ADAM);
    struct stn_outer_moments moments;
    struct stn_buf state = {0}, other = {0};
    float a[N] = {0}, b[N / 2] = {0}, alone[N] = {0};
    for (int r = 0; r < 4; r++) { /* B, A, B, A */
        enum stn_slice slice = r % 2 == 0 ? STN_SLICE_B : STN_SLICE_A;
        size_t n = slice == STN_SLICE_B ? N / 2 : N;
        ck_assert_int_eq(stn_outer_find(&moments, &spec, slice, n, &state, &err), STN_OK);
        stn_outer_step(&moments, &spec, 0, n, means[r], slice == STN_SLICE_B ? b : a);
    }
    ck_assert_int_eq(stn_outer_find(&moments, &spec, STN_SLICE_A, N, &other, &err), STN_OK);
    stn_outer_step(&moments, &spec, 0, N, means[1], alone);
    stn_outer_step(&moments, &spec, 0, N, means[3], alone);
    ck_assert_mem_eq(a, alone, sizeof a);
    stn_buf_fini(&state);
    stn_buf_fini(&other);
}
END_TEST

START_TEST(a_state_that_is_not_this_ones_is_refused_and_stays)
{
    const struct stn_outer_spec adam = stn_outer_defaults(STN_OUTER_ADAM), yogi = stn_outer_defaults(STN_OUTER_YOGI),
                                avg = stn_outer_defaults(STN_OUTER_AVG);
    struct stn_outer_moments no = {0};
    struct stn_buf state = {0};
    ck_assert_int_eq(stn_outer_find(&no, &adam, STN_SLICE_B, N, &state, &err), STN_OK);
    const size_t size = state.size;
    uint8_t *before = stn_mem_copy(state.data, size);
    ck_assert_int_eq(stn_outer_find(&no, &yogi, STN_SLICE_B, N, &state, &err), STN_CORRUPT);
    ck_assert_int_eq(stn_outer_find(&no, &avg, STN_SLICE_B, N, &state, &err), STN_CORRUPT);
    ck_assert_int_eq(stn_outer_find(&no, &adam, STN_SLICE_B, N - 1, &state, &err), STN_CORRUPT);
    for (state.size = 1; state.size < size; state.size++) {
        ck_assert_int_eq(stn_outer_find(&no, &adam, STN_SLICE_B, N, &state, &err), STN_CORRUPT);
    }
    stn_mem_fail_from(1);
    ck_assert_int_eq(stn_outer_find(&no, &adam, STN_SLICE_A, 100 * N, &state, &err), STN_MEMORY);
    stn_mem_fail_from(0);
    ck_assert_uint_eq(state.size, size);
    ck_assert_mem_eq(state.data, before, size);
    memset(state.data + size - 4, 0xff, 4); /* the last v is no number */
    ck_assert_int_eq(stn_outer_find(&no, &adam, STN_SLICE_A, N, &state, &err), STN_CORRUPT);
    ck_assert_uint_eq(state.size, size);
    ck_assert_mem_eq(state.data, before, size - 4);
    memcpy(state.data, before, size);
    ck_assert_int_eq(stn_outer_find(&no, &adam, STN_SLICE_A, 100 * N, &state, &err), STN_OK);
    stn_mem_free(before);
    stn_buf_fini(&state);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("outer");
    TCase *t = tcase_create("outer");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_loop_test(t, every_kind_is_its_formula_round_after_round, 0, STN_OUTER_KINDS);
    tcase_add_loop_test(t, a_state_that_is_found_again_in_a_copy_moves_as_one_that_stayed_in_parts_too, 0, STN_OUTER_KINDS);
    tcase_add_test(t, each_slice_has_a_state_of_its_own);
    tcase_add_test(t, a_state_that_is_not_this_ones_is_refused_and_stays);
    suite_add_tcase(s, t);
    return s;
}
