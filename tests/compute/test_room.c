#include "tests/lib/run.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/cpu/ternary_room.h"

enum { LARGEST_ROWS = 200, LARGEST_COLS = 700, N_MEMBERS = 3 };

static struct stn_err err;
static int8_t weights[LARGEST_ROWS * LARGEST_COLS];
static float scales[LARGEST_ROWS * 3];
static size_t n_cols;

static void row_of(const void *user, size_t row, int8_t *values, float *row_scales)
{
    size_t n_blocks = (n_cols + 255) / 256;
    (void)user;
    memcpy(values, weights + row * n_cols, n_cols);
    memcpy(row_scales, scales + row * n_blocks, n_blocks * sizeof *row_scales);
}

static void draw(struct stn_ternary_source *source, size_t rows, size_t cols, bool per_block, uint64_t seed)
{
    struct stn_rng rng;
    stn_rng_init(&rng, seed);
    n_cols = cols;
    for (size_t i = 0; i < rows * cols; i++) {
        weights[i] = (int8_t)((int)stn_rng_below(&rng, 3) - 1);
    }
    for (size_t i = 0; i < rows * ((cols + 255) / 256); i++) {
        scales[i] = !per_block ? 0.037f : stn_rng_below(&rng, 8) == 0 ? 0 : (float)(0.01 + stn_rng_unit(&rng));
    }
    *source = (struct stn_ternary_source){.rows = rows, .cols = cols, .row = row_of};
}

/* As a team would: in shares of any size, by any member. */
static const struct stn_ternary *take_in(struct stn_ternary_room *room, const struct stn_ternary_source *source)
{
    size_t n = stn_ternary_room_begin(room, source);
    for (size_t first = 0, k = 0; first < n; k++) {
        size_t count = k % 2 + 1 < n - first ? k % 2 + 1 : n - first;
        stn_ternary_room_fill(room, (unsigned)(k % N_MEMBERS), first, count);
        first += count;
    }
    return stn_ternary_room_end(room);
}

static struct stn_ternary_room *new_room(void)
{
    struct stn_ternary_room_size most = {0};
    struct stn_ternary_room *room = NULL;
    stn_ternary_room_raise(&most, 64, LARGEST_COLS);
    stn_ternary_room_raise(&most, LARGEST_ROWS, LARGEST_COLS);
    ck_assert_msg(stn_ternary_room_new(&room, &most, N_MEMBERS, &err) == STN_OK, "%s", err.text);
    return room;
}

START_TEST(one_matrix_after_another_is_what_it_would_be_packed_for_good)
{
    static const struct {
        size_t rows, cols;
    } sizes[] = {{LARGEST_ROWS, LARGEST_COLS}, {1, 1}, {65, 257}, {64, 256}, {130, 699}, {LARGEST_ROWS, 3}};
    struct stn_ternary_room *room = new_room();
    uint64_t n_allocations = 0;
    for (uint64_t i = 0; i < 24; i++) {
        struct stn_ternary_source source;
        struct stn_ternary *packed = NULL;
        struct stn_ternary_parts want, got;
        draw(&source, sizes[i % 6].rows, sizes[i % 6].cols, i / 6 % 2 == 1, i);
        ck_assert_int_eq(stn_ternary_new(&packed, &source, &err), STN_OK);
        n_allocations = stn_mem_count();
        const struct stn_ternary *held = take_in(room, &source);
        ck_assert_uint_eq(stn_mem_count(), n_allocations);
        ck_assert(!stn_ternary_is_hollow(held));
        stn_ternary_apart(packed, &want);
        stn_ternary_apart(held, &got);
        ck_assert_uint_eq(got.panels_size, want.panels_size);
        ck_assert_uint_eq(got.scales_size, want.scales_size);
        ck_assert_mem_eq(got.panels, want.panels, want.panels_size);
        ck_assert(want.scales_size == 0 || memcmp(got.block_scales, want.block_scales, want.scales_size) == 0);
        ck_assert_float_eq(got.scale, want.scale);
        stn_ternary_free(packed);
    }
    stn_ternary_room_free(room);
}
END_TEST

START_TEST(a_weight_that_is_none_becomes_zero)
{
    struct stn_ternary_room *room = new_room();
    struct stn_ternary_source source;
    struct stn_ternary *packed = NULL;
    struct stn_ternary_parts want, got;
    draw(&source, 70, 300, false, 3);
    weights[0] = weights[301] = weights[69 * 300 + 299] = 0;
    ck_assert_int_eq(stn_ternary_new(&packed, &source, &err), STN_OK);
    weights[0] = 2;
    weights[301] = -128;
    weights[69 * 300 + 299] = 127;
    stn_ternary_apart(packed, &want);
    stn_ternary_apart(take_in(room, &source), &got);
    ck_assert_mem_eq(got.panels, want.panels, want.panels_size);
    stn_ternary_free(packed);
    stn_ternary_room_free(room);
}
END_TEST

START_TEST(a_hollow_matrix_has_sizes_and_nothing_else)
{
    struct stn_ternary *hollow = NULL, *packed = NULL;
    struct stn_ternary_source source;
    draw(&source, 70, 300, true, 3);
    ck_assert_int_eq(stn_ternary_new(&packed, &source, &err), STN_OK);
    ck_assert_int_eq(stn_ternary_hollow(&hollow, 70, 300, &err), STN_OK);
    ck_assert(stn_ternary_is_hollow(hollow) && !stn_ternary_is_hollow(packed));
    ck_assert_uint_eq(stn_ternary_rows(hollow), 70);
    ck_assert_uint_eq(stn_ternary_cols(hollow), 300);
    ck_assert_uint_lt(stn_ternary_size(hollow), 128);
    ck_assert_uint_eq(stn_ternary_scratch(hollow, 9), stn_ternary_scratch(packed, 9)); /* as if each block had its scale */
    stn_ternary_page(hollow, &source, true);
    stn_ternary_drop(hollow);
    stn_ternary_free(hollow);
    stn_ternary_free(packed);
}
END_TEST

START_TEST(every_allocation_of_a_room_may_fail)
{
    const struct stn_ternary_room_size most = {.panels = 4096, .scales = 1024, .cols = 100};
    for (uint64_t n = 1; n <= 6; n++) {
        struct stn_ternary_room *room = NULL;
        stn_mem_fail_from(n);
        enum stn_code code = stn_ternary_room_new(&room, &most, 2, &err);
        stn_mem_fail_from(0);
        ck_assert_int_eq(code, n <= 5 ? STN_MEMORY : STN_OK);
        stn_ternary_room_free(room);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("room");
    TCase *t = tcase_create("room");
    suite_add_tcase(s, t);
    tcase_add_test(t, one_matrix_after_another_is_what_it_would_be_packed_for_good);
    tcase_add_test(t, a_weight_that_is_none_becomes_zero);
    tcase_add_test(t, a_hollow_matrix_has_sizes_and_nothing_else);
    tcase_add_test(t, every_allocation_of_a_room_may_fail);
    return s;
}
