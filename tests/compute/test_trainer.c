#include "tests/compute/mapping.h"

static double distance(const float *a, const float *b)
{
    double sum = 0, norm = 0;
    for (size_t i = 0; i < adapter->n_values; i++) {
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += ((double)a[i] - (double)adapter->values[i]) * ((double)a[i] - (double)adapter->values[i]);
    }
    return sqrt(sum / norm);
}

START_TEST(a_tiny_mapping_is_learned_to_the_last_token)
{
    const struct stn_trainer_config config = small();
    make(&config);
    const struct stn_trainer_run run = {.dataset = dataset, .n_epochs = 40, .seed = 1};
    struct stn_evaluate_result before, after;
    start(&run);
    struct stn_network *network = stn_trainer_network(trainer);
    ck_assert_int_eq(stn_evaluate_run(network, dataset, 32, NULL, NULL, &before, &err), STN_OK);
    ck_assert_uint_eq(before.n_exact, 0);
    finish();
    ck_assert_int_eq(stn_evaluate_run(network, dataset, 32, NULL, NULL, &after, &err), STN_OK);
    ck_assert_uint_eq(after.n_examples, N_PAIRS);
    ck_assert_uint_eq(after.n_targets, 3 * N_PAIRS);
    ck_assert_uint_eq(after.n_exact, N_PAIRS);
    ck_assert_double_lt(stn_evaluate_loss(&after), 0.1);
    ck_assert_double_gt(stn_trainer_loss_first(trainer), stn_trainer_loss_last(trainer) + 1);
}
END_TEST

START_TEST(a_run_repeats_itself_bit_for_bit_for_any_number_of_threads)
{
    struct stn_trainer_config config = small();
    const struct stn_trainer_run run = {.dataset = dataset, .n_steps = 6, .seed = 5};
    make(&config);
    start(&run);
    finish();
    float *first = values();
    start(&run);
    finish();
    float *again = values();
    ck_assert_mem_eq(first, again, adapter->n_values * sizeof *first);
    config.n_threads = 3;
    make(&config);
    start(&run);
    finish();
    float *threaded = values();
    ck_assert_mem_eq(first, threaded, adapter->n_values * sizeof *first);
    stn_mem_free(first);
    stn_mem_free(again);
    stn_mem_free(threaded);
}
END_TEST

START_TEST(passes_add_up_to_the_bigger_batch)
{
    struct stn_trainer_config config = small();
    config.backward = STN_BACKWARD_EXACT;
    config.batch_tokens = 96;
    config.pass_tokens = 96;
    const struct stn_trainer_run run = {.dataset = dataset, .n_steps = 1, .seed = 5};
    make(&config);
    start(&run);
    struct stn_trainer_step whole = step();
    float *big = values();
    config.pass_tokens = 32;
    make(&config);
    start(&run);
    struct stn_trainer_step cut = step();
    float *small_passes = values();
    ck_assert_uint_eq(whole.n_targets, cut.n_targets);
    ck_assert_double_eq_tol(whole.loss, cut.loss, 1e-5);
    ck_assert_double_eq_tol(whole.norm, cut.norm, 1e-4 * whole.norm);
    ck_assert_double_lt(distance(big, small_passes), 1e-2);
    stn_mem_free(big);
    stn_mem_free(small_passes);
}
END_TEST

static char folder[] = "/tmp/trainer-test-XXXXXX";

START_TEST(a_run_resumed_at_any_step_ends_as_if_it_had_never_stopped)
{
    const struct stn_trainer_config config = small();
    const struct stn_trainer_run run = {.dataset = dataset, .n_epochs = 3, .seed = 8};
    const struct stn_checkpoint_subject subject = {.config = &config, .run = &run};
    struct stn_buf identity = {0};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(stn_checkpoint_identity(&identity, &subject, &err), STN_OK);
    const char *name = (const char *)identity.data;
    make(&config);
    start(&run);
    finish();
    float *whole = values();
    struct stn_trainer_totals totals = stn_trainer_totals(trainer);
    uint64_t n = stn_trainer_n_steps(trainer);
    ck_assert_uint_gt(n, 4);
    for (uint64_t stop = 0; stop <= n; stop++) {
        start(&run);
        for (uint64_t i = 0; i < stop; i++) {
            (void)step();
        }
        ck_assert_msg(stn_checkpoint_save(folder, name, trainer, NULL, &err) == STN_OK, "%s", err.text);
        make(&config); /* nothing of the first one is left */
        start(&run);
        ck_assert_msg(stn_checkpoint_load(folder, name, trainer, NULL, &err) == STN_OK, "%s", err.text);
        ck_assert_uint_eq(stn_trainer_n_done(trainer), stop);
        finish();
        float *resumed = values();
        ck_assert_mem_eq(whole, resumed, adapter->n_values * sizeof *whole);
        struct stn_trainer_totals after = stn_trainer_totals(trainer);
        ck_assert(after.n_rows == totals.n_rows && after.n_first == totals.n_first && after.n_last == totals.n_last);
        ck_assert_double_eq(after.last_sum, totals.last_sum);
        stn_mem_free(resumed);
    }
    stn_mem_free(whole);
    stn_buf_fini(&identity);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}
