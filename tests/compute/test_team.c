#include "tests/lib/run.h"

#include <dirent.h>
#include <stdatomic.h>
#include <string.h>

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
    tcase_add_test(t, a_team_without_threads_or_with_too_many_is_refused);
    suite_add_tcase(s, t);
    return s;
}
