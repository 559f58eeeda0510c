#include "tests/lib/run.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "io/worker.h"

static struct stn_loop *loop;
static struct stn_mailbox *mailbox;
static struct stn_buf said;

static void open_all(void)
{
    struct stn_err err = {0};
    ck_assert_msg(stn_loop_open(&loop, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_mailbox_open(&mailbox, loop, &err) == STN_OK, "%s", err.text);
    ck_assert(stn_buf_add_u8(&said, 0));
    stn_buf_clear(&said);
}

static void count_up(void *user)
{
    ++*(int *)user;
}

/* Asserts in stn_loop_close that nothing was left open. */
static void close_all(void)
{
    int n_closed = 0;
    stn_mailbox_close(mailbox, count_up, &n_closed);
    stn_loop_run(loop);
    ck_assert_int_eq(n_closed, 1);
    stn_loop_close(loop);
    stn_buf_fini(&said);
}

static void say(const char *text)
{
    ck_assert(stn_buf_printf(&said, "%s ", text));
}

struct named {
    struct stn_timer timer;
    const char *name;
};

static void say_name(struct stn_timer *timer)
{
    say(((struct named *)(void *)timer)->name);
}

static void arm_again_once(struct stn_timer *timer)
{
    say_name(timer);
    if (((struct named *)(void *)timer)->name[0] == 'x') {
        ((struct named *)(void *)timer)->name = "again";
        stn_loop_arm(loop, timer, 0);
    }
}

START_TEST(timers_fire_once_in_the_order_of_their_times)
{
    open_all();
    struct named a = {{say_name}, "a"}, b = {{say_name}, "b"}, c = {{say_name}, "c"},
                 d = {{say_name}, "d"}, x = {{arm_again_once}, "x"};
    stn_loop_arm(loop, &c.timer, 20);
    stn_loop_arm(loop, &a.timer, 5);
    stn_loop_arm(loop, &b.timer, 5);
    stn_loop_arm(loop, &d.timer, 1);
    stn_loop_arm(loop, &x.timer, 0);
    stn_loop_disarm(loop, &d.timer);
    stn_loop_disarm(loop, &d.timer);
    ck_assert(!d.timer.armed && a.timer.armed);
    stn_loop_run(loop);
    ck_assert_str_eq((char *)said.data, "x again a b c ");
    ck_assert(!a.timer.armed);
    close_all();
}
END_TEST

START_TEST(a_timer_that_is_armed_again_is_moved)
{
    open_all();
    struct named a = {{say_name}, "a"}, b = {{say_name}, "b"};
    stn_loop_arm(loop, &a.timer, 1);
    stn_loop_arm(loop, &b.timer, 3);
    stn_loop_arm(loop, &a.timer, 6);
    stn_loop_run(loop);
    ck_assert_str_eq((char *)said.data, "b a ");
    close_all();
}
END_TEST

START_TEST(the_heap_of_timers_agrees_with_a_sorted_list)
{
    enum { N = 300 };
    struct stn_timer timers[N] = {0}, *root = NULL;
    struct stn_rng rng;
    stn_rng_init(&rng, 3);
    uint64_t number = 0;
    for (int round = 0; round < 20000; round++) {
        struct stn_timer *timer = &timers[stn_rng_below(&rng, N)];
        if (timer->armed) {
            root = stn_timer_remove(root, timer);
        } else {
            timer->due_ms = stn_rng_below(&rng, 50);
            timer->number = number++;
            root = stn_timer_add(root, timer);
        }
        const struct stn_timer *first = NULL;
        for (int i = 0; i < N; i++) {
            const struct stn_timer *t = &timers[i];
            if (t->armed && (first == NULL || t->due_ms < first->due_ms ||
                             (t->due_ms == first->due_ms && t->number < first->number))) {
                first = t;
            }
        }
        ck_assert_ptr_eq(root, first);
    }
}
END_TEST

static void say_turn(void *user)
{
    say(user);
}

static void say_and_stop(struct stn_timer *timer)
{
    say_name(timer);
    stn_loop_stop(loop);
}

static struct named last = {{say_and_stop}, "b"};

static void say_and_arm_last(struct stn_timer *timer)
{
    say_name(timer);
    stn_loop_arm(loop, &last.timer, 2);
}

START_TEST(every_turn_ends_with_the_hooks_in_order_and_so_does_the_last)
{
    open_all();
    struct stn_loop_hook commit = {.turn = say_turn, .user = "commit"},
                         flush = {.turn = say_turn, .user = "flush"};
    struct named a = {{say_and_arm_last}, "a"};
    stn_loop_add_hook(loop, &commit);
    stn_loop_add_hook(loop, &flush);
    stn_loop_arm(loop, &a.timer, 2);
    stn_loop_run(loop);
    ck_assert_ptr_nonnull(strstr((char *)said.data, "a commit flush "));
    ck_assert_ptr_nonnull(strstr((char *)said.data, "b commit flush "));
    stn_loop_remove_hook(loop, &commit);
    stn_loop_remove_hook(loop, &flush);
    close_all();
}
END_TEST

static int n_fired;

static void fire_a_thousand_times(struct stn_timer *timer)
{
    if (++n_fired < 1000) {
        stn_loop_arm(loop, timer, 0);
    }
}

START_TEST(a_timer_that_is_always_due_leaves_turns_to_the_world)
{
    int n_turns = 0;
    struct stn_timer timer = {.fire = fire_a_thousand_times};
    struct stn_loop_hook hook = {.turn = count_up, .user = &n_turns};
    open_all();
    stn_loop_add_hook(loop, &hook);
    stn_loop_arm(loop, &timer, 0);
    stn_loop_run(loop);
    ck_assert_int_eq(n_fired, 1000);
    ck_assert_int_ge(n_turns, 1000);
    stn_loop_remove_hook(loop, &hook);
    close_all();
}
END_TEST

static void on_signal(void *user, int number)
{
    *(int *)user = number;
    stn_loop_stop(loop);
}

START_TEST(a_signal_is_told_on_the_loop)
{
    int number = 0;
    struct named late = {{say_name}, "late"};
    open_all();
    ck_assert_int_eq(stn_loop_catch(loop, on_signal, &number, NULL), STN_OK);
    stn_loop_arm(loop, &late.timer, 5000);
    ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
    stn_loop_run(loop);
    ck_assert_int_eq(number, SIGTERM);
    ck_assert_uint_eq(said.size, 0);
    stn_loop_disarm(loop, &late.timer);
    close_all();
}
END_TEST

/* ---- letters ---- */

struct ball {
    struct stn_letter letter;
    int n_left;
    int thread;
};

enum { N_THREADS = 4, N_BOUNCES = 2000 };
static struct ball balls[N_THREADS];
static atomic_int turn_of[N_THREADS]; /* 1: the thread's to post */
static atomic_uint_fast64_t n_allocated;
static int n_delivered;

static void *thrower(void *arg)
{
    int me = *(int *)arg;
    for (int i = 0; i < N_BOUNCES; i++) {
        while (!atomic_exchange(&turn_of[me], 0)) {
            (void)usleep(1);
        }
        uint64_t before = stn_mem_count();
        stn_mailbox_post(mailbox, &balls[me].letter);
        atomic_fetch_add(&n_allocated, stn_mem_count() - before);
    }
    return NULL;
}

static void catch_it(struct stn_letter *letter)
{
    struct ball *ball = (struct ball *)(void *)letter;
    n_delivered++;
    if (--ball->n_left > 0) {
        stn_mailbox_lend(mailbox);
        atomic_store(&turn_of[ball->thread], 1);
    }
}

START_TEST(letters_from_many_threads_arrive_each_once_and_the_mailbox_closes_after_the_last)
{
    pthread_t threads[N_THREADS];
    int numbers[N_THREADS], n_closed = 0;
    open_all();
    for (int i = 0; i < N_THREADS; i++) {
        numbers[i] = i;
        balls[i] = (struct ball){.letter.deliver = catch_it, .n_left = N_BOUNCES, .thread = i};
        stn_mailbox_lend(mailbox);
        atomic_store(&turn_of[i], 1);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, thrower, &numbers[i]), 0);
    }
    ck_assert_uint_eq(stn_mailbox_n_out(mailbox), N_THREADS);
    stn_mailbox_close(mailbox, count_up, &n_closed); /* asked for while all are out */
    stn_loop_run(loop);
    ck_assert_int_eq(n_closed, 1);
    ck_assert_int_eq(n_delivered, N_THREADS * N_BOUNCES);
    ck_assert_uint_eq(n_allocated, 0);
    for (int i = 0; i < N_THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    stn_loop_close(loop);
    stn_buf_fini(&said);
}
END_TEST

