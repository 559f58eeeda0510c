#include "tests/compute/mapping.h"

#include "compute/train/watch.h"

static struct stn_dataset *held; /* the same questions with other answers: what helps at first does harm later */
static struct stn_watch *watch;

static void open_held(void)
{
    open_all();
    const struct stn_dataset_config config = {.context = 32};
    ck_assert_int_eq(stn_dataset_new(&held, &config, &err), STN_OK);
    for (int i = 0; i < N_PAIRS; i++) {
        int32_t tokens[N_TOKENS] = {300 + i, 301, 302, 303, 400 + (i * 11 + 7) % 50, 400 + (i * 3 + 1) % 50, 5};
        uint8_t marks[N_TOKENS] = {0};
        memset(marks + 4, STN_DATASET_TARGET | STN_DATASET_ANSWER, 3);
        ck_assert_int_eq(stn_dataset_add_tokens(held, tokens, marks, N_TOKENS, &err), STN_OK);
    }
}

static void close_held(void)
{
    stn_watch_free(watch);
    watch = NULL;
    stn_dataset_free(held);
    close_all();
}

static void look_with(const struct stn_watch_config *config)
{
    stn_watch_free(watch);
    watch = NULL;
    ck_assert_msg(stn_watch_new(&watch, trainer, config, &err) == STN_OK, "%s", err.text);
}

/* Steps and looks from where the run is to step `end`, or until it is over. */
static void go(uint64_t end)
{
    struct stn_evaluate_result result;
    for (;;) {
        if (stn_watch_is_due(watch)) {
            ck_assert_msg(stn_watch_look(watch, NULL, NULL, &result, &err) == STN_OK, "%s", err.text);
        }
        if (stn_watch_is_over(watch) || stn_trainer_is_done(trainer) || stn_trainer_n_done(trainer) >= end) {
            return;
        }
        (void)step();
    }
}

static struct stn_trainer_config watched(void)
{
    struct stn_trainer_config config = small();
    config.evaluates = true;
    config.dropout = 0.1f;
    return config;
}

START_TEST(what_did_best_is_kept_and_patience_ends_a_run)
{
    const struct stn_trainer_config config = watched();
    const struct stn_watch_config how = {.dataset = held, .every = 2, .patience = 3};
    const struct stn_trainer_run run = {.dataset = dataset, .n_epochs = 60, .seed = 1};
    struct stn_evaluate_result again;
    make(&config);
    start(&run);
    look_with(&how);
    ck_assert(stn_watch_is_due(watch));
    go(UINT64_MAX);
    struct stn_watch_state state = *stn_watch_state(watch);
    ck_assert(stn_watch_is_over(watch) && !stn_trainer_is_done(trainer) && !stn_watch_is_due(watch));
    ck_assert_uint_eq(state.n_worse, 3);
    ck_assert_uint_eq(state.last_step, stn_trainer_n_done(trainer));
    ck_assert_uint_eq(state.last_step, state.best_step + 6);
    ck_assert_uint_eq(state.n_looks, state.last_step / 2 + 1);
    ck_assert_double_lt(state.best_loss, state.first_loss - 0.5);
    ck_assert_double_gt(state.last_loss, state.best_loss);
    stn_trainer_set_values(trainer, stn_watch_best(watch));
    ck_assert_int_eq(stn_evaluate_run(stn_trainer_network(trainer), held, 32, NULL, NULL, &again, &err), STN_OK);
    ck_assert_double_eq(stn_evaluate_loss(&again), state.best_loss);
}
END_TEST

static bool no(void *context, uint64_t n_done, uint64_t n_examples)
{
    (void)context;
    (void)n_done;
    (void)n_examples;
    return false;
}

START_TEST(a_look_that_is_stopped_has_not_been_and_changes_nothing)
{
    const struct stn_trainer_config config = watched();
    const struct stn_watch_config how = {.dataset = held, .every = 100};
    const struct stn_trainer_run run = {.dataset = dataset, .n_steps = 2};
    struct stn_evaluate_result result;
    make(&config);
    start(&run);
    look_with(&how);
    ck_assert_int_eq(stn_watch_look(watch, no, NULL, &result, &err), STN_OK);
    ck_assert(result.is_stopped && stn_watch_is_due(watch));
    ck_assert_uint_eq(stn_watch_state(watch)->n_looks, 0);
    go(1);
    ck_assert(!stn_watch_is_due(watch)); /* neither the hundredth nor the last */
    go(2);
    ck_assert_uint_eq(stn_watch_state(watch)->n_looks, 2);
    ck_assert(!stn_watch_is_over(watch)); /* without patience it never is */
}
END_TEST

