#include "tests/lib/run.h"

#include <string.h>

#include "base/mem.h"
#include "compute/train/batch.h"

static struct stn_dataset *dataset;
static struct stn_err err;

/* n examples; number i has tokens 100 i, 100 i + 1, ... and its last n_targets carry loss. */
static void make(const unsigned *sizes, const unsigned *targets, size_t n)
{
    const struct stn_dataset_config config = {.context = 64};
    ck_assert_int_eq(stn_dataset_new(&dataset, &config, &err), STN_OK);
    for (size_t i = 0; i < n; i++) {
        int32_t tokens[64];
        uint8_t marks[64] = {0};
        for (unsigned k = 0; k < sizes[i]; k++) {
            tokens[k] = (int32_t)(100 * i + k);
            marks[k] = k >= sizes[i] - targets[i] ? STN_DATASET_TARGET | STN_DATASET_ANSWER : 0;
        }
        ck_assert_int_eq(stn_dataset_add_tokens(dataset, tokens, marks, sizes[i], &err), STN_OK);
    }
}

static void clean(void)
{
    stn_dataset_free(dataset);
    dataset = NULL;
}

static const unsigned sizes[] = {5, 9, 3, 17, 2, 6, 12, 4}, targets[] = {2, 3, 1, 8, 1, 5, 1, 2};
#define N (sizeof sizes / sizeof *sizes)

START_TEST(examples_lie_side_by_side_and_the_last_token_is_never_read)
{
    make(sizes, targets, 3);
    const struct stn_batch_config config = {.step_rows = 64, .pass_rows = 64, .in_order = true};
    struct stn_batch_reader *reader = NULL;
    struct stn_batch pass;
    ck_assert_int_eq(stn_batch_new(&reader, dataset, &config, &err), STN_OK);
    stn_batch_draw(reader);
    ck_assert(stn_batch_next(reader, &pass));
    static const int32_t tokens[] = {0, 1, 2, 3, 100, 101, 102, 103, 104, 105, 106, 107, 200, 201};
    static const int32_t positions[] = {0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1};
    static const int32_t starts[] = {0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4, 12, 12};
    static const int32_t rows[] = {2, 3, 9, 10, 11, 13}, wanted[] = {3, 4, 106, 107, 108, 202};
    ck_assert_uint_eq(pass.n_tokens, 14);
    ck_assert_mem_eq(pass.tokens, tokens, sizeof tokens);
    ck_assert_mem_eq(pass.positions, positions, sizeof positions);
    ck_assert_mem_eq(pass.starts, starts, sizeof starts);
    ck_assert_uint_eq(pass.n_targets, 6);
    ck_assert_mem_eq(pass.target_rows, rows, sizeof rows);
    ck_assert_mem_eq(pass.target_tokens, wanted, sizeof wanted);
    for (size_t i = 0; i < 6; i++) {
        ck_assert_float_eq(pass.target_weights[i], 1.0f / 6);
    }
    size_t n_spans;
    const struct stn_batch_span *spans = stn_batch_spans(reader, &n_spans);
    ck_assert_uint_eq(n_spans, 3);
    ck_assert(spans[1].example == 1 && spans[1].first_row == 4 && spans[1].n_rows == 8 && spans[1].first_target == 2 &&
              spans[1].n_targets == 3);
    ck_assert(!stn_batch_next(reader, &pass));
    stn_batch_free(reader);
}
END_TEST

START_TEST(an_epoch_visits_every_example_once_and_the_next_in_another_order)
{
    make(sizes, targets, N);
    const struct stn_batch_config config = {.step_rows = 20, .pass_rows = 20, .seed = 3};
    struct stn_batch_reader *reader = NULL;
    ck_assert_int_eq(stn_batch_new(&reader, dataset, &config, &err), STN_OK);
    size_t orders[2][N];
    for (size_t epoch = 0; epoch < 2; epoch++) {
        unsigned seen[N] = {0};
        size_t n = 0;
        while (n < N) {
            struct stn_batch pass;
            stn_batch_draw(reader);
            ck_assert_uint_eq(stn_batch_position(reader).epoch, epoch);
            ck_assert_uint_le(stn_batch_rows(reader), 20);
            while (stn_batch_next(reader, &pass)) {
                size_t n_spans;
                const struct stn_batch_span *spans = stn_batch_spans(reader, &n_spans);
                for (size_t i = 0; i < n_spans; i++) {
                    seen[spans[i].example]++;
                    orders[epoch][n++] = spans[i].example;
                }
            }
        }
        for (size_t i = 0; i < N; i++) {
            ck_assert_uint_eq(seen[i], 1);
        }
    }
    ck_assert(memcmp(orders[0], orders[1], sizeof orders[0]) != 0);
    stn_batch_free(reader);
}
END_TEST

