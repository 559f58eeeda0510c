#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "compute/model/slice.h"

static struct stn_err err;
static struct stn_adapter *adapter;
static float *sliced, *back;

static void open_home(void)
{
    char path[512];
    struct stn_gguf *gguf = NULL;
    struct stn_arch *arch = NULL;
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_msg(stn_gguf_open(&gguf, path, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_arch_new(&arch, gguf, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_adapter_new(&adapter, arch, 8, 16, STN_ARCH_ALL, &err) == STN_OK, "%s", err.text);
    stn_arch_free(arch);
    stn_gguf_close(gguf);
    for (size_t i = 0; i < adapter->n_values; i++) {
        adapter->values[i] = (float)(i + 1);
    }
    sliced = stn_mem_new(adapter->n_values, 2 * sizeof *sliced);
    back = sliced + adapter->n_values;
}

static void close_home(void)
{
    stn_mem_free(sliced);
    stn_adapter_free(adapter);
}

static bool is_b(size_t at)
{
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &adapter->tensors[i];
        if (at >= t->offset && at < t->offset + (size_t)t->rows * t->cols) {
            return t->is_b;
        }
    }
    ck_abort_msg("value %zu is in no tensor", at);
}

START_TEST(the_factors_share_the_values_between_them)
{
    size_t a = stn_slice_size(adapter, STN_SLICE_A), b = stn_slice_size(adapter, STN_SLICE_B);
    ck_assert_uint_gt(a, 0);
    ck_assert_uint_gt(b, 0);
    ck_assert_uint_eq(a + b, adapter->n_values);
    ck_assert_uint_eq(stn_slice_size(adapter, STN_SLICE_BOTH), adapter->n_values);
    for (enum stn_slice slice = STN_SLICE_BOTH; slice <= STN_SLICE_B; slice++) {
        stn_slice_take(adapter, slice, adapter->values, sliced);
        for (size_t i = 0; i < stn_slice_size(adapter, slice); i++) {
            ck_assert(stn_slice_has(slice, is_b((size_t)sliced[i] - 1)));
            ck_assert(i == 0 || sliced[i] > sliced[i - 1]);
        }
    }
}
END_TEST

START_TEST(what_is_taken_can_be_put_and_added_and_nothing_else_moves)
{
    stn_slice_take(adapter, STN_SLICE_B, adapter->values, sliced);
    stn_slice_put(adapter, STN_SLICE_B, sliced, back);
    for (size_t i = 0; i < adapter->n_values; i++) {
        ck_assert_float_eq(back[i], is_b(i) ? (float)(i + 1) : 0);
    }
    stn_slice_add(adapter, STN_SLICE_B, sliced, back);
    for (size_t i = 0; i < adapter->n_values; i++) {
        ck_assert_float_eq(back[i], is_b(i) ? 2 * (float)(i + 1) : 0);
    }
}
END_TEST

START_TEST(a_slice_is_taken_in_place)
{
    stn_slice_take(adapter, STN_SLICE_A, adapter->values, sliced);
    memcpy(back, adapter->values, adapter->n_values * sizeof *back);
    stn_slice_take(adapter, STN_SLICE_A, back, back);
    ck_assert_mem_eq(back, sliced, stn_slice_size(adapter, STN_SLICE_A) * sizeof *back);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("slice");
    TCase *t = tcase_create("slice");
    tcase_add_checked_fixture(t, open_home, close_home);
    tcase_add_test(t, the_factors_share_the_values_between_them);
    tcase_add_test(t, what_is_taken_can_be_put_and_added_and_nothing_else_moves);
    tcase_add_test(t, a_slice_is_taken_in_place);
    suite_add_tcase(s, t);
    return s;
}