/* ---- jobs ---- */

struct task {
    struct stn_job job;
    pthread_t ran_on;
    int n_done;
    bool ran, cancelled;
};

static atomic_int n_running;

static void run_short(struct stn_job *job)
{
    ((struct task *)(void *)job)->ran_on = pthread_self();
}

static void run_until_cancelled(struct stn_job *job)
{
    atomic_fetch_add(&n_running, 1);
    while (!stn_worker_is_cancelled(job)) {
        (void)usleep(100);
    }
}

static void note(struct stn_job *job)
{
    struct task *task = (struct task *)(void *)job;
    task->n_done++;
    task->ran = job->ran;
    task->cancelled = stn_worker_is_cancelled(job);
}

START_TEST(every_job_runs_on_a_worker_and_is_done_once_on_the_loop)
{
    enum { N = 500 };
    static struct task tasks[N];
    struct stn_worker *worker;
    open_all();
    ck_assert_int_eq(stn_worker_open(&worker, mailbox, 3, NULL), STN_OK);
    for (int i = 0; i < N; i++) {
        tasks[i] = (struct task){.job = {.run = run_short, .done = note}};
        stn_worker_submit(worker, &tasks[i].job);
    }
    ck_assert_uint_eq(stn_worker_n_jobs(worker), N);
    stn_loop_run(loop);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(tasks[i].n_done, 1);
        ck_assert(tasks[i].ran && !pthread_equal(tasks[i].ran_on, pthread_self()));
    }
    stn_worker_close(worker);
    close_all();
}
END_TEST