START_TEST(a_step_of_k_examples_has_exactly_k_across_passes_and_epochs)
{
    make(sizes, targets, N);
    const struct stn_batch_config config = {.n_examples = 3, .pass_rows = 16, .seed = 1};
    struct stn_batch_reader *reader = NULL;
    unsigned seen[N] = {0};
    ck_assert_int_eq(stn_batch_new(&reader, dataset, &config, &err), STN_OK);
    ck_assert_uint_eq(stn_batch_steps(reader, 3), 8);
    for (int step = 0; step < 8; step++) {
        struct stn_batch pass;
        size_t n = 0, n_targets = 0;
        double weight = 0;
        stn_batch_draw(reader);
        while (stn_batch_next(reader, &pass)) {
            size_t n_spans;
            const struct stn_batch_span *spans = stn_batch_spans(reader, &n_spans);
            ck_assert_uint_le(pass.n_tokens, 16);
            for (size_t i = 0; i < n_spans; i++, n++) {
                seen[spans[i].example]++;
            }
            for (size_t i = 0; i < pass.n_targets; i++) {
                weight += (double)pass.target_weights[i];
            }
            n_targets += pass.n_targets;
        }
        ck_assert_uint_eq(n, 3);
        ck_assert_uint_eq(n, stn_batch_examples(reader));
        ck_assert_uint_eq(n_targets, stn_batch_targets(reader));
        ck_assert_double_eq_tol(weight, 1, 1e-6);
    }
    for (size_t i = 0; i < N; i++) {
        ck_assert_uint_eq(seen[i], 3);
    }
    stn_batch_free(reader);
}
END_TEST

/* Everything of the next step as one number. */
static uint64_t digest_step(struct stn_batch_reader *reader)
{
    uint64_t h = 0;
    struct stn_batch pass;
    stn_batch_draw(reader);
    while (stn_batch_next(reader, &pass)) {
        for (size_t i = 0; i < pass.n_tokens; i++) {
            h = h * 31 + (uint64_t)pass.tokens[i] * 7 + (uint64_t)pass.starts[i];
        }
    }
    return h;
}

START_TEST(a_reader_that_is_set_to_a_position_goes_on_as_the_first_one_did)
{
    make(sizes, targets, N);
    for (size_t mode = 0; mode < 2; mode++) {
        const struct stn_batch_config config = {.step_rows = 20, .n_examples = mode * 3, .pass_rows = 20, .seed = 9};
        struct stn_batch_reader *reader = NULL, *other = NULL;
        struct stn_batch_position positions[24];
        uint64_t digests[24];
        ck_assert_int_eq(stn_batch_new(&reader, dataset, &config, &err), STN_OK);
        for (size_t i = 0; i < 24; i++) {
            positions[i] = stn_batch_position(reader);
            digests[i] = digest_step(reader);
        }
        ck_assert_int_eq(stn_batch_new(&other, dataset, &config, &err), STN_OK);
        for (size_t i = 24; i-- > 0;) {
            ck_assert(stn_batch_seek(other, positions[i]));
            ck_assert_uint_eq(digest_step(other), digests[i]);
        }
        ck_assert(!stn_batch_seek(other, (struct stn_batch_position){0, N + 1}));
        stn_batch_restart(other, 9);
        ck_assert_uint_eq(digest_step(other), digests[0]);
        stn_batch_restart(other, 10);
        ck_assert_uint_ne(digest_step(other), digests[0]);
        stn_batch_free(reader);
        stn_batch_free(other);
    }
}
END_TEST

