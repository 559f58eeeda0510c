#include "tests/lib/run.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "compute/cpu/team.h"

enum { UNITS = 1000, TURNS = 300 };

static struct stn_err err;

struct tally {
    atomic_int times[UNITS];
    atomic_uint members;
};

static void count(void *user, unsigned member, size_t first, size_t n)
{
    struct tally *tally = user;
    atomic_fetch_or(&tally->members, 1u << member);
    for (size_t i = first; i < first + n; i++) {
        atomic_fetch_add(&tally->times[i], 1);
    }
}

static size_t n_threads(void)
{
    size_t n = 0;
    DIR *folder = opendir("/proc/self/task");
    if (folder == NULL) {
        return 0; /* no Linux: nothing to count */
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        n += entry->d_name[0] != '.';
    }
    (void)closedir(folder);
    return n;
}

START_TEST(every_unit_is_done_once_in_every_turn)
{
    static const unsigned sizes[] = {1, 2, 3, 8};
    struct stn_team *team = NULL;
    size_t before = n_threads();
    ck_assert_int_eq(stn_team_new(&team, sizes[_i], &err), STN_OK);
    ck_assert_uint_eq(stn_team_size(team), sizes[_i]);
    if (sizes[_i] == 1) {
        ck_assert_uint_eq(n_threads(), before);
    }
    for (size_t turn = 0; turn < TURNS; turn++) {
        static struct tally tally;
        size_t n_units = turn * 7 % UNITS;
        memset(&tally, 0, sizeof tally);
        stn_team_run(team, count, &tally, n_units);
        for (size_t i = 0; i < UNITS; i++) {
            ck_assert_int_eq(atomic_load(&tally.times[i]), i < n_units);
        }
        ck_assert_uint_lt(atomic_load(&tally.members), 1u << sizes[_i]);
    }
    stn_team_free(team);
}
END_TEST

struct slow {
    atomic_bool blocked, released;
    atomic_size_t done; /* by those that go on */
};

/* The first run that a member other than the caller takes is kept from ending until all else is done. */
static void be_late(void *user, unsigned member, size_t first, size_t n)
{
    struct slow *slow = user;
    (void)first;
    if (member != 0 && !atomic_exchange(&slow->blocked, true)) {
        for (size_t i = 0; i < 5000 && atomic_load(&slow->done) < UNITS * 3 / 4; i++) {
            (void)usleep(1000);
        }
        atomic_store(&slow->released, atomic_load(&slow->done) >= UNITS * 3 / 4);
        return;
    }
    (void)usleep(member == 0 ? 1000 : 0); /* so that others come to take a run */
    atomic_fetch_add(&slow->done, n);
}

START_TEST(one_that_is_kept_from_running_holds_back_only_its_run)
{
    static struct slow slow;
    struct stn_team *team = NULL;
    ck_assert_int_eq(stn_team_new(&team, 4, &err), STN_OK);
    for (size_t turn = 0; turn < 20; turn++) {
        memset(&slow, 0, sizeof slow);
        stn_team_run(team, be_late, &slow, UNITS);
        ck_assert(!atomic_load(&slow.blocked) || atomic_load(&slow.released));
    }
    stn_team_free(team);
}
END_TEST

static void linger(void *user, unsigned member, size_t first, size_t n)
{
    (void)first, (void)n;
    atomic_uint *members = user;
    atomic_fetch_or(members, 1u << member);
    (void)usleep(200);
}

START_TEST(members_that_fell_asleep_are_woken)
{
    struct stn_team *team = NULL;
    ck_assert_int_eq(stn_team_new(&team, 3, &err), STN_OK);
    for (size_t turn = 0; turn < 10; turn++) {
        atomic_uint members = 0;
        (void)usleep(20000); /* nobody looks so long */
        for (size_t i = 0; i < 200 && atomic_load(&members) != 7; i++) {
            stn_team_run(team, linger, &members, 64);
        }
        ck_assert_uint_eq(atomic_load(&members), 7);
    }
    stn_team_free(team);
}
END_TEST

START_TEST(a_team_without_threads_or_with_too_many_is_refused)
{
    struct stn_team *team = NULL;
    ck_assert_int_eq(stn_team_new(&team, 0, &err), STN_INVALID);
    ck_assert_int_eq(stn_team_new(&team, STN_TEAM_MAX + 1, &err), STN_INVALID);
    ck_assert_ptr_null(team);
    stn_team_free(NULL);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("team");
    TCase *t = tcase_create("team");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, every_unit_is_done_once_in_every_turn, 0, 4);
    tcase_add_test(t, one_that_is_kept_from_running_holds_back_only_its_run);
    tcase_add_test(t, members_that_fell_asleep_are_woken);
    tcase_add_test(t, a_team_without_threads_or_with_too_many_is_refused);
    suite_add_tcase(s, t);
    return s;
}
