#include "compute/cpu/team.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/mem.h"

#define RUNS 4 /* a member's fair share is taken in so many runs */

struct member {
    struct stn_team *team;
    pthread_t thread;
    unsigned number;
};

struct stn_team {
    unsigned n_members, n_started;
    pthread_mutex_t lock;
    pthread_cond_t begun, done;
    unsigned long turn; /* of work; a member that has not seen it has something to do */
    bool ends;
    /* of the turn, under the lock: members take a run in a few instructions and compute without it */
    stn_team_work *work;
    void *user;
    size_t n_units, next, run, n_open; /* n_open: units not yet finished */
    struct member members[];
};

/* Under the lock. Takes runs until none is left. */
static void take_part(struct stn_team *team, unsigned number)
{
    while (team->next < team->n_units) {
        size_t first = team->next, left = team->n_units - first, count = left < team->run ? left : team->run;
        team->next += count;
        stn_team_work *work = team->work;
        void *user = team->user;
        (void)pthread_mutex_unlock(&team->lock);
        work(user, number, first, count);
        (void)pthread_mutex_lock(&team->lock);
        team->n_open -= count;
        if (team->n_open == 0) {
            (void)pthread_cond_signal(&team->done);
        }
    }
}

static void *member_main(void *user)
{
    struct member *member = user;
    struct stn_team *team = member->team;
    unsigned long seen = 0;
    (void)pthread_mutex_lock(&team->lock);
    while (!team->ends) {
        if (team->turn == seen) {
            (void)pthread_cond_wait(&team->begun, &team->lock);
            continue;
        }
        seen = team->turn;
        take_part(team, member->number);
    }
    (void)pthread_mutex_unlock(&team->lock);
    return NULL;
}

enum stn_code stn_team_new(struct stn_team **ret, unsigned n_threads, struct stn_err *err)
{
    if (n_threads == 0 || n_threads > STN_TEAM_MAX) {
        return stn_err_set(err, STN_INVALID, "%u threads, at least 1 and at most %d", n_threads, STN_TEAM_MAX);
    }
    struct stn_team *team = stn_mem_new(1, sizeof *team + n_threads * sizeof team->members[0]);
    if (team == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a team of %u threads", n_threads);
    }
    team->n_members = n_threads;
    team->n_started = 1;
    if (n_threads > 1) {
        (void)pthread_mutex_init(&team->lock, NULL);
        (void)pthread_cond_init(&team->begun, NULL);
        (void)pthread_cond_init(&team->done, NULL);
    }
    for (unsigned i = 1; i < n_threads; i++) {
        team->members[i] = (struct member){.team = team, .number = i};
        int code = pthread_create(&team->members[i].thread, NULL, member_main, &team->members[i]);
        if (code != 0) {
            stn_team_free(team);
            return stn_err_errno(err, code, "thread %u of %u", i + 1, n_threads);
        }
        team->n_started++;
    }
    *ret = team;
    return STN_OK;
}

void stn_team_free(struct stn_team *team)
{
    if (team == NULL) {
        return;
    }
    if (team->n_members > 1) {
        (void)pthread_mutex_lock(&team->lock);
        team->ends = true;
        (void)pthread_cond_broadcast(&team->begun);
        (void)pthread_mutex_unlock(&team->lock);
        for (unsigned i = 1; i < team->n_started; i++) {
            (void)pthread_join(team->members[i].thread, NULL);
        }
        (void)pthread_cond_destroy(&team->begun);
        (void)pthread_cond_destroy(&team->done);
        (void)pthread_mutex_destroy(&team->lock);
    }
    stn_mem_free(team);
}

unsigned stn_team_size(const struct stn_team *team)
{
    return team->n_members;
}

void stn_team_run(struct stn_team *team, stn_team_work *work, void *user, size_t n_units)
{
    if (n_units == 0) {
        return;
    }
    if (team->n_members == 1 || n_units == 1) {
        work(user, 0, 0, n_units);
        return;
    }
    size_t run = n_units / (team->n_members * RUNS);
    (void)pthread_mutex_lock(&team->lock);
    team->work = work;
    team->user = user;
    team->n_units = team->n_open = n_units;
    team->next = 0;
    team->run = run == 0 ? 1 : run;
    team->turn++;
    (void)pthread_cond_broadcast(&team->begun);
    take_part(team, 0);
    while (team->n_open > 0) {
        (void)pthread_cond_wait(&team->done, &team->lock);
    }
    (void)pthread_mutex_unlock(&team->lock);
}
