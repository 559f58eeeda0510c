#include "compute/cpu/team.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

#define SHARES 2  /* a member takes that part of its fair share of what is left: runs become short towards the end */
#define LOOKS 500 /* before a thread sleeps: some microseconds, about what falling asleep and waking cost */

#define CLOSED UINT32_MAX

struct member {
    struct stn_team *team;
    pthread_t thread;
    unsigned number;
};

struct stn_team {
    unsigned n_members, n_started, n_looks;
    /* of the turn: written while the ticket is closed, and good where a unit was taken with a ticket from before they were read */
    stn_team_work *_Atomic work;
    void *_Atomic user;
    _Atomic uint32_t n_units;
    _Atomic uint64_t ticket; /* the turn's number, and below it the first unit that nobody has taken, or CLOSED */
    _Atomic uint32_t n_open; /* units not yet finished */
    /* of sleep: whoever sleeps says so before a last look, whoever has news looks for sleepers after it */
    atomic_uint n_asleep;
    atomic_bool caller_sleeps, ends;
    pthread_mutex_t lock;
    pthread_cond_t begun, done;
    struct member members[];
};

static inline void rest(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb");
#endif
}

static uint32_t turn_of(uint64_t ticket)
{
    return (uint32_t)(ticket >> 32);
}

static void say_done(struct stn_team *team)
{
    if (atomic_load(&team->caller_sleeps)) {
        (void)pthread_mutex_lock(&team->lock);
        (void)pthread_cond_signal(&team->done);
        (void)pthread_mutex_unlock(&team->lock);
    }
}

/* Takes runs until none is left; returns the turn that had none. No lock: a thread that is kept from running has a run of
 * its own at most, and everybody else goes on. */
static uint32_t take_part(struct stn_team *team, unsigned number)
{
    uint64_t ticket = atomic_load_explicit(&team->ticket, memory_order_acquire);
    for (;;) {
        uint32_t first = (uint32_t)ticket, n_units = atomic_load_explicit(&team->n_units, memory_order_acquire);
        if (first >= n_units) {
            return turn_of(ticket);
        }
        uint32_t count = (n_units - first) / (team->n_members * SHARES);
        count = count == 0 ? 1 : count;
        stn_team_work *work = atomic_load_explicit(&team->work, memory_order_relaxed);
        void *user = atomic_load_explicit(&team->user, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&team->ticket, &ticket, ticket + count, memory_order_acquire,
                                                   memory_order_acquire)) {
            continue; /* somebody was faster, or this turn is over */
        }
        work(user, number, first, count);
        if (atomic_fetch_sub(&team->n_open, count) == count) {
            say_done(team);
        }
        ticket = atomic_load_explicit(&team->ticket, memory_order_acquire);
    }
}

static bool has_news(struct stn_team *team, uint32_t seen)
{
    return turn_of(atomic_load(&team->ticket)) != seen || atomic_load(&team->ends);
}

static void await_turn(struct stn_team *team, uint32_t seen)
{
    for (unsigned i = 0; i < team->n_looks; i++) {
        if (has_news(team, seen)) {
            return;
        }
        rest();
    }
    (void)pthread_mutex_lock(&team->lock);
    (void)atomic_fetch_add(&team->n_asleep, 1);
    while (!has_news(team, seen)) {
        (void)pthread_cond_wait(&team->begun, &team->lock);
    }
    (void)atomic_fetch_sub(&team->n_asleep, 1);
    (void)pthread_mutex_unlock(&team->lock);
}

static void wake_members(struct stn_team *team)
{
    if (atomic_load(&team->n_asleep) > 0) {
        (void)pthread_mutex_lock(&team->lock);
        (void)pthread_cond_broadcast(&team->begun);
        (void)pthread_mutex_unlock(&team->lock);
    }
}

static void await_done(struct stn_team *team)
{
    for (unsigned i = 0; i < team->n_looks; i++) {
        if (atomic_load(&team->n_open) == 0) {
            return;
        }
        rest();
    }
    (void)pthread_mutex_lock(&team->lock);
    atomic_store(&team->caller_sleeps, true);
    while (atomic_load(&team->n_open) > 0) {
        (void)pthread_cond_wait(&team->done, &team->lock);
    }
    atomic_store(&team->caller_sleeps, false);
    (void)pthread_mutex_unlock(&team->lock);
}

static void *member_main(void *user)
{
    struct member *member = user;
    struct stn_team *team = member->team;
    uint32_t seen = 0;
    while (!atomic_load(&team->ends)) {
        await_turn(team, seen);
        seen = take_part(team, member->number);
    }
    return NULL;
}

/* With fewer processors than threads, looking keeps somebody from working. */
static unsigned looks_of(unsigned n_threads)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    bool known = sched_getaffinity(0, sizeof set, &set) == 0;
    return known && CPU_COUNT(&set) >= (int)n_threads ? LOOKS : 0;
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
    team->n_looks = looks_of(n_threads);
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
        atomic_store(&team->ends, true);
        wake_members(team);
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
    assert(n_units < CLOSED);
    uint64_t turn = turn_of(atomic_load_explicit(&team->ticket, memory_order_relaxed));
    atomic_store(&team->ticket, (turn + 1) << 32 | CLOSED); /* or somebody late takes units behind the last turn's last */
    atomic_store_explicit(&team->work, work, memory_order_release);
    atomic_store_explicit(&team->user, user, memory_order_release);
    atomic_store_explicit(&team->n_units, (uint32_t)n_units, memory_order_release);
    atomic_store_explicit(&team->n_open, (uint32_t)n_units, memory_order_relaxed);
    atomic_store(&team->ticket, (turn + 2) << 32);
    wake_members(team);
    (void)take_part(team, 0);
    await_done(team);
}
