#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/hex.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

START_TEST(an_error_names_its_code_and_keeps_its_prefix)
{
    struct stn_err err = {0};
    ck_assert_int_eq(stn_err_set(&err, STN_LIMIT, "%d of %d", 3, 2), STN_LIMIT);
    ck_assert_int_eq(stn_err_prefix(&err, "file %s", "a.gguf"), STN_LIMIT);
    ck_assert_str_eq(err.text, "file a.gguf: 3 of 2");
    (void)stn_err_set(&err, STN_INVALID, "near %s", "a\nb\x1b[2J");
    ck_assert_str_eq(err.text, "near a?b?[2J");
    ck_assert_str_eq(stn_err_name(STN_LATE), "late");
    ck_assert_str_eq(stn_err_name((enum stn_code)99), "unknown");
    for (int i = STN_OK + 1; i < STN_N_CODES; i++) {
        ck_assert_int_eq(stn_err_code(stn_err_name((enum stn_code)i), STN_OK), i);
    }
    ck_assert_int_eq(stn_err_code("ok", STN_IO), STN_IO); /* is no failure */
    ck_assert_int_eq(stn_err_code("unknown", STN_AGAIN), STN_AGAIN);
}
END_TEST

START_TEST(a_buffer_refuses_to_pass_its_limit_and_says_so_once_for_all)
{
    struct stn_buf buf = {.limit = 10};
    ck_assert(stn_buf_add_u64(&buf, 7));
    ck_assert(!stn_buf_add_u32(&buf, 7));
    ck_assert(!stn_buf_add_u8(&buf, 7));
    ck_assert(buf.failed);
    ck_assert_uint_eq(buf.size, 8);
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(a_cursor_never_reads_past_the_end)
{
    const uint8_t bytes[] = {1, 2, 3, 4, 5};
    struct stn_cursor cursor = stn_buf_cursor(bytes, sizeof bytes);
    ck_assert_uint_eq(stn_buf_take_u32(&cursor), 0x04030201);
    ck_assert_uint_eq(stn_buf_take_u32(&cursor), 0);
    ck_assert(cursor.failed);
    ck_assert_uint_eq(stn_buf_take_u8(&cursor), 0);
}
END_TEST

START_TEST(numbers_are_parsed_whole_or_not_at_all)
{
    uint64_t u = 5;
    double f = 5;
    ck_assert(stn_str_u64("18446744073709551615", &u) && u == UINT64_MAX);
    ck_assert(!stn_str_u64("18446744073709551616", &u));
    ck_assert(!stn_str_u64("", &u) && !stn_str_u64("1x", &u) && !stn_str_u64("-1", &u));
    ck_assert(stn_str_f64("3e-3", &f) && f > 0.0029 && f < 0.0031);
    ck_assert(!stn_str_f64("nan", &f) && !stn_str_f64("1e999", &f) && !stn_str_f64(" 1", &f));
    ck_assert(stn_str_size("1.5G", &u) && u == 3u << 29);
    ck_assert(stn_str_size("64K", &u) && u == 65536);
    ck_assert(!stn_str_size("-1K", &u) && !stn_str_size("1Q", &u));
}
END_TEST

START_TEST(utf8_is_strict)
{
    ck_assert(stn_str_is_utf8("gr\xc3\xbc\xc3\x9f \xf0\x9f\x8f\xa0", 12));
    ck_assert(!stn_str_is_utf8("\xc0\x80", 2));         /* overlong */
    ck_assert(!stn_str_is_utf8("\xed\xa0\x80", 3));     /* surrogate */
    ck_assert(!stn_str_is_utf8("\xf4\x90\x80\x80", 4)); /* past the last point */
    ck_assert(!stn_str_is_utf8("\xe2\x82", 2));         /* cut */
    for (uint32_t point = 1; point < 0x110000; point += 97) {
        char bytes[4];
        uint32_t back = 0;
        if (point >= 0xd800 && point < 0xe000) {
            continue;
        }
        size_t n = stn_str_utf8_put(bytes, point);
        ck_assert_uint_eq(stn_str_utf8(bytes, n, &back), n);
        ck_assert_uint_eq(back, point);
    }
}
END_TEST

START_TEST(hex_goes_there_and_back)
{
    uint8_t bytes[4];
    char text[9];
    ck_assert(stn_hex_get(bytes, 4, "00fFa17e"));
    stn_hex_put(text, bytes, 4);
    ck_assert_str_eq(text, "00ffa17e");
    ck_assert(!stn_hex_get(bytes, 4, "00ffa17"));
    ck_assert(!stn_hex_get(bytes, 4, "00ffa17g"));
}
END_TEST

START_TEST(a_map_agrees_with_a_plain_array_through_many_changes)
{
    enum { N = 500 };
    static char values[N];
    bool there[N] = {0};
    struct stn_map map = {0};
    struct stn_rng rng;
    stn_rng_init(&rng, 3);
    for (int step = 0; step < 20000; step++) {
        uint32_t key = (uint32_t)stn_rng_below(&rng, N);
        if (stn_rng_below(&rng, 2) == 0) {
            ck_assert(stn_map_set(&map, &key, sizeof key, &values[key]));
            there[key] = true;
        } else {
            void *was = stn_map_remove(&map, &key, sizeof key);
            ck_assert_ptr_eq(was, there[key] ? &values[key] : NULL);
            there[key] = false;
        }
    }
    size_t n = 0;
    for (uint32_t key = 0; key < N; key++) {
        ck_assert_ptr_eq(stn_map_get(&map, &key, sizeof key), there[key] ? &values[key] : NULL);
        n += there[key];
    }
    ck_assert_uint_eq(map.n, n);
    stn_map_fini(&map);
}
END_TEST

START_TEST(a_heap_gives_equal_times_in_the_order_they_came)
{
    struct stn_heap heap = {0};
    static char values[1000];
    struct stn_rng rng;
    stn_rng_init(&rng, 9);
    for (size_t i = 0; i < sizeof values; i++) {
        ck_assert(stn_heap_push(&heap, stn_rng_below(&rng, 20), &values[i]));
    }
    struct stn_heap_entry last = {0}, entry;
    for (size_t i = 0; stn_heap_pop(&heap, &entry); i++) {
        ck_assert(i == 0 || entry.time > last.time ||
                  (entry.time == last.time && entry.number > last.number));
        last = entry;
    }
    stn_heap_fini(&heap);
}
END_TEST

START_TEST(a_list_keeps_order)
{
    struct item {
        int v;
        struct stn_list link;
    } items[3] = {{.v = 1}, {.v = 2}, {.v = 3}};
    struct stn_list head;
    stn_list_init(&head);
    for (int i = 0; i < 3; i++) {
        stn_list_add(&head, &items[i].link);
    }
    stn_list_remove(&items[1].link);
    ck_assert_int_eq(STN_LIST_OF(stn_list_pop(&head), struct item, link)->v, 1);
    ck_assert_int_eq(STN_LIST_OF(stn_list_pop(&head), struct item, link)->v, 3);
    ck_assert_ptr_null(stn_list_pop(&head));
}
END_TEST

START_TEST(an_arena_keeps_its_limit_and_zeroes)
{
    struct stn_arena arena = {.limit = 100000};
    for (int i = 0; i < 100; i++) {
        unsigned char *p = stn_arena_new(&arena, 9, 11);
        ck_assert_ptr_nonnull(p);
        for (int k = 0; k < 99; k++) {
            ck_assert_uint_eq(p[k], 0);
        }
        memset(p, 0xff, 99);
    }
    ck_assert_ptr_null(stn_arena_new(&arena, 1, 100000));
    ck_assert_ptr_null(stn_arena_new(&arena, SIZE_MAX, 2));
    stn_arena_fini(&arena);
}
END_TEST

START_TEST(random_numbers_have_the_moments_they_should)
{
    enum { N = 200000 };
    struct stn_rng rng;
    stn_rng_fork(&rng, 1, "moments", 0);
    double sum = 0, squares = 0, gamma = 0;
    for (int i = 0; i < N; i++) {
        double x = stn_rng_normal(&rng);
        sum += x;
        squares += x * x;
        gamma += stn_rng_gamma(&rng, 0.3);
    }
    ck_assert_double_eq_tol(sum / N, 0, 0.01);
    ck_assert_double_eq_tol(squares / N, 1, 0.02);
    ck_assert_double_eq_tol(gamma / N, 0.3, 0.01);
    int counts[6] = {0};
    for (int i = 0; i < 60000; i++) {
        counts[stn_rng_below(&rng, 6)]++;
    }
    for (int i = 0; i < 6; i++) {
        ck_assert_int_gt(counts[i], 9500);
        ck_assert_int_lt(counts[i], 10500);
    }
}
END_TEST

START_TEST(every_allocation_may_fail_without_harm)
{
    for (uint64_t n = 1; n < 40; n++) {
        struct stn_map map = {0};
        struct stn_buf buf = {0};
        struct stn_heap heap = {0};
        struct stn_arena arena = {0};
        stn_mem_fail_from(n);
        for (uint32_t key = 0; key < 20; key++) {
            bool in = stn_map_set(&map, &key, sizeof key, &map);
            ck_assert_ptr_eq(stn_map_get(&map, &key, sizeof key), in ? &map : NULL);
            (void)stn_buf_add(&buf, &key, sizeof key);
            (void)stn_heap_push(&heap, key, NULL);
            (void)stn_arena_new(&arena, 100, 10);
        }
        stn_mem_fail_from(0);
        stn_map_fini(&map);
        stn_buf_fini(&buf);
        stn_heap_fini(&heap);
        stn_arena_fini(&arena);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("base");
    TCase *t = tcase_create("base");
    tcase_add_test(t, an_error_names_its_code_and_keeps_its_prefix);
    tcase_add_test(t, a_buffer_refuses_to_pass_its_limit_and_says_so_once_for_all);
    tcase_add_test(t, a_cursor_never_reads_past_the_end);
    tcase_add_test(t, numbers_are_parsed_whole_or_not_at_all);
    tcase_add_test(t, utf8_is_strict);
    tcase_add_test(t, hex_goes_there_and_back);
    tcase_add_test(t, a_map_agrees_with_a_plain_array_through_many_changes);
    tcase_add_test(t, a_heap_gives_equal_times_in_the_order_they_came);
    tcase_add_test(t, a_list_keeps_order);
    tcase_add_test(t, an_arena_keeps_its_limit_and_zeroes);
    tcase_add_test(t, random_numbers_have_the_moments_they_should);
    tcase_add_test(t, every_allocation_may_fail_without_harm);
    suite_add_tcase(s, t);
    return s;
}