END_TEST

START_TEST(a_checkpoint_of_another_run_is_refused_and_says_why)
{
    struct stn_trainer_config config = small(), other = small();
    const struct stn_trainer_run run = {.dataset = dataset, .n_steps = 4};
    struct stn_checkpoint_subject subject = {.config = &config, .run = &run, .n_steps = 4};
    struct stn_buf ours = {0}, theirs = {0};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    other.lr = 1e-5;
    ck_assert_int_eq(stn_checkpoint_identity(&ours, &subject, &err), STN_OK);
    subject.config = &other;
    ck_assert_int_eq(stn_checkpoint_identity(&theirs, &subject, &err), STN_OK);
    make(&config);
    start(&run);
    ck_assert_int_eq(stn_checkpoint_load(folder, (const char *)ours.data, trainer, NULL, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_checkpoint_save(folder, (const char *)theirs.data, trainer, NULL, &err), STN_OK);
    ck_assert_int_eq(stn_checkpoint_load(folder, (const char *)ours.data, trainer, NULL, &err), STN_INVALID);
    ck_assert_msg(strstr(err.text, "it has lr=1.0000000000000001e-05, this run lr=0.003") != NULL, "%s", err.text);
    stn_buf_fini(&ours);
    stn_buf_fini(&theirs);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}
END_TEST

START_TEST(a_damaged_checkpoint_is_refused_and_changes_nothing)
{
    const struct stn_trainer_config config = small();
    const struct stn_trainer_run run = {.dataset = dataset, .n_steps = 4};
    char path[64];
    struct stn_buf bytes = {0};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/" STN_CHECKPOINT_NAME, folder);
    make(&config);
    start(&run);
    (void)step();
    ck_assert_int_eq(stn_checkpoint_save(folder, "a=1\n", trainer, NULL, &err), STN_OK);
    ck_assert_int_eq(stn_file_read(path, 1 << 28, &bytes, &err), STN_OK);
    float *before = values();
    for (size_t i = 0; i < 200; i++) {
        size_t at = i < 150 ? i : (size_t)(stn_rng_mix(i) % bytes.size);
        bytes.data[at] ^= 0x10;
        ck_assert_int_eq(stn_file_replace(path, bytes.data, bytes.size, STN_FILE_MODE, &err), STN_OK);
        ck_assert_int_eq(stn_checkpoint_load(folder, "a=1\n", trainer, NULL, &err), STN_CORRUPT);
        bytes.data[at] ^= 0x10;
    }
    for (size_t i = 0; i < 60; i++) {
        size_t size = i < 40 ? i * 4 : (size_t)(stn_rng_mix(i) % bytes.size);
        ck_assert_int_eq(stn_file_replace(path, bytes.data, size, STN_FILE_MODE, &err), STN_OK);
        ck_assert_int_eq(stn_checkpoint_load(folder, "a=1\n", trainer, NULL, &err), STN_CORRUPT);
    }
    float *after = values();
    ck_assert_mem_eq(before, after, adapter->n_values * sizeof *before);
    ck_assert_uint_eq(stn_trainer_n_done(trainer), 1);
    stn_mem_free(before);
    stn_mem_free(after);
    stn_buf_fini(&bytes);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}
END_TEST

START_TEST(a_folder_is_one_runs_and_loses_the_drafts_of_killed_ones)
{
    char draft[64], kept[64];
    int lock = -1, other = -1;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(draft, sizeof draft, "%s/checkpoint.77.0.tmp", folder);
    (void)snprintf(kept, sizeof kept, "%s/checkpoint", folder);
    ck_assert_int_eq(stn_file_replace(draft, "x", 1, STN_FILE_MODE, &err), STN_OK);
    ck_assert_int_eq(stn_file_replace(kept, "x", 1, STN_FILE_MODE, &err), STN_OK);
    ck_assert_msg(stn_checkpoint_claim(&lock, folder, &err) == STN_OK, "%s", err.text);
    ck_assert(!stn_file_exists(draft) && stn_file_exists(kept));
    ck_assert_int_eq(stn_checkpoint_claim(&other, folder, &err), STN_EXISTS);
    stn_file_close(lock);
    ck_assert_int_eq(stn_checkpoint_claim(&other, folder, &err), STN_OK);
    stn_file_close(other);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}
END_TEST

static int n_asked;

static bool stop_in_the_second_pass(void *context)
{
    (void)context;
    return ++n_asked == 2;
}

START_TEST(a_step_that_is_stopped_between_passes_has_not_been)
{
    struct stn_trainer_config config = small();
    config.batch_tokens = 96; /* three passes */
    struct stn_trainer_run run = {.dataset = dataset, .n_steps = 3, .seed = 2};
    make(&config);
    start(&run);
    finish();
    float *whole = values();
    run.stopping = stop_in_the_second_pass;
    start(&run);
    n_asked = 0;
    struct stn_trainer_step ret;
    ck_assert_int_eq(stn_trainer_step(trainer, &ret, &err), STN_CANCELLED);
    ck_assert_uint_eq(stn_trainer_n_done(trainer), 0);
    finish();
    float *resumed = values();
    ck_assert_mem_eq(whole, resumed, adapter->n_values * sizeof *whole);
    stn_mem_free(whole);
    stn_mem_free(resumed);
}
END_TEST

START_TEST(a_loss_that_is_not_finite_names_its_example_and_leaves_the_adapter)
{
    const struct stn_trainer_config config = small();
    const struct stn_trainer_run run = {.dataset = dataset, .n_steps = 3, .seed = 2};
    struct stn_trainer_step ret;
    make(&config);
    start(&run);
    float *poisoned = values();
    poisoned[0] = 3e38f;
    for (size_t i = 0; i < adapter->n_values; i++) {
        poisoned[i] = 3e38f;
    }
    stn_trainer_set_values(trainer, poisoned);
    ck_assert_int_eq(stn_trainer_step(trainer, &ret, &err), STN_CORRUPT);
    ck_assert_msg(strstr(err.text, "step 1: the loss of the example of line ") != NULL, "%s", err.text);
    float *after = values();
    ck_assert_mem_eq(poisoned, after, adapter->n_values * sizeof *after);
    /* and the trainer is as good as before */
    start(&run);
    finish();
    float *whole = values();
    make(&config);
    start(&run);
    finish();
    float *fresh = values();
    ck_assert_mem_eq(whole, fresh, adapter->n_values * sizeof *whole);
    stn_mem_free(poisoned);
    stn_mem_free(after);
    stn_mem_free(whole);
    stn_mem_free(fresh);
}
END_TEST

START_TEST(the_factor_that_does_not_train_stays_as_it_is)
{
    struct stn_trainer_config config = small();
    const struct stn_trainer_run run = {.dataset = dataset, .n_steps = 3};
    config.slice = STN_SLICE_B;
    make(&config);
    start(&run);
    finish();
    float *after = values();
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &adapter->tensors[i];
        size_t size = (size_t)tensor->rows * tensor->cols * sizeof *after;
        bool is_same = memcmp(after + tensor->offset, adapter->values + tensor->offset, size) == 0;
        ck_assert_int_eq(is_same, !tensor->is_b);
    }
    stn_mem_free(after);
}
END_TEST

