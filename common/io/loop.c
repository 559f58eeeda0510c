#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <uv.h>

#include "base/mem.h"

static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
#define N_CAUGHT (sizeof caught / sizeof *caught)

struct stn_loop {
    uv_loop_t uv;
    uv_prepare_t prepare; /* runs after the turn's last callback and before the wait */
    uv_timer_t driver;    /* set to the earliest timer, when that is to come ... */
    uv_idle_t
        soon; /* ... and this when it is due: once a turn, so that the world is heard in between */
    uv_signal_t signals[N_CAUGHT];
    struct stn_timer *timers; /* the root of the heap */
    uint64_t n_armed;         /* armings so far */
    struct stn_loop_hook *hooks;
    void (*on_signal)(void *user, int number);
    void *signal_user;
};

static void run_hooks(struct stn_loop *loop)
{
    for (struct stn_loop_hook *hook = loop->hooks, *next; hook != NULL; hook = next) {
        next = hook->next;
        hook->turn(hook->user);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    run_hooks(prepare->data);
}

static void on_driver(uv_timer_t *driver);
static void on_soon(uv_idle_t *soon);

static void set_driver(struct stn_loop *loop)
{
    uint64_t now = uv_now(&loop->uv);
    (void)uv_timer_stop(&loop->driver);
    (void)uv_idle_stop(&loop->soon);
    int rc = loop->timers == NULL ? 0
             : loop->timers->due_ms <= now
                 ? uv_idle_start(&loop->soon, on_soon)
                 : uv_timer_start(&loop->driver, on_driver, loop->timers->due_ms - now, 0);
    assert(rc == 0); /* fails only on a closing handle */
    (void)rc;
}

/* What a callback arms for now waits for the next pass: the numbers that it gets are past the
 * limit. */
static void fire_due(struct stn_loop *loop)
{
    uint64_t limit = loop->n_armed, now = uv_now(&loop->uv);
    while (loop->timers != NULL && loop->timers->due_ms <= now && loop->timers->number < limit) {
        struct stn_timer *timer = loop->timers;
        loop->timers = stn_timer_remove(loop->timers, timer);
        timer->fire(timer); /* the timer may be gone now */
    }
    set_driver(loop);
}

static void on_driver(uv_timer_t *driver)
{
    fire_due(driver->data);
}

static void on_soon(uv_idle_t *soon)
{
    fire_due(soon->data);
}

static void on_caught(uv_signal_t *signal, int number)
{
    struct stn_loop *loop = signal->data;
    loop->on_signal(loop->signal_user, number);
}

enum stn_code stn_loop_open(struct stn_loop **ret, struct stn_err *err)
{
    struct stn_loop *loop = stn_mem_new(1, sizeof *loop);
    if (loop == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a loop");
    }
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = uv_loop_init(&loop->uv);
    if (rc != 0) {
        stn_mem_free(loop);
        return stn_loop_uv_err(err, rc, "event loop");
    }
    /* these cannot fail on a fresh loop and a fresh handle */
    (void)uv_prepare_init(&loop->uv, &loop->prepare);
    (void)uv_timer_init(&loop->uv, &loop->driver);
    (void)uv_idle_init(&loop->uv, &loop->soon);
    (void)uv_prepare_start(&loop->prepare, on_prepare);
    uv_unref((uv_handle_t *)&loop->prepare);
    loop->prepare.data = loop->driver.data = loop->soon.data = loop;
    *ret = loop;
    return STN_OK;
}

void stn_loop_close(struct stn_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    while (loop->timers != NULL) {
        loop->timers = stn_timer_remove(loop->timers, loop->timers);
    }
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->driver, NULL);
    uv_close((uv_handle_t *)&loop->soon, NULL);
    for (size_t i = 0; i < N_CAUGHT && loop->on_signal != NULL; i++) {
        uv_close((uv_handle_t *)&loop->signals[i], NULL);
    }
    (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    int rc = uv_loop_close(&loop->uv);
    assert(rc == 0); /* somebody left a handle open */
    (void)rc;
    stn_mem_free(loop);
}

void stn_loop_run(struct stn_loop *loop)
{
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    run_hooks(loop); /* a stopped loop ends before its next wait */
}

void stn_loop_stop(struct stn_loop *loop)
{
    uv_stop(&loop->uv);
}

uint64_t stn_loop_now_ms(const struct stn_loop *loop)
{
    return uv_now(&loop->uv);
}

uint64_t stn_loop_clock_ms(void)
{
    return uv_hrtime() / 1000000;
}

uint64_t stn_loop_wall_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void stn_loop_arm_at(struct stn_loop *loop, struct stn_timer *timer, uint64_t due_ms)
{
    assert(timer->fire != NULL);
    stn_loop_disarm(loop, timer);
    timer->due_ms = due_ms;
    timer->number = loop->n_armed++;
    loop->timers = stn_timer_add(loop->timers, timer);
    if (loop->timers == timer) {
        set_driver(loop);
    }
}

void stn_loop_arm(struct stn_loop *loop, struct stn_timer *timer, uint64_t after_ms)
{
    uint64_t due_ms;
    if (__builtin_add_overflow(uv_now(&loop->uv), after_ms, &due_ms)) {
        due_ms = UINT64_MAX;
    }
    stn_loop_arm_at(loop, timer, due_ms);
}

void stn_loop_disarm(struct stn_loop *loop, struct stn_timer *timer)
{
    if (!timer->armed) {
        return;
    }
    bool was_first = loop->timers == timer;
    loop->timers = stn_timer_remove(loop->timers, timer);
    if (was_first) {
        set_driver(loop);
    }
}

void stn_loop_add_hook(struct stn_loop *loop, struct stn_loop_hook *hook)
{
    struct stn_loop_hook **at = &loop->hooks;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    hook->next = NULL;
    *at = hook;
}

void stn_loop_remove_hook(struct stn_loop *loop, struct stn_loop_hook *hook)
{
    for (struct stn_loop_hook **at = &loop->hooks; *at != NULL; at = &(*at)->next) {
        if (*at == hook) {
            *at = hook->next;
            return;
        }
    }
}

enum stn_code stn_loop_catch(struct stn_loop *loop, void (*on_signal)(void *user, int number),
                             void *user, struct stn_err *err)
{
    assert(loop->on_signal == NULL && on_signal != NULL);
    for (size_t i = 0; i < N_CAUGHT; i++) {
        (void)uv_signal_init(&loop->uv, &loop->signals[i]);
        loop->signals[i].data = loop;
    }
    loop->on_signal = on_signal;
    loop->signal_user = user;
    for (size_t i = 0; i < N_CAUGHT; i++) {
        int rc = uv_signal_start(&loop->signals[i], on_caught, caught[i]);
        if (rc != 0) {
            return stn_loop_uv_err(err, rc, "signal handler");
        }
        uv_unref((uv_handle_t *)&loop->signals[i]);
    }
    return STN_OK;
}

struct uv_loop_s *stn_loop_uv(struct stn_loop *loop)
{
    return &loop->uv;
}

enum stn_code stn_loop_uv_err(struct stn_err *err, int number, const char *what)
{
    return stn_err_errno(err, -number, "%s", what); /* on unix libuv's codes are negated errno */
}
