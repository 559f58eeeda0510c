#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "compute/model/gguf.h"
#include "compute/model/gguf_write.h"

static struct stn_err err;

/* A small file of everything: a key of each kind, and two tensors. */
static struct stn_buf small_file(void)
{
    struct stn_buf buf = {0};
    struct stn_gguf_write *w = NULL;
    uint8_t words[12 + 8 + 2 + 8] = {STN_GGUF_STR, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'a', 'b'};
    uint8_t minus[4] = {0xff, 0xff, 0xff, 0xff};
    ck_assert_int_eq(stn_gguf_write_new(&w, &err), STN_OK);
    stn_gguf_write_str(w, "a.str", "text");
    stn_gguf_write_u32(w, "a.u32", 7);
    stn_gguf_write_u64(w, "a.u64", UINT64_MAX);
    stn_gguf_write_f32(w, "a.f32", 0.5f);
    stn_gguf_write_bool(w, "a.bool", true);
    stn_gguf_write_value(w, &(struct stn_gguf_value){"a.words", STN_GGUF_ARRAY, words, sizeof words});
    stn_gguf_write_value(w, &(struct stn_gguf_value){"a.minus", STN_GGUF_I32, minus, sizeof minus});
    stn_gguf_write_tensor(w, "first", STN_QUANT_F32, 2, (uint64_t[]){3, 2});
    stn_gguf_write_tensor(w, "second", STN_QUANT_TQ2_0, 1, (uint64_t[]){256});
    ck_assert_int_eq(stn_gguf_write_begin_buf(w, &buf, &err), STN_OK);
    float first[6] = {1, 2, 3, 4, 5, 6};
    uint8_t second[66] = {9};
    ck_assert_int_eq(stn_gguf_write_data(w, first, 10, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_write_data(w, (char *)first + 10, sizeof first - 10, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_write_data(w, second, sizeof second, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_write_end(w, &err), STN_OK);
    stn_gguf_write_free(w);
    return buf;
}

/* Opens a copy of exactly its size, so that a read past it is seen; what it answered. */
static enum stn_code answer(const uint8_t *p, size_t size)
{
    uint8_t *copy = stn_mem_copy(p, size);
    struct stn_gguf *gguf = NULL;
    enum stn_code code = stn_gguf_parse(&gguf, copy, size, "small", &err);
    if (code == STN_OK) {
        for (size_t i = 0; i < gguf->n_tensors; i++) {
            const struct stn_gguf_tensor *t = &gguf->tensors[i];
            ck_assert(t->data >= copy && t->size <= size && t->data + t->size <= copy + size);
        }
        struct stn_gguf_array words;
        struct stn_gguf_str word;
        if (stn_gguf_array(gguf, "a.words", STN_GGUF_STR, &words, NULL) == STN_OK) {
            while (stn_gguf_next(&words, &word)) {
                ck_assert((const uint8_t *)word.p + word.size <= copy + size);
            }
        }
    } else {
        ck_assert_ptr_null(gguf);
    }
    stn_gguf_close(gguf);
    stn_mem_free(copy);
    return code;
}

START_TEST(what_was_written_is_read)
{
    struct stn_buf buf = small_file();
    struct stn_gguf *gguf = NULL;
    ck_assert_int_eq(stn_gguf_parse(&gguf, buf.data, buf.size, "small", &err), STN_OK);
    uint64_t u64 = 0;
    uint32_t u32 = 0;
    float f32 = 0;
    bool truth = false;
    struct stn_gguf_str str;
    struct stn_gguf_array words;
    ck_assert_int_eq(stn_gguf_u64(gguf, "a.u64", &u64, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_u32(gguf, "a.u32", &u32, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_f32(gguf, "a.f32", &f32, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_bool(gguf, "a.bool", &truth, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_str(gguf, "a.str", &str, &err), STN_OK);
    ck_assert(u64 == UINT64_MAX && u32 == 7 && f32 == 0.5f && truth && stn_gguf_is(str, "text"));
    ck_assert_int_eq(stn_gguf_array(gguf, "a.words", STN_GGUF_STR, &words, &err), STN_OK);
    ck_assert(words.n == 2 && stn_gguf_next(&words, &str) && stn_gguf_is(str, "ab"));
    ck_assert(stn_gguf_next(&words, &str) && stn_gguf_is(str, "") && !stn_gguf_next(&words, &str));
    const struct stn_gguf_tensor *first = stn_gguf_tensor(gguf, "first");
    const struct stn_gguf_tensor *second = stn_gguf_tensor(gguf, "second");
    ck_assert(first->ne[0] == 3 && first->ne[1] == 2 && first->ne[2] == 1 && first->size == 24);
    ck_assert_float_eq(((const float *)(const void *)first->data)[5], 6);
    ck_assert(second->size == 66 && second->data[0] == 9 && second->n_dims == 1);
    ck_assert_ptr_null(stn_gguf_tensor(gguf, "third"));
    stn_gguf_close(gguf);
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(a_key_of_another_kind_is_an_error_that_names_it)
{
    struct stn_buf buf = small_file();
    struct stn_gguf *gguf = NULL;
    ck_assert_int_eq(stn_gguf_parse(&gguf, buf.data, buf.size, "small", &err), STN_OK);
    uint32_t v = 42;
    ck_assert_int_eq(stn_gguf_u32(gguf, "a.none", &v, &err), STN_NOT_FOUND);
    ck_assert_str_eq(err.text, "small: no key a.none");
    ck_assert_int_eq(stn_gguf_u32(gguf, "a.f32", &v, &err), STN_INVALID);
    ck_assert_str_eq(err.text, "small: key a.f32 is a f32, not a whole number");
    ck_assert_int_eq(stn_gguf_u32(gguf, "a.u64", &v, &err), STN_INVALID);
    ck_assert_int_eq(stn_gguf_u32(gguf, "a.minus", &v, &err), STN_INVALID);
    ck_assert_uint_eq(v, 42);
    struct stn_gguf_array array;
    ck_assert_int_eq(stn_gguf_array(gguf, "a.words", STN_GGUF_F32, &array, &err), STN_INVALID);
    stn_gguf_close(gguf);
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(a_file_cut_anywhere_is_corrupt)
{
    struct stn_buf buf = small_file();
    size_t end = buf.size - 30; /* behind the last tensor there is only padding */
    ck_assert_int_eq(answer(buf.data, end), STN_OK);
    for (size_t size = 0; size < end; size++) {
        ck_assert_int_eq(answer(buf.data, size), STN_CORRUPT);
        ck_assert_int_eq(strncmp(err.text, "small: ", 7), 0);
    }
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(no_flipped_bit_leads_outside_of_the_file)
{
    struct stn_buf buf = small_file();
    for (size_t bit = 0; bit < buf.size * 8; bit++) {
        buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        (void)answer(buf.data, buf.size);
        buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(counts_and_shapes_beyond_reason_are_refused)
{
    struct stn_buf buf = small_file();
    uint8_t *head = buf.data;
    stn_buf_put_u64(head + 8, UINT64_MAX);
    ck_assert_int_eq(answer(buf.data, buf.size), STN_LIMIT);
    stn_buf_put_u64(head + 8, 60000);
    ck_assert_int_eq(answer(buf.data, buf.size), STN_CORRUPT);
    stn_buf_put_u64(head + 8, 2);
    stn_buf_put_u32(head + 4, 4);
    ck_assert_int_eq(answer(buf.data, buf.size), STN_UNSUPPORTED);
    stn_buf_put_u32(head + 4, 2);
    ck_assert_int_eq(answer(buf.data, buf.size), STN_OK);
    uint8_t *first = memmem(buf.data, buf.size, "first", 5);
    for (unsigned shift = 3; shift < 64; shift++) {
        stn_buf_put_u64(first + 9, (uint64_t)1 << shift);
        stn_buf_put_u64(first + 17, (uint64_t)1 << (66 - shift) % 64);
        ck_assert_int_eq(answer(buf.data, buf.size), STN_CORRUPT);
    }
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(twins_and_overlaps_are_refused_by_name)
{
    struct stn_buf buf = small_file();
    uint8_t *second = memmem(buf.data, buf.size, "second", 6);
    stn_buf_put_u64(second + 6 + 4 + 8 + 4, 0); /* its offset: onto the first */
    ck_assert_int_eq(answer(buf.data, buf.size), STN_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "overlap"));
    stn_buf_put_u64(second + 6 + 4 + 8 + 4, 8);
    ck_assert_int_eq(answer(buf.data, buf.size), STN_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "multiple"));
    uint8_t *key = memmem(buf.data, buf.size, "a.u32", 5);
    memcpy(key, "a.str", 5);
    ck_assert_int_eq(answer(buf.data, buf.size), STN_CORRUPT);
    ck_assert_str_eq(err.text, "small: key a.str appears twice");
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(a_file_appears_whole_or_not_at_all)
{
    char path[] = "/tmp/test_gguf_XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(fd), 0);
    for (int whole = 0; whole < 2; whole++) {
        struct stn_gguf_write *w = NULL;
        struct stn_gguf *gguf = NULL;
        ck_assert_int_eq(stn_gguf_write_new(&w, &err), STN_OK);
        stn_gguf_write_tensor(w, "x", STN_QUANT_F16, 1, (uint64_t[]){3});
        ck_assert_int_eq(stn_gguf_write_begin(w, path, &err), STN_OK);
        ck_assert_int_eq(stn_gguf_write_data(w, "abcdef", whole ? 6 : 4, &err), STN_OK);
        if (whole) {
            ck_assert_int_eq(stn_gguf_write_end(w, &err), STN_OK);
        }
        stn_gguf_write_free(w);
        ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), whole ? STN_OK : STN_CORRUPT);
        if (whole) {
            ck_assert_mem_eq(stn_gguf_tensor(gguf, "x")->data, "abcdef", 6);
            stn_gguf_drop(gguf, stn_gguf_tensor(gguf, "x"));
        }
        stn_gguf_close(gguf);
    }
    ck_assert_int_eq(unlink(path), 0);
    struct stn_gguf *gguf = NULL;
    ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_gguf_open(&gguf, "/tmp", &err), STN_CORRUPT);
}
END_TEST

START_TEST(every_allocation_may_fail_without_harm)
{
    struct stn_buf buf = small_file();
    for (uint64_t n = 1; n < 30; n++) {
        struct stn_gguf *gguf = NULL;
        stn_mem_fail_from(n);
        enum stn_code code = stn_gguf_parse(&gguf, buf.data, buf.size, "small", &err);
        stn_mem_fail_from(0);
        ck_assert(code == STN_MEMORY || code == STN_OK);
        stn_gguf_close(gguf);
    }
    stn_buf_fini(&buf);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("gguf");
    TCase *t = tcase_create("gguf");
    tcase_add_test(t, what_was_written_is_read);
    tcase_add_test(t, a_key_of_another_kind_is_an_error_that_names_it);
    tcase_add_test(t, a_file_cut_anywhere_is_corrupt);
    tcase_add_test(t, no_flipped_bit_leads_outside_of_the_file);
    tcase_add_test(t, counts_and_shapes_beyond_reason_are_refused);
    tcase_add_test(t, twins_and_overlaps_are_refused_by_name);
    tcase_add_test(t, a_file_appears_whole_or_not_at_all);
    tcase_add_test(t, every_allocation_may_fail_without_harm);
    suite_add_tcase(s, t);
    return s;
}
