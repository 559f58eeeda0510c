#include "compute/model/fit.h"
#include "tests/compute/pack.h"

/* Some steps on one batch; the values after. */
static double train(const struct stn_network_config *c, const struct stn_adapter *adapter, const struct pack *p, size_t n_steps,
                    float *values, double *ret_first)
{
    struct stn_network *network = new_network(adapter, c);
    struct stn_network_update update = {.lr = 2e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};
    double loss = 0, norm;
    for (size_t i = 0; i < n_steps; i++) {
        loss = accumulate(network, p);
        *ret_first = i == 0 ? loss : *ret_first;
        ck_assert_int_eq(stn_network_update(network, &update, &norm, &err), STN_OK);
    }
    stn_network_get_values(network, values);
    stn_network_free(network);
    return loss;
}

START_TEST(results_do_not_depend_on_the_number_of_threads)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_adapter *adapter = new_adapter(6, 6, 1, STN_ARCH_ALL);
    float *values = stn_mem_new(adapter->n_values, 3 * sizeof *values);
    double loss[3], first;
    for (unsigned i = 0; i < 3; i++) {
        struct stn_network_config c = config();
        c.n_threads = i + 1;
        c.backward = STN_BACKWARD_INT8;
        loss[i] = train(&c, adapter, &p, 3, values + i * adapter->n_values, &first);
    }
    ck_assert_mem_eq(values, values + adapter->n_values, adapter->n_values * sizeof *values);
    ck_assert_mem_eq(values, values + 2 * adapter->n_values, adapter->n_values * sizeof *values);
    ck_assert(loss[0] <= loss[1] && loss[0] >= loss[1]);
    stn_mem_free(values);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(fifty_steps_on_one_batch_make_the_loss_fall_and_int8_falls_as_far)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_adapter *adapter = new_adapter(8, 16, 1, STN_ARCH_ALL);
    stn_adapter_init(adapter, 3);
    float *values = stn_mem_new(adapter->n_values, sizeof *values);
    double last[2], first = 0;
    for (int i = 0; i < 2; i++) {
        struct stn_network_config c = config();
        c.backward = i == 0 ? STN_BACKWARD_EXACT : STN_BACKWARD_INT8;
        last[i] = train(&c, adapter, &p, 50, values, &first);
    }
    ck_assert_double_lt(last[0], first - 0.5);
    ck_assert_double_lt(last[1], first - 0.95 * (first - last[0]));
    stn_mem_free(values);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(a_step_allocates_nothing)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_adapter *adapter = new_adapter(4, 8, 2, STN_ARCH_ALL);
    struct stn_network_config c = config();
    c.backward = STN_BACKWARD_INT8;
    c.n_threads = 2;
    struct stn_network *network = new_network(adapter, &c);
    struct stn_network_update update = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};
    struct stn_network_result result;
    const float *logits;
    double norm;
    ck_assert_int_eq(stn_network_eval(network, &p.batch, &result, &err), STN_OK);
    ck_assert_int_eq(stn_network_feed(network, p.tokens, 7, &logits, &err), STN_OK);
    uint64_t before = stn_mem_count();
    for (int i = 0; i < 3; i++) {
        (void)accumulate(network, &p);
        ck_assert_int_eq(stn_network_update(network, &update, &norm, &err), STN_OK);
        ck_assert_int_eq(stn_network_eval(network, &p.batch, &result, &err), STN_OK);
        ck_assert_int_eq(stn_network_feed(network, p.tokens, 3, &logits, &err), STN_OK);
    }
    ck_assert_uint_eq(stn_mem_count(), before);
    stn_network_free(network);
    stn_adapter_free(adapter);
}
END_TEST

/* norm^2 of the gradient of one slice */
static double squares_of(const struct stn_adapter *adapter, enum stn_slice slice, const float *g)
{
    double sum = 0;
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &adapter->tensors[i];
        for (size_t k = t->offset; stn_slice_has(slice, t->is_b) && k < t->offset + (size_t)t->rows * t->cols; k++) {
            sum += (double)g[k] * (double)g[k];
        }
    }
    return sum;
}

