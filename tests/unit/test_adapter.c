#include "tests/lib/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "compute/model/adapter.h"

static struct stn_err err;
static struct stn_gguf *gguf;
static struct stn_arch *arch;

static void open_home(void)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_msg(stn_gguf_open(&gguf, path, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_arch_new(&arch, gguf, &err) == STN_OK, "%s", err.text);
}

static void close_home(void)
{
    stn_arch_free(arch);
    stn_gguf_close(gguf);
}

static struct stn_adapter *fresh(uint32_t rank, uint32_t targets)
{
    struct stn_adapter *adapter = NULL;
    ck_assert_msg(stn_adapter_new(&adapter, arch, rank, 16, targets, &err) == STN_OK, "%s", err.text);
    return adapter;
}

START_TEST(values_lie_in_one_canonical_order)
{
    struct stn_adapter *adapter = fresh(8, STN_ARCH_ALL);
    ck_assert_uint_eq(adapter->n_tensors, 4 * 7 * 2);
    size_t offset = 0;
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &adapter->tensors[i];
        ck_assert_uint_eq(t->layer, i / 14);
        ck_assert_uint_eq(t->target, i % 14 / 2);
        ck_assert_int_eq(t->is_b, i % 2);
        ck_assert_uint_eq(t->offset, offset);
        ck_assert_uint_eq(t->is_b ? t->cols : t->rows, 8);
        ck_assert_ptr_nonnull(stn_gguf_tensor(gguf, t->name));
        ck_assert_uint_eq(stn_gguf_tensor(gguf, t->name)->ne[t->is_b], t->is_b ? t->rows : t->cols);
        offset += (size_t)t->rows * t->cols;
    }
    ck_assert_uint_eq(adapter->n_values, offset);
    ck_assert_uint_eq((uintptr_t)adapter->values % STN_MEM_ALIGN, 0);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(training_starts_at_the_base)
{
    struct stn_adapter *a = fresh(8, STN_ARCH_ALL), *b = fresh(8, STN_ARCH_ALL);
    stn_adapter_init(a, 1);
    stn_adapter_init(b, 1);
    ck_assert_mem_eq(a->values, b->values, a->n_values * sizeof *a->values);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &a->tensors[i];
        double squares = 0, bound = 1 / sqrt((double)t->cols);
        size_t n = (size_t)t->rows * t->cols;
        for (size_t k = 0; k < n; k++) {
            double v = (double)a->values[t->offset + k];
            ck_assert(t->is_b ? v == 0 : fabs(v) <= bound);
            squares += v * v;
        }
        if (!t->is_b) {
            ck_assert_double_eq_tol(squares / (double)n, bound * bound / 3, bound * bound / 20);
        }
    }
    stn_adapter_init(b, 2);
    ck_assert_mem_ne(a->values, b->values, a->n_values * sizeof *a->values);
    stn_adapter_free(a);
    stn_adapter_free(b);
}
END_TEST

