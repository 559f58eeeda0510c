#include "tests/lib/run.h"

#include <string.h>

#include "client/simulate/demo.h"

enum { HOMES = 20, ALL = STN_DEMO_EXAMPLES + STN_DEMO_TEST };

static struct stn_demo_example examples[HOMES][ALL];

static void setup(void)
{
    for (uint64_t home = 0; home < HOMES; home++) {
        for (uint64_t i = 0; i < ALL; i++) {
            stn_demo_make(1, home, i, &examples[home][i]);
        }
    }
}

START_TEST(the_same_seed_makes_the_same_homes_in_any_order)
{
    struct stn_demo_example again;
    stn_demo_make(1, 7, 31, &again);
    ck_assert_str_eq(again.prompt, examples[7][31].prompt);
    ck_assert_str_eq(again.completion, examples[7][31].completion);
    stn_demo_make(2, 7, 31, &again);
    ck_assert_str_ne(again.prompt, examples[7][31].prompt);
}
END_TEST

START_TEST(no_test_example_is_one_that_its_home_trains_on)
{
    for (size_t home = 0; home < HOMES; home++) {
        for (size_t i = STN_DEMO_EXAMPLES; i < ALL; i++) {
            for (size_t k = 0; k < STN_DEMO_EXAMPLES; k++) {
                ck_assert_str_ne(examples[home][i].prompt, examples[home][k].prompt);
            }
        }
    }
}
END_TEST

/* What was said decides what is meant: the same prompt never has two completions, in whichever home. */
START_TEST(a_prompt_means_one_thing)
{
    for (size_t a = 0; a < HOMES * ALL; a++) {
        for (size_t b = a + 1; b < HOMES * ALL; b++) {
            const struct stn_demo_example *x = &examples[a / ALL][a % ALL], *y = &examples[b / ALL][b % ALL];
            ck_assert(strcmp(x->prompt, y->prompt) != 0 || strcmp(x->completion, y->completion) == 0);
        }
    }
}
END_TEST

START_TEST(homes_differ)
{
    size_t n_same = 0;
    for (size_t i = 0; i < STN_DEMO_EXAMPLES; i++) {
        for (size_t k = 0; k < STN_DEMO_EXAMPLES; k++) {
            n_same += strcmp(examples[0][i].prompt, examples[1][k].prompt) == 0;
        }
    }
    ck_assert_uint_lt(n_same, STN_DEMO_EXAMPLES / 4);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("demo");
    TCase *t = tcase_create("demo");
    tcase_add_unchecked_fixture(t, setup, NULL);
    tcase_add_test(t, the_same_seed_makes_the_same_homes_in_any_order);
    tcase_add_test(t, no_test_example_is_one_that_its_home_trains_on);
    tcase_add_test(t, a_prompt_means_one_thing);
    tcase_add_test(t, homes_differ);
    suite_add_tcase(s, t);
    return s;
}