START_TEST(one_factor_trains_by_the_gradients_it_has_in_both_and_the_other_stays)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_network_config c = config();
    c.backward = STN_BACKWARD_EXACT;
    struct stn_adapter *adapter = new_adapter(4, 8, 2, STN_ARCH_ALL);
    float *all = stn_mem_new(adapter->n_values, 3 * sizeof *all), *g = all + adapter->n_values, *values = g + adapter->n_values;
    double norm;
    struct stn_network *network = new_network(adapter, &c);
    (void)accumulate(network, &p);
    stn_network_get_gradients(network, all);
    stn_network_free(network);
    for (enum stn_slice slice = STN_SLICE_A; slice <= STN_SLICE_B; slice++) {
        const struct stn_network_update update = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1};
        c.slice = slice;
        network = new_network(adapter, &c);
        (void)accumulate(network, &p);
        stn_network_get_gradients(network, g);
        ck_assert_int_eq(stn_network_update(network, &update, &norm, &err), STN_OK);
        ck_assert_double_eq_tol(norm, sqrt(squares_of(adapter, slice, all)), 1e-5 * norm);
        stn_network_get_values(network, values);
        for (size_t i = 0; i < adapter->n_tensors; i++) {
            const struct stn_adapter_tensor *t = &adapter->tensors[i];
            size_t size = (size_t)t->rows * t->cols * sizeof *g;
            bool trains = stn_slice_has(slice, t->is_b);
            ck_assert_int_eq(memcmp(g + t->offset, all + t->offset, size) == 0, trains);
            ck_assert_int_eq(memcmp(values + t->offset, adapter->values + t->offset, size) == 0, !trains);
        }
        stn_network_free(network);
    }
    stn_mem_free(all);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(a_pull_is_the_gradient_of_half_its_strength_times_the_squared_distance)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_network_config c = config();
    struct stn_adapter *adapter = new_adapter(4, 8, 2, STN_ARCH_ALL);
    struct stn_network *network = new_network(adapter, &c);
    const size_t n = adapter->n_values;
    float *before = stn_mem_new(n, 3 * sizeof *before), *after = before + n, *anchor = after + n;
    for (size_t i = 0; i < n; i++) {
        anchor[i] = adapter->values[i] + 0.25f * (float)(i % 7);
    }
    (void)accumulate(network, &p);
    stn_network_get_gradients(network, before);
    stn_network_pull(network, 0.5, anchor);
    stn_network_get_gradients(network, after);
    for (size_t i = 0; i < n; i++) { /* d/dx of mu / 2 (x - x0)^2 */
        double pull = 0.5 * ((double)adapter->values[i] - (double)anchor[i]);
        ck_assert_double_eq_tol((double)after[i], (double)before[i] + pull, 1e-6);
    }
    stn_mem_free(before);
    stn_network_free(network);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(a_gradient_that_is_not_finite_changes_nothing)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_network_config c = config();
    struct stn_adapter *adapter = new_adapter(4, 8, 2, 1u << STN_ARCH_V);
    struct stn_network *network = new_network(adapter, &c);
    float *g = stn_mem_new(adapter->n_values, 2 * sizeof *g), *values = g + adapter->n_values;
    struct stn_network_update update = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};
    double norm;
    (void)accumulate(network, &p);
    g[3] = NAN;
    stn_network_add_gradients(network, g);
    ck_assert_int_eq(stn_network_update(network, &update, &norm, &err), STN_CORRUPT);
    stn_network_get_values(network, values);
    ck_assert_mem_eq(values, adapter->values, adapter->n_values * sizeof *values);
    (void)accumulate(network, &p);
    ck_assert_int_eq(stn_network_update(network, &update, &norm, &err), STN_OK);
    ck_assert_double_gt(norm, 0);
    stn_mem_free(g);
    stn_network_free(network);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(moments_and_values_carry_a_run_on_exactly)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_network_config c = config();
    c.backward = STN_BACKWARD_INT8;
    struct stn_adapter *adapter = new_adapter(4, 8, 2, STN_ARCH_ALL);
    size_t n = adapter->n_values;
    float *all = stn_mem_new(n, 4 * sizeof *all);
    struct stn_network_moments moments = {.m = all + 2 * n, .v = all + 3 * n};
    struct stn_network_update update = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1, .weight_decay = 0.1};
    struct stn_network *a = new_network(adapter, &c), *b = new_network(adapter, &c);
    double norm;
    for (int i = 0; i < 6; i++) {
        if (i == 3) {
            stn_network_get_values(a, all);
            stn_network_get_moments(a, &moments);
            ck_assert_uint_eq(moments.n_steps, 3);
            stn_network_set_values(b, all);
            stn_network_set_moments(b, &moments);
        }
        for (int k = 0; k < (i < 3 ? 1 : 2); k++) {
            struct stn_network *network = k == 0 ? a : b;
            (void)accumulate(network, &p);
            (void)accumulate(network, &p);
            ck_assert_int_eq(stn_network_update(network, &update, &norm, &err), STN_OK);
        }
    }
    stn_network_get_values(a, all);
    stn_network_get_values(b, all + n);
    ck_assert_mem_eq(all, all + n, n * sizeof *all);
    stn_mem_free(all);
    stn_network_free(a);
    stn_network_free(b);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(recomputed_activations_give_the_same_bits_in_less_memory)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_adapter *adapter = new_adapter(4, 8, 2, STN_ARCH_ALL);
    float *g = stn_mem_new(adapter->n_values, 2 * sizeof *g);
    uint32_t n_layers = stn_model_arch(model)->n_layers;
    size_t activations[64];
    ck_assert_uint_le(n_layers, 64);
    for (uint32_t i = 0; i < n_layers; i++) {
        struct stn_network_config c = config();
        c.backward = STN_BACKWARD_INT8;
        c.recompute = i + 1 < n_layers ? i : STN_NETWORK_ALL;
        struct stn_network *network = new_network(adapter, &c);
        (void)accumulate(network, &p);
        stn_network_get_gradients(network, i == 0 ? g : g + adapter->n_values);
        activations[i] = stn_network_memory(network).activations;
        stn_network_free(network);
        ck_assert(i == 0 || memcmp(g, g + adapter->n_values, adapter->n_values * sizeof *g) == 0);
        ck_assert(i == 0 || activations[i] < activations[i - 1]);
    }
    ck_assert_uint_lt(activations[n_layers - 1], activations[0] * 6 / 10);
    stn_mem_free(g);
    stn_adapter_free(adapter);
}
END_TEST