START_TEST(the_proximal_term_holds_the_adapter_near_its_anchor)
{
    const struct stn_trainer_config config = small();
    struct stn_trainer_run run = {.dataset = dataset, .n_steps = 12};
    double moved[2];
    make(&config);
    for (int i = 0; i < 2; i++) {
        run.prox = i == 0 ? 0 : 100;
        run.anchor = adapter->values;
        start(&run);
        finish();
        float *after = values();
        moved[i] = 0;
        for (size_t k = 0; k < adapter->n_values; k++) {
            moved[i] += pow((double)after[k] - (double)adapter->values[k], 2);
        }
        stn_mem_free(after);
    }
    ck_assert_double_lt(moved[1], 0.9 * moved[0]);
}
END_TEST

START_TEST(moments_are_kept_where_a_run_asks_for_it)
{
    const struct stn_trainer_config config = small();
    struct stn_trainer_run run = {.dataset = dataset, .n_steps = 2};
    make(&config);
    start(&run);
    finish();
    float *fresh = values();
    run.keep_moments = true;
    start(&run);
    finish();
    float *kept = values();
    ck_assert(memcmp(fresh, kept, adapter->n_values * sizeof *fresh) != 0);
    stn_mem_free(fresh);
    stn_mem_free(kept);
}
END_TEST

START_TEST(a_step_allocates_nothing)
{
    const struct stn_trainer_config config = small();
    const struct stn_trainer_run run = {.dataset = dataset, .n_steps = 5};
    make(&config);
    start(&run);
    (void)step();
    uint64_t before = stn_mem_count();
    finish();
    ck_assert_uint_eq(stn_mem_count(), before);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("trainer");
    TCase *t = tcase_create("trainer");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, open_all, close_all);
    tcase_add_test(t, a_tiny_mapping_is_learned_to_the_last_token);
    tcase_add_test(t, a_run_repeats_itself_bit_for_bit_for_any_number_of_threads);
    tcase_add_test(t, passes_add_up_to_the_bigger_batch);
    tcase_add_test(t, a_run_resumed_at_any_step_ends_as_if_it_had_never_stopped);
    tcase_add_test(t, a_checkpoint_of_another_run_is_refused_and_says_why);
    tcase_add_test(t, a_damaged_checkpoint_is_refused_and_changes_nothing);
    tcase_add_test(t, a_folder_is_one_runs_and_loses_the_drafts_of_killed_ones);
    tcase_add_test(t, a_step_that_is_stopped_between_passes_has_not_been);
    tcase_add_test(t, a_loss_that_is_not_finite_names_its_example_and_leaves_the_adapter);
    tcase_add_test(t, the_factor_that_does_not_train_stays_as_it_is);
    tcase_add_test(t, the_proximal_term_holds_the_adapter_near_its_anchor);
    tcase_add_test(t, moments_are_kept_where_a_run_asks_for_it);
    tcase_add_test(t, a_step_allocates_nothing);
    return s;
}