/* Dropout, looks and patience: all of it goes on as if there had been no end. */
START_TEST(a_watched_run_resumed_at_any_step_ends_as_if_it_had_never_stopped)
{
    char folder[] = "/tmp/watch-test-XXXXXX";
    const struct stn_trainer_config config = watched();
    const struct stn_watch_config how = {.dataset = held, .every = 3, .patience = 2};
    const struct stn_trainer_run run = {.dataset = dataset, .n_epochs = 60, .seed = 1};
    const struct stn_checkpoint_subject subject = {.config = &config, .run = &run, .watch = &how};
    struct stn_buf identity = {0};
    size_t size = adapter->n_values * sizeof(float);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(stn_checkpoint_identity(&identity, &subject, &err), STN_OK);
    const char *name = (const char *)identity.data;
    make(&config);
    start(&run);
    look_with(&how);
    go(UINT64_MAX);
    struct stn_watch_state whole = *stn_watch_state(watch);
    float *last = values(), *best = stn_mem_copy(stn_watch_best(watch), size);
    for (uint64_t stop = 0; stop <= whole.last_step; stop += 5) {
        start(&run);
        look_with(&how);
        go(stop);
        ck_assert_msg(stn_checkpoint_save(folder, name, trainer, watch, &err) == STN_OK, "%s", err.text);
        stn_watch_free(watch);
        watch = NULL;
        make(&config); /* nothing of the first one is left */
        start(&run);
        look_with(&how);
        ck_assert_msg(stn_checkpoint_load(folder, name, trainer, watch, &err) == STN_OK, "%s", err.text);
        go(UINT64_MAX);
        float *resumed = values();
        ck_assert_mem_eq(last, resumed, size);
        ck_assert_mem_eq(best, stn_watch_best(watch), size);
        ck_assert_mem_eq(&whole, stn_watch_state(watch), sizeof whole);
        stn_mem_free(resumed);
    }
    stn_mem_free(last);
    stn_mem_free(best);
    stn_buf_fini(&identity);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}
END_TEST

START_TEST(every_input_of_a_watched_run_is_in_its_identity)
{
    struct stn_trainer_config config = watched(), other = watched();
    struct stn_watch_config how = {.dataset = held, .every = 3, .patience = 2}, slower = how, elsewhere = how;
    const struct stn_trainer_run run = {.dataset = dataset, .n_epochs = 1};
    struct stn_buf names[6] = {0};
    struct stn_trainer_config elsewhere_too = watched();
    other.dropout = 0.2f;
    elsewhere_too.backend = "vulkan";
    slower.patience = 3;
    elsewhere.dataset = dataset;
    const struct stn_checkpoint_subject subjects[6] = {{.config = &config, .run = &run, .watch = &how},
                                                       {.config = &other, .run = &run, .watch = &how},
                                                       {.config = &config, .run = &run, .watch = &slower},
                                                       {.config = &config, .run = &run, .watch = &elsewhere},
                                                       {.config = &elsewhere_too, .run = &run, .watch = &how},
                                                       {.config = &config, .run = &run}};
    for (size_t i = 0; i < 6; i++) {
        ck_assert_int_eq(stn_checkpoint_identity(&names[i], &subjects[i], &err), STN_OK);
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne((const char *)names[i].data, (const char *)names[k].data);
        }
    }
    for (size_t i = 0; i < 6; i++) {
        stn_buf_fini(&names[i]);
    }
}
END_TEST

START_TEST(a_run_ends_with_the_step_that_reaches_its_rows)
{
    const struct stn_trainer_config config = small();
    const struct stn_trainer_run by_rows = {.dataset = dataset, .n_rows = 200, .seed = 3};
    const struct stn_trainer_run by_both = {.dataset = dataset, .n_rows = 200, .n_epochs = 1, .seed = 3};
    make(&config);
    start(&by_rows);
    finish();
    uint64_t n = stn_trainer_totals(trainer).n_rows;
    ck_assert_uint_ge(n, 200);
    ck_assert_uint_lt(n, 200 + config.batch_tokens);
    start(&by_both); /* an epoch is less */
    finish();
    ck_assert_uint_eq(stn_trainer_totals(trainer).n_examples, N_PAIRS);
}
END_TEST

/* B is zero and A beyond measure: what they give is zero, but B's gradient is not to be squared. */
START_TEST(a_gradient_that_is_not_finite_names_its_examples_and_leaves_the_adapter)
{
    struct stn_trainer_config config = small();
    const struct stn_trainer_run run = {.dataset = dataset, .n_steps = 3, .seed = 2};
    struct stn_trainer_step ret;
    config.backward = STN_BACKWARD_EXACT;
    make(&config);
    start(&run);
    float *poisoned = values();
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &adapter->tensors[i];
        for (size_t k = 0; !t->is_b && k < (size_t)t->rows * t->cols; k++) {
            poisoned[t->offset + k] *= 1e30f;
        }
    }
    stn_trainer_set_values(trainer, poisoned);
    ck_assert_int_eq(stn_trainer_step(trainer, &ret, &err), STN_CORRUPT);
    ck_assert_msg(strncmp(err.text, "the examples of lines ", 22) == 0, "%s", err.text);
    ck_assert_msg(strstr(err.text, "step 1: the gradient's norm is inf") != NULL, "%s", err.text);
    float *after = values();
    ck_assert_mem_eq(poisoned, after, adapter->n_values * sizeof *after);
    stn_mem_free(poisoned);
    stn_mem_free(after);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("watch");
    TCase *t = tcase_create("watch");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 240);
    tcase_add_checked_fixture(t, open_held, close_held);
    tcase_add_test(t, what_did_best_is_kept_and_patience_ends_a_run);
    tcase_add_test(t, a_look_that_is_stopped_has_not_been_and_changes_nothing);
    tcase_add_test(t, a_watched_run_resumed_at_any_step_ends_as_if_it_had_never_stopped);
    tcase_add_test(t, every_input_of_a_watched_run_is_in_its_identity);
    tcase_add_test(t, a_run_ends_with_the_step_that_reaches_its_rows);
    tcase_add_test(t, a_gradient_that_is_not_finite_names_its_examples_and_leaves_the_adapter);
    return s;
}