START_TEST(a_cancelled_job_does_not_start_and_a_running_one_hears_of_it)
{
    struct stn_worker *worker;
    struct task running = {.job = {.run = run_until_cancelled, .done = note}},
                queued = {.job = {.run = run_short, .done = note}},
                after = {.job = {.run = run_short, .done = note}};
    open_all();
    ck_assert_int_eq(stn_worker_open(&worker, mailbox, 1, NULL), STN_OK);
    stn_worker_submit(worker, &running.job);
    stn_worker_submit(worker, &queued.job);
    stn_worker_submit(worker, &after.job);
    while (atomic_load(&n_running) == 0) {
        (void)usleep(100);
    }
    stn_worker_cancel(&queued.job);
    ck_assert_int_eq(queued.n_done, 0); /* never from within */
    stn_worker_cancel(&running.job);
    stn_loop_run(loop);
    ck_assert(running.n_done == 1 && running.ran && running.cancelled);
    ck_assert(queued.n_done == 1 && !queued.ran && queued.cancelled);
    ck_assert(after.n_done == 1 && after.ran && !after.cancelled);
    stn_worker_cancel(&after.job); /* long done */
    stn_worker_close(worker);
    close_all();
}
END_TEST

START_TEST(closing_under_load_ends_every_job_and_all_are_done_once)
{
    enum { N = 50 };
    static struct task tasks[N];
    struct stn_worker *worker;
    open_all();
    ck_assert_int_eq(stn_worker_open(&worker, mailbox, 2, NULL), STN_OK);
    for (int i = 0; i < N; i++) {
        tasks[i] = (struct task){.job = {.run = run_until_cancelled, .done = note}};
        stn_worker_submit(worker, &tasks[i].job);
    }
    stn_worker_close(worker);
    close_all();
    int n_ran = 0;
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(tasks[i].n_done, 1);
        n_ran += tasks[i].ran;
    }
    ck_assert_int_le(n_ran, 2);
}
END_TEST

START_TEST(no_memory_is_an_error_and_leaves_nothing_open)
{
    struct stn_worker *worker = NULL;
    open_all();
    stn_mem_fail_from(1);
    ck_assert_int_eq(stn_worker_open(&worker, mailbox, 2, NULL), STN_MEMORY);
    struct stn_mailbox *other = NULL;
    ck_assert_int_eq(stn_mailbox_open(&other, loop, NULL), STN_MEMORY);
    stn_mem_fail_from(0);
    ck_assert(worker == NULL && other == NULL);
    close_all();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("loop");
    TCase *c = tcase_create("loop");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, timers_fire_once_in_the_order_of_their_times);
    tcase_add_test(c, a_timer_that_is_armed_again_is_moved);
    tcase_add_test(c, the_heap_of_timers_agrees_with_a_sorted_list);
    tcase_add_test(c, every_turn_ends_with_the_hooks_in_order_and_so_does_the_last);
    tcase_add_test(c, a_timer_that_is_always_due_leaves_turns_to_the_world);
    tcase_add_test(c, a_signal_is_told_on_the_loop);
    tcase_add_test(
        c, letters_from_many_threads_arrive_each_once_and_the_mailbox_closes_after_the_last);
    tcase_add_test(c, every_job_runs_on_a_worker_and_is_done_once_on_the_loop);
    tcase_add_test(c, a_cancelled_job_does_not_start_and_a_running_one_hears_of_it);
    tcase_add_test(c, closing_under_load_ends_every_job_and_all_are_done_once);
    tcase_add_test(c, no_memory_is_an_error_and_leaves_nothing_open);
    suite_add_tcase(s, c);
    return s;
}