/* The loss of a step's first batch, with the same values dropped each time. */
static double first_loss(struct stn_network *network, const float *values, const struct pack *p)
{
    stn_network_set_values(network, values);
    stn_network_drop_gradients(network);
    return accumulate(network, p);
}

START_TEST(gradients_under_dropout_are_the_slopes_of_the_loss_with_the_same_inputs_dropped)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_adapter *adapter = new_adapter(4, 8, 2, STN_ARCH_ALL);
    size_t n = adapter->n_values;
    float *g = stn_mem_new(n, 3 * sizeof *g), *moved = g + n, *again = g + 2 * n;
    struct stn_network_config c = config();
    c.act_int8 = false;
    double kept_all = 0, squares = 0, step, slope;
    for (unsigned i = 0; i < 3; i++) {
        c.dropout = i == 0 ? 0 : 0.3f;
        c.recompute = i == 2 ? STN_NETWORK_ALL : 0;
        struct stn_network *network = new_network(adapter, &c);
        struct stn_network_result said;
        double loss = first_loss(network, adapter->values, &p);
        stn_network_get_gradients(network, i == 2 ? again : g);
        ck_assert_int_eq(stn_network_eval(network, &p.batch, &said, &err), STN_OK);
        kept_all = i == 0 ? loss : kept_all;
        ck_assert_double_eq_tol(said.loss, kept_all, 1e-6 * kept_all); /* nothing is dropped when it is evaluated */
        ck_assert_double_eq_tol(loss, kept_all, 0.1 * kept_all);
        if (i == 1) {
            ck_assert(fabs(loss - kept_all) > 1e-6 * kept_all);
            for (size_t k = 0; k < n; k++) {
                squares += (double)g[k] * (double)g[k];
            }
            step = 1e-3 / sqrt(squares);
            for (size_t k = 0; k < n; k++) {
                moved[k] = adapter->values[k] + (float)(step * (double)g[k]);
                again[k] = adapter->values[k] - (float)(step * (double)g[k]);
            }
            slope = (first_loss(network, moved, &p) - first_loss(network, again, &p)) / (2 * step);
            ck_assert_msg(fabs(slope - squares) < 0.01 * squares, "slope %g, want %g", slope, squares);
        }
        stn_network_free(network);
    }
    ck_assert_mem_eq(g, again, n * sizeof *g);
    stn_mem_free(g);
    stn_adapter_free(adapter);
}
END_TEST

static size_t sum_of(const struct stn_network_memory *m)
{
    return m->activations + m->adapter + m->scratch;
}

