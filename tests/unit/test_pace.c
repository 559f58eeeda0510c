#include "tests/lib/run.h"

#include "server/shell/pace.h"

/* A roster's end at a thousand devices. */
enum { N_ANSWERS = 1000, SIZE = 73 << 10 };

static struct stn_err err;
static struct stn_loop *loop;
static struct stn_pace pace;
static struct stn_list answers[N_ANSWERS];
static size_t n_sent, n_turns, n_most, n_this_turn;
static bool is_in_order;

static size_t send_one(struct stn_list *answer)
{
    is_in_order = is_in_order && answer == &answers[n_sent];
    n_sent++;
    n_this_turn++;
    return SIZE;
}

static void end_turn(void *user)
{
    (void)user;
    n_most = n_this_turn > n_most ? n_this_turn : n_most;
    n_turns += n_this_turn > 0;
    n_this_turn = 0;
}

static struct stn_loop_hook hook = {.turn = end_turn};

static void set_up(void)
{
    n_sent = n_turns = n_most = n_this_turn = 0;
    is_in_order = true;
    ck_assert_int_eq(stn_loop_open(&loop, &err), STN_OK);
    stn_loop_add_hook(loop, &hook);
    stn_pace_open(&pace, loop, send_one);
}

static void tear_down(void)
{
    stn_loop_remove_hook(loop, &hook);
    stn_loop_close(loop);
}

START_TEST(a_thousand_rosters_never_lie_in_memory_together)
{
    const size_t most = STN_PACE_BYTES / SIZE + 1;
    for (size_t i = 0; i < N_ANSWERS; i++) {
        stn_pace_add(&pace, &answers[i]);
    }
    ck_assert_uint_eq(n_sent, 0);
    stn_loop_run(loop); /* until nobody waits */
    ck_assert_uint_eq(n_sent, N_ANSWERS);
    ck_assert(is_in_order);
    ck_assert_uint_le(n_most, most);
    ck_assert_uint_ge(n_turns, N_ANSWERS / most);
}
END_TEST

START_TEST(an_answer_that_nobody_waits_for_any_more_is_not_made)
{
    stn_pace_add(&pace, &answers[1]);
    stn_pace_add(&pace, &answers[0]);
    stn_list_remove(&answers[1]);
    stn_loop_run(loop);
    ck_assert_uint_eq(n_sent, 1);
    stn_pace_add(&pace, &answers[1]);
    stn_list_remove(&answers[1]);
    stn_loop_run(loop);
    ck_assert_uint_eq(n_sent, 1);
    ck_assert(is_in_order);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("pace");
    TCase *t = tcase_create("pace");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_thousand_rosters_never_lie_in_memory_together);
    tcase_add_test(t, an_answer_that_nobody_waits_for_any_more_is_not_made);
    suite_add_tcase(s, t);
    return s;
}
