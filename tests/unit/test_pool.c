#include "tests/lib/run.h"

#include "base/list.h"
#include "client/simulate/pool.h"

enum { N = 200 };

struct sum {
    struct stn_pool_task task;
    uint64_t n, result;
};

static void run(struct stn_pool_task *task, size_t thread)
{
    struct sum *sum = STN_LIST_OF(task, struct sum, task);
    (void)thread;
    sum->result = 0;
    for (uint64_t i = 1; i <= sum->n; i++) {
        sum->result += i;
    }
}

static void each_is_done_once_it_was_waited_for(size_t n_threads)
{
    static struct sum sums[N];
    struct stn_pool *pool;
    struct stn_err err;
    ck_assert_int_eq(stn_pool_new(&pool, n_threads, &err), STN_OK);
    for (int again = 0; again < 3; again++) {
        for (uint64_t i = 0; i < N; i++) {
            sums[i].task.run = run;
            sums[i].n = i * 100;
            sums[i].result = UINT64_MAX;
            stn_pool_submit(pool, &sums[i].task);
        }
        for (size_t i = N; i > 0; i--) {
            struct sum *sum = &sums[i - 1];
            stn_pool_wait(pool, &sum->task);
            ck_assert_uint_eq(sum->result, sum->n * (sum->n + 1) / 2);
            stn_pool_wait(pool, &sum->task); /* a second time is nothing */
        }
    }
    stn_pool_free(pool);
}

START_TEST(with_one_thread)
{
    each_is_done_once_it_was_waited_for(1);
}
END_TEST

START_TEST(with_four_threads)
{
    each_is_done_once_it_was_waited_for(4);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("pool");
    TCase *t = tcase_create("pool");
    tcase_add_test(t, with_one_thread);
    tcase_add_test(t, with_four_threads);
    suite_add_tcase(s, t);
    return s;
}
