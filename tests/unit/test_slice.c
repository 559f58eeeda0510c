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
    ck_assert_msg(stn_adapter_new(&adapter, arch, 8, 16, 1u << STN_ARCH_V, &err) == STN_OK, "%s", err.text);
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

START_TEST(what_is_taken_can_be_added_and_nothing_else_moves)
{
    stn_slice_take(adapter, STN_SLICE_B, adapter->values, sliced);
    stn_slice_add(adapter, STN_SLICE_B, sliced, back);
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

/* Of a value: its slot. */
static uint32_t slot_of(const struct stn_adapter *of, size_t at)
{
    for (size_t i = 0; i < of->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &of->tensors[i];
        if (at < t->offset + (size_t)t->rows * t->cols) {
            return (uint32_t)(t->is_b ? (at - t->offset) % t->cols : (at - t->offset) / t->cols);
        }
    }
    ck_abort_msg("value %zu is in no tensor", at);
}

START_TEST(a_narrow_adapter_is_the_first_slots_with_the_same_scale)
{
    struct stn_adapter *narrow = NULL;
    size_t at = 0;
    ck_assert_int_eq(stn_slice_narrow(&narrow, adapter, 3, &err), STN_OK);
    ck_assert_uint_eq(narrow->rank, 3);
    ck_assert_uint_eq(narrow->n_values * 8, adapter->n_values * 3);
    ck_assert_float_eq_tol(narrow->alpha / 3, adapter->alpha / 8, 1e-6f);
    for (size_t i = 0; i < adapter->n_values; i++) { /* the wide one's order, without the other slots */
        if (slot_of(adapter, i) < 3) {
            ck_assert_float_eq(narrow->values[at++], (float)(i + 1));
        }
    }
    ck_assert_uint_eq(at, narrow->n_values);
    stn_slice_narrow_values(adapter, narrow, adapter->values, back);
    ck_assert_mem_eq(back, narrow->values, narrow->n_values * sizeof *back);
    stn_adapter_free(narrow);
}
END_TEST

START_TEST(a_narrow_slice_is_put_where_its_slots_are)
{
    struct stn_adapter *narrow = NULL;
    ck_assert_int_eq(stn_slice_narrow(&narrow, adapter, 2, &err), STN_OK);
    for (enum stn_slice slice = STN_SLICE_BOTH; slice <= STN_SLICE_B; slice++) {
        stn_slice_take(narrow, slice, narrow->values, sliced);
        stn_slice_widen(adapter, narrow, slice, sliced, back);
        memset(sliced, 0, adapter->n_values * sizeof *sliced);
        stn_slice_add(adapter, slice, back, sliced);
        for (size_t i = 0; i < adapter->n_values; i++) {
            bool is_there = stn_slice_has(slice, is_b(i)) && slot_of(adapter, i) < 2;
            ck_assert_float_eq(sliced[i], is_there ? (float)(i + 1) : 0);
        }
    }
    stn_adapter_free(narrow);
}
END_TEST

START_TEST(a_slice_is_scaled_slot_by_slot)
{
    const double by_slot[] = {1, 0.5, 2, 0, 1, 1, 1, 4};
    for (enum stn_slice slice = STN_SLICE_BOTH; slice <= STN_SLICE_B; slice++) {
        stn_slice_take(adapter, slice, adapter->values, sliced);
        stn_slice_scale(adapter, slice, by_slot, sliced);
        memset(back, 0, adapter->n_values * sizeof *back);
        stn_slice_add(adapter, slice, sliced, back);
        for (size_t i = 0; i < adapter->n_values; i++) {
            double scale = stn_slice_has(slice, is_b(i)) ? by_slot[slot_of(adapter, i)] : 0;
            ck_assert_float_eq(back[i], (float)(scale * (double)(i + 1)));
        }
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("slice");
    TCase *t = tcase_create("slice");
    tcase_add_checked_fixture(t, open_home, close_home);
    tcase_add_test(t, the_factors_share_the_values_between_them);
    tcase_add_test(t, what_is_taken_can_be_added_and_nothing_else_moves);
    tcase_add_test(t, a_slice_is_taken_in_place);
    tcase_add_test(t, a_narrow_adapter_is_the_first_slots_with_the_same_scale);
    tcase_add_test(t, a_narrow_slice_is_put_where_its_slots_are);
    tcase_add_test(t, a_slice_is_scaled_slot_by_slot);
    suite_add_tcase(s, t);
    return s;
}
