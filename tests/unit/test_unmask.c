#include "tests/lib/run.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "update/unmask.h"

enum { LENGTH = 5 * 16384 + 77, MASKS = 9, THREADS = 4 };

static uint32_t *sum, *expected;
static struct stn_mask masks[MASKS];

static void set_up(void)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 3);
    sum = stn_mem_aligned(LENGTH, sizeof *sum);
    expected = stn_mem_aligned(LENGTH, sizeof *expected);
    ck_assert(sum != NULL && expected != NULL);
    for (size_t i = 0; i < LENGTH; i++) {
        sum[i] = expected[i] = (uint32_t)stn_rng_u64(&rng);
    }
    for (size_t i = 0; i < MASKS; i++) {
        masks[i] = (struct stn_mask){.is_minus = i % 3 != 0};
        for (size_t k = 0; k < sizeof masks[i].seed; k++) {
            masks[i].seed[k] = (uint8_t)stn_rng_u64(&rng);
        }
    }
    stn_mask_apply(expected, LENGTH, 0, masks, MASKS);
}

static void tear_down(void)
{
    stn_mem_free(sum);
    stn_mem_free(expected);
}

static void *help(void *unmask)
{
    stn_unmask_help(unmask);
    return NULL;
}

START_TEST(any_number_of_threads_makes_the_same_sum)
{
    struct stn_unmask unmask;
    pthread_t threads[THREADS];
    stn_unmask_init(&unmask, sum, LENGTH, masks, 4);
    stn_unmask_help(&unmask);
    stn_unmask_help(&unmask); /* nothing is left */
    stn_unmask_init(&unmask, sum, LENGTH, masks + 4, MASKS - 4);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, help, &unmask), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_mem_eq(sum, expected, LENGTH * sizeof *sum);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("unmask");
    TCase *t = tcase_create("unmask");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, any_number_of_threads_makes_the_same_sum);
    suite_add_tcase(s, t);
    return s;
}