START_TEST(the_steps_of_some_epochs_are_counted_before_they_are_run)
{
    make(sizes, targets, N);
    const struct stn_batch_config config = {.step_rows = 18, .pass_rows = 18, .seed = 4};
    struct stn_batch_reader *reader = NULL;
    ck_assert_int_eq(stn_batch_new(&reader, dataset, &config, &err), STN_OK);
    uint64_t wanted = stn_batch_steps(reader, 5), n = 0, n_examples = 0;
    while (n_examples < 5 * N) {
        stn_batch_draw(reader);
        n_examples += stn_batch_examples(reader);
        n++;
    }
    ck_assert_uint_eq(n, wanted);
    /* and the steps that some rows take */
    ck_assert_uint_eq(stn_batch_steps_for_rows(reader, UINT64_MAX, 1), 1);
    for (uint64_t limit = 1; limit < 200; limit += 13) {
        uint64_t rows = 0, steps = 0;
        ck_assert(stn_batch_seek(reader, (struct stn_batch_position){0}));
        while (rows < limit) {
            stn_batch_draw(reader);
            rows += stn_batch_rows(reader);
            steps++;
        }
        struct stn_batch_position at = stn_batch_position(reader);
        ck_assert_uint_eq(stn_batch_steps_for_rows(reader, UINT64_MAX, limit), steps);
        ck_assert_uint_eq(stn_batch_steps_for_rows(reader, 2, limit), steps < 2 ? steps : 2);
        ck_assert_uint_eq(stn_batch_position(reader).index, at.index);
    }
    stn_batch_free(reader);
}
END_TEST

START_TEST(an_example_that_cannot_fit_is_refused_with_its_line)
{
    make(sizes, targets, N);
    const struct stn_batch_config config = {.step_rows = 64, .pass_rows = 15};
    struct stn_batch_reader *reader = NULL;
    ck_assert_int_eq(stn_batch_new(&reader, dataset, &config, &err), STN_LIMIT);
    ck_assert_str_eq(err.text, "the example of line 4 takes 16 positions, a batch has 15");
}
END_TEST

START_TEST(a_dataset_without_examples_is_refused)
{
    make(sizes, targets, 0);
    const struct stn_batch_config config = {.step_rows = 64, .pass_rows = 64};
    struct stn_batch_reader *reader = NULL;
    ck_assert_int_eq(stn_batch_new(&reader, dataset, &config, &err), STN_INVALID);
}
END_TEST

START_TEST(no_step_allocates)
{
    make(sizes, targets, N);
    const struct stn_batch_config config = {.step_rows = 20, .pass_rows = 20};
    struct stn_batch_reader *reader = NULL;
    ck_assert_int_eq(stn_batch_new(&reader, dataset, &config, &err), STN_OK);
    uint64_t before = stn_mem_count();
    for (int i = 0; i < 20; i++) {
        (void)digest_step(reader);
    }
    ck_assert_uint_eq(stn_mem_count(), before);
    stn_batch_free(reader);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    make(sizes, targets, N);
    const struct stn_batch_config config = {.step_rows = 20, .pass_rows = 20};
    struct stn_batch_reader *reader = NULL;
    enum stn_code code = STN_MEMORY;
    for (uint64_t n = 1; code == STN_MEMORY; n++) {
        stn_mem_fail_from(n);
        code = stn_batch_new(&reader, dataset, &config, &err);
    }
    stn_mem_fail_from(0);
    ck_assert_int_eq(code, STN_OK);
    stn_batch_free(reader);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("batch");
    TCase *t = tcase_create("batch");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, NULL, clean);
    tcase_add_test(t, examples_lie_side_by_side_and_the_last_token_is_never_read);
    tcase_add_test(t, an_epoch_visits_every_example_once_and_the_next_in_another_order);
    tcase_add_test(t, a_step_of_k_examples_has_exactly_k_across_passes_and_epochs);
    tcase_add_test(t, a_reader_that_is_set_to_a_position_goes_on_as_the_first_one_did);
    tcase_add_test(t, the_steps_of_some_epochs_are_counted_before_they_are_run);
    tcase_add_test(t, an_example_that_cannot_fit_is_refused_with_its_line);
    tcase_add_test(t, a_dataset_without_examples_is_refused);
    tcase_add_test(t, no_step_allocates);
    tcase_add_test(t, every_allocation_may_fail);
    return s;
}