/* From all the memory that is wanted down to none: kept, computed again layer by layer, cut, refused. */
START_TEST(a_network_is_fitted_into_the_memory_there_is)
{
    struct stn_adapter *adapter = new_adapter(4, 8, 2, STN_ARCH_ALL);
    const uint32_t n_layers = stn_model_arch(model)->n_layers;
    struct stn_network_config c = config();
    struct stn_fit fit, before;
    c.evaluates = _i == 1;
    c.n_threads = 2;
    ck_assert_int_eq(stn_fit_find(&fit, model, adapter, &c, ROOM / 2, SIZE_MAX, &err), STN_OK);
    ck_assert(fit.recompute == 0 && fit.rows == ROOM);
    before = fit;
    bool is_cut = false;
    uint32_t n_partial = 0;
    for (size_t room = sum_of(&fit.memory) - 1;; room -= room / 50) {
        ck_assert_int_eq(stn_fit_find(&fit, model, adapter, &c, ROOM / 2, room, &err), STN_OK);
        if (fit.rows == 0) {
            ck_assert_uint_gt(sum_of(&fit.memory), room);
            break;
        }
        ck_assert(fit.recompute >= before.recompute && fit.rows >= ROOM / 2 && fit.rows <= before.rows);
        ck_assert(fit.rows == ROOM || fit.recompute == n_layers - 1);
        n_partial += fit.recompute > 0 && fit.recompute < n_layers - 1;
        is_cut = is_cut || fit.rows < ROOM;
        before = fit;
        struct stn_network_config own = c;
        own.max_tokens = own.max_targets = fit.rows;
        own.recompute = fit.recompute;
        struct stn_network *network = new_network(adapter, &own);
        struct stn_network_memory m = stn_network_memory(network);
        ck_assert_uint_eq(m.activations, fit.memory.activations); /* what was foretold */
        ck_assert_uint_eq(m.adapter, fit.memory.adapter);
        ck_assert_uint_eq(m.scratch, fit.memory.scratch);
        ck_assert_uint_le(sum_of(&m), room);
        stn_network_free(network);
    }
    ck_assert(is_cut && before.rows < ROOM && n_partial > 0);
    /* what is said to be the least is enough */
    ck_assert_int_eq(stn_fit_find(&before, model, adapter, &c, ROOM / 2, sum_of(&fit.memory), &err), STN_OK);
    ck_assert_uint_eq(before.rows, ROOM / 2);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(every_allocation_of_a_network_may_fail_without_harm)
{
    struct pack p = {0};
    pack_some(&p);
    struct stn_adapter *adapter = new_adapter(2, 4, 2, STN_ARCH_ALL);
    struct stn_network_config c = config();
    c.recompute = STN_NETWORK_ALL;
    bool done = false;
    for (uint64_t n = 1; !done; n += n < 40 ? 1 : 7) {
        struct stn_network *network = NULL;
        struct stn_network_result result;
        const float *logits;
        stn_mem_fail_from(n);
        enum stn_code code = stn_network_new(&network, model, adapter, &c, &err);
        code = code != STN_OK ? code : stn_network_accumulate(network, &p.batch, &result, &err);
        code = code != STN_OK ? code : stn_network_eval(network, &p.batch, &result, &err);
        code = code != STN_OK ? code : stn_network_feed(network, p.tokens, 5, &logits, &err);
        stn_mem_fail_from(0);
        ck_assert(code == STN_OK || code == STN_MEMORY);
        done = code == STN_OK;
        stn_network_free(network);
    }
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(every_allocation_of_a_model_may_fail_without_harm)
{
    char path[512];
    bool done = false;
    (void)snprintf(path, sizeof path, "%s/%s", STN_RUN_SOURCE, MODEL);
    for (uint64_t n = 1; !done; n += 5) {
        struct stn_model *other = NULL;
        stn_mem_fail_from(n);
        enum stn_code code = stn_model_open(&other, path, &err);
        stn_mem_fail_from(0);
        ck_assert(code == STN_OK || code == STN_MEMORY);
        done = code == STN_OK;
        stn_model_close(other);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("network train");
    TCase *t = tcase_create("network train");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, open_model, close_model);
    tcase_add_test(t, results_do_not_depend_on_the_number_of_threads);
    tcase_add_test(t, fifty_steps_on_one_batch_make_the_loss_fall_and_int8_falls_as_far);
    tcase_add_test(t, a_step_allocates_nothing);
    tcase_add_test(t, one_factor_trains_by_the_gradients_it_has_in_both_and_the_other_stays);
    tcase_add_test(t, a_pull_is_the_gradient_of_half_its_strength_times_the_squared_distance);
    tcase_add_test(t, a_gradient_that_is_not_finite_changes_nothing);
    tcase_add_test(t, moments_and_values_carry_a_run_on_exactly);
    tcase_add_test(t, recomputed_activations_give_the_same_bits_in_less_memory);
    tcase_add_test(t, gradients_under_dropout_are_the_slopes_of_the_loss_with_the_same_inputs_dropped);
    tcase_add_loop_test(t, a_network_is_fitted_into_the_memory_there_is, 0, 2);
    tcase_add_test(t, every_allocation_of_a_network_may_fail_without_harm);
    tcase_add_test(t, every_allocation_of_a_model_may_fail_without_harm);
    suite_add_tcase(s, t);
    return s;
}
