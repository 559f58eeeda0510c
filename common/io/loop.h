/* loop: the one thread that owns every object. It waits for the world, tells timers, letters and
 * signals one at a time, and at the end of every turn calls the hooks that commit what was written
 * and send what was promised: a turn is a transaction. Library: libuv. Thread: the one that runs
 * it, except where a line says otherwise. */
#ifndef STN_IO_LOOP_H
#define STN_IO_LOOP_H

#include <stdint.h>

#include "base/err.h"
#include "io/timer.h"

struct uv_loop_s;
struct stn_loop;

/* A hook is called at the end of every turn, just before the loop sleeps, and once more when it
 * stops. Hooks are called in the order they were added. Embedded in its owner, who sets turn and
 * user. */
struct stn_loop_hook {
    void (*turn)(void *user);
    void *user;
    struct stn_loop_hook *next;
};

/* SIGPIPE is ignored in this process from then on. The caller closes *ret. */
enum stn_code stn_loop_open(struct stn_loop **ret, struct stn_err *err) STN_CHECKED;

/* Everything that was opened on it (mailboxes, links, pipes) must be closed, and its closing told,
 * before: an open handle is an assert. Armed timers are forgotten. NULL is fine. */
void stn_loop_close(struct stn_loop *loop);

/* Returns when stn_loop_stop was called, or when nothing is left that could wake it. It may be run
 * again. */
void stn_loop_run(struct stn_loop *loop);
/* The turn that calls this is the last: its hooks still run. */
void stn_loop_stop(struct stn_loop *loop);

/* Milliseconds since some start, the same for the whole turn; never goes back. */
uint64_t stn_loop_now_ms(const struct stn_loop *loop);
/* The same clock read afresh. Thread: any. */
uint64_t stn_loop_clock_ms(void);
/* Milliseconds since 1970 as the machine has it: for people and for what outlives a restart.
 * Thread: any. */
uint64_t stn_loop_wall_ms(void);

/* Fires once, after_ms from the turn's time or at due_ms of the loop's clock (at once when that is
 * past, though never inside this call). An armed timer is moved. It keeps the loop running. */
void stn_loop_arm(struct stn_loop *loop, struct stn_timer *timer, uint64_t after_ms);
void stn_loop_arm_at(struct stn_loop *loop, struct stn_timer *timer, uint64_t due_ms);
/* It will not fire, and is the owner's alone again. A disarmed timer is fine. */
void stn_loop_disarm(struct stn_loop *loop, struct stn_timer *timer);

void stn_loop_add_hook(struct stn_loop *loop, struct stn_loop_hook *hook);
void stn_loop_remove_hook(struct stn_loop *loop, struct stn_loop_hook *hook);

/* on_signal is told SIGINT, SIGTERM and SIGHUP as they come, on the loop. They do not keep the loop
 * running. Once. */
enum stn_code stn_loop_catch(struct stn_loop *loop, void (*on_signal)(void *user, int number),
                             void *user, struct stn_err *err) STN_CHECKED;

/* For shells that speak libuv themselves. */
struct uv_loop_s *stn_loop_uv(struct stn_loop *loop);

/* The error of a libuv call, "WHAT: reason", with the codes of stn_err_errno. Thread: any. */
enum stn_code stn_loop_uv_err(struct stn_err *err, int number, const char *what);

#endif