START_TEST(the_hash_gives_the_values_of_the_reference)
{
    struct stn_adapter *adapter = fresh(4, STN_ARCH_ALL);
    stn_adapter_init_hash(adapter, 7);
    /* blk.0.attn_q.weight.lora_a and blk.3.ffn_down.weight.lora_b: first and last */
    static const float wanted[4] = {0x1.ae65fa0000000p-5f, -0x1.e3948e0000000p-5f, 0x1.d8326a0000000p-10f, 0x1.b8ef0a0000000p-8f};
    const struct stn_adapter_tensor *last = &adapter->tensors[adapter->n_tensors - 1];
    ck_assert_float_eq(adapter->values[0], wanted[0]);
    ck_assert_float_eq(adapter->values[1023], wanted[1]);
    ck_assert_float_eq(adapter->values[last->offset], wanted[2]);
    ck_assert_float_eq(adapter->values[adapter->n_values - 1], wanted[3]);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(a_file_goes_there_and_back_bit_for_bit)
{
    static const uint32_t masks[] = {STN_ARCH_ALL, 1u << STN_ARCH_Q | 1u << STN_ARCH_V, 1u << STN_ARCH_DOWN};
    for (size_t i = 0; i < 3; i++) {
        struct stn_adapter *a = fresh(5, masks[i]), *b = NULL;
        struct stn_buf first = {0}, second = {0};
        stn_adapter_init_hash(a, i);
        ck_assert_int_eq(stn_adapter_set_str(a, "sterna.base", "0123abcd", &err), STN_OK);
        ck_assert_int_eq(stn_adapter_set_u64(a, "sterna.round", 4, &err), STN_OK);
        ck_assert_int_eq(stn_adapter_set_u64(a, "sterna.round", 5, &err), STN_OK);
        ck_assert_int_eq(stn_adapter_file_write(a, &first, &err), STN_OK);
        ck_assert_msg(stn_adapter_file_parse(&b, arch, first.data, first.size, "a", &err) == STN_OK, "%s",
                      err.text);
        ck_assert(stn_adapter_is_like(a, b) && a->alpha == b->alpha);
        ck_assert_mem_eq(a->values, b->values, a->n_values * sizeof *a->values);
        ck_assert_uint_eq(stn_adapter_targets(b), masks[i]);
        struct stn_gguf_str base;
        uint64_t round = 0;
        ck_assert(stn_adapter_get_str(b, "sterna.base", &base) && stn_gguf_is(base, "0123abcd"));
        ck_assert(stn_adapter_get_u64(b, "sterna.round", &round) && round == 5);
        ck_assert(!stn_adapter_get_u64(b, "sterna.none", &round));
        ck_assert_int_eq(stn_adapter_file_write(b, &second, &err), STN_OK);
        ck_assert_uint_eq(first.size, second.size);
        ck_assert_mem_eq(first.data, second.data, first.size);
        stn_buf_fini(&first);
        stn_buf_fini(&second);
        stn_adapter_free(a);
        stn_adapter_free(b);
    }
}
END_TEST

START_TEST(a_file_has_the_names_and_shapes_that_llama_cpp_reads)
{
    struct stn_adapter *adapter = fresh(4, STN_ARCH_ALL);
    struct stn_buf buf = {0};
    struct stn_gguf *file = NULL;
    struct stn_gguf_str str;
    float alpha = 0;
    ck_assert_int_eq(stn_adapter_file_write(adapter, &buf, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_parse(&file, buf.data, buf.size, "a", &err), STN_OK);
    ck_assert(stn_gguf_str(file, "general.type", &str, &err) == STN_OK && stn_gguf_is(str, "adapter"));
    ck_assert(stn_gguf_str(file, "adapter.type", &str, &err) == STN_OK && stn_gguf_is(str, "lora"));
    ck_assert(stn_gguf_str(file, "general.architecture", &str, &err) == STN_OK && stn_gguf_is(str, "bitnet"));
    ck_assert(stn_gguf_f32(file, "adapter.lora.alpha", &alpha, &err) == STN_OK && alpha == 16);
    const struct stn_gguf_tensor *a = stn_gguf_tensor(file, "blk.1.ffn_down.weight.lora_a");
    const struct stn_gguf_tensor *b = stn_gguf_tensor(file, "blk.1.ffn_down.weight.lora_b");
    ck_assert(a->n_dims == 2 && a->ne[0] == 768 && a->ne[1] == 4);
    ck_assert(b->n_dims == 2 && b->ne[0] == 4 && b->ne[1] == 256);
    stn_gguf_close(file);
    stn_buf_fini(&buf);
    stn_adapter_free(adapter);
}
END_TEST

/* Writes an adapter, replaces the first `from` in its bytes, and loads it. */
static enum stn_code changed(const char *from, const void *to, size_t size, size_t skip)
{
    struct stn_adapter *adapter = fresh(4, STN_ARCH_ALL), *other = NULL;
    struct stn_buf buf = {0};
    ck_assert_int_eq(stn_adapter_file_write(adapter, &buf, &err), STN_OK);
    uint8_t *at = memmem(buf.data, buf.size, from, strlen(from));
    ck_assert_ptr_nonnull(at);
    memcpy(at + skip, to, size);
    enum stn_code code = stn_adapter_file_parse(&other, arch, buf.data, buf.size, "a", &err);
    ck_assert(code != STN_OK || other != NULL);
    stn_adapter_free(other);
    stn_adapter_free(adapter);
    stn_buf_fini(&buf);
    return code;
}

START_TEST(an_adapter_of_another_model_or_of_none_is_refused)
{
    ck_assert_int_eq(changed("bitnet", "letnet", 6, 0), STN_INVALID);
    ck_assert_str_eq(err.text, "a: the adapter is for a letnet model, this one is bitnet");
    ck_assert_int_eq(changed("blk.3.attn_q.weight.lora_a", "9", 1, 4), STN_CORRUPT); /* its partner stays */
    ck_assert_int_eq(changed("blk.3.attn_q.weight.lora_a", "w", 1, 11), STN_UNSUPPORTED);
    ck_assert_int_eq(changed("adapter.type", "adapter.tipe", 12, 0), STN_INVALID);
    ck_assert_str_eq(err.text, "a: no LoRA adapter");
    ck_assert_int_eq(changed("adapter.lora.alpha", "\0\0\0\0", 4, 22), STN_CORRUPT);
    ck_assert_int_eq(changed("blk.0.attn_q.weight.lora_a", "\x80\0\0\0\0\0\0\0", 8, 30), STN_INVALID);
    ck_assert_str_eq(err.text, "a: the adapter is for another model: blk.0.attn_q.weight has input 256, not 128");
    ck_assert_int_eq(changed("blk.0.attn_q.weight.lora_b", "\3\0\0\0\0\0\0\0", 8, 30), STN_UNSUPPORTED);
}
END_TEST

START_TEST(a_value_that_is_no_number_is_refused)
{
    struct stn_adapter *adapter = fresh(4, STN_ARCH_ALL), *other = NULL;
    struct stn_buf buf = {0};
    adapter->values[adapter->n_values - 1] = NAN;
    ck_assert_int_eq(stn_adapter_file_write(adapter, &buf, &err), STN_OK);
    ck_assert_int_eq(stn_adapter_file_parse(&other, arch, buf.data, buf.size, "a", &err), STN_CORRUPT);
    ck_assert_str_eq(err.text, "a: value 1023 of tensor blk.3.ffn_down.weight.lora_b is no finite number");
    stn_adapter_free(adapter);
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(metadata_that_is_set_again_takes_no_new_room)
{
    struct stn_adapter *a = fresh(1, 1), *copy = NULL;
    struct stn_gguf_str str;
    uint64_t round = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        ck_assert_int_eq(stn_adapter_set_u64(a, "round", i, &err), STN_OK);
        ck_assert_int_eq(stn_adapter_set_str(a, "word", i % 2 == 0 ? "even" : "odd", &err), STN_OK);
    }
    ck_assert_uint_eq(a->n_notes, 2);
    for (unsigned i = 0; i < 500; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%u", i);
        ck_assert_int_eq(stn_adapter_set_u64(a, key, i, &err), STN_OK);
    }
    ck_assert_int_eq(stn_adapter_copy(&copy, a, &err), STN_OK);
    ck_assert_int_eq(stn_adapter_set_u64(copy, "round", 7, &err), STN_OK);
    ck_assert_int_eq(stn_adapter_set_u64(copy, "new", 8, &err), STN_OK);
    ck_assert(stn_adapter_get_u64(a, "round", &round) && round == 99999);
    ck_assert(!stn_adapter_get_u64(a, "new", &round));
    ck_assert(stn_adapter_get_u64(copy, "round", &round) && round == 7);
    ck_assert(stn_adapter_get_u64(copy, "k499", &round) && round == 499);
    ck_assert(stn_adapter_get_str(copy, "word", &str) && stn_gguf_is(str, "odd"));
    stn_adapter_free(a);
    stn_adapter_free(copy);
}
END_TEST

START_TEST(limits_stand_before_allocations)
{
    struct stn_adapter *adapter = NULL;
    ck_assert_int_eq(stn_adapter_new(&adapter, arch, 0, 16, 1, &err), STN_LIMIT);
    ck_assert_int_eq(stn_adapter_new(&adapter, arch, STN_ADAPTER_RANK + 1, 16, 1, &err), STN_LIMIT);
    ck_assert_int_eq(stn_adapter_new(&adapter, arch, 8, -1, 1, &err), STN_INVALID);
    ck_assert_ptr_null(adapter);
    adapter = fresh(1, 1);
    static char large[STN_ADAPTER_NOTES + 1];
    memset(large, 'x', sizeof large - 1);
    ck_assert_int_eq(stn_adapter_set_str(adapter, "k", large, &err), STN_LIMIT);
    stn_adapter_free(adapter);
    for (uint64_t n = 1; n < 60; n++) {
        struct stn_adapter *copy = NULL;
        stn_mem_fail_from(n);
        adapter = NULL;
        if (stn_adapter_new(&adapter, arch, 8, 16, STN_ARCH_ALL, &err) == STN_OK &&
            stn_adapter_set_u64(adapter, "a", 1, &err) == STN_OK &&
            stn_adapter_copy(&copy, adapter, &err) == STN_OK) {
            ck_assert(stn_adapter_is_like(adapter, copy));
        }
        stn_mem_fail_from(0);
        stn_adapter_free(adapter);
        stn_adapter_free(copy);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("adapter");
    TCase *t = tcase_create("adapter");
    tcase_add_checked_fixture(t, open_home, close_home);
    tcase_add_test(t, values_lie_in_one_canonical_order);
    tcase_add_test(t, training_starts_at_the_base);
    tcase_add_test(t, the_hash_gives_the_values_of_the_reference);
    tcase_add_test(t, a_file_goes_there_and_back_bit_for_bit);
    tcase_add_test(t, a_file_has_the_names_and_shapes_that_llama_cpp_reads);
    tcase_add_test(t, an_adapter_of_another_model_or_of_none_is_refused);
    tcase_add_test(t, a_value_that_is_no_number_is_refused);
    tcase_add_test(t, metadata_that_is_set_again_takes_no_new_room);
    tcase_add_test(t, limits_stand_before_allocations);
    suite_add_tcase(s, t);
    return s;
}
