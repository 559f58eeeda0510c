/* Real sockets on loopback. nng is never touched before a fork: every test opens its own. */
#include "tests/lib/run.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"
#include "io/link.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "tests/lib/raw.h"

static struct stn_loop *loop;
static struct stn_mailbox *mailbox;
static struct stn_link *server, *client;
static struct stn_err err;
static int n_closed;

static void open_all(void)
{
    ck_assert_int_eq(stn_loop_open(&loop, &err), STN_OK);
    ck_assert_int_eq(stn_mailbox_open(&mailbox, loop, &err), STN_OK);
}

static void count_closed(void *user)
{
    (void)user;
    n_closed++;
}

/* Everything comes back, everything is told, and the loop closes clean. */
static void close_all(void)
{
    int expected = (server != NULL) + (client != NULL) + 1;
    n_closed = 0;
    stn_link_close(server, count_closed, NULL);
    stn_link_close(client, count_closed, NULL);
    stn_mailbox_close(mailbox, count_closed, NULL);
    server = client = NULL;
    stn_loop_run(loop);
    ck_assert_int_eq(n_closed, expected);
    stn_loop_close(loop);
}

/* ---- what servers do ---- */

static STN_PRINTF(2, 3) void format_url(char *ret, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(ret, 128, format, args);
    va_end(args);
}

static void echo(void *user, struct stn_link_request *request)
{
    (void)user;
    stn_link_reply(request, request->data, request->size);
}

static struct stn_list parked;
static size_t n_parked;

static void park(void *user, struct stn_link_request *request)
{
    (void)user;
    if (n_parked++ == 0) {
        stn_list_init(&parked);
    }
    stn_list_add(&parked, &request->list);
}

static void drop(void *user, struct stn_link_request *request)
{
    (void)user;
    stn_link_drop(request);
}

static void serve(const char *url, const struct stn_link_options *options,
                  void (*on_request)(void *user, struct stn_link_request *request))
{
    enum stn_code code = stn_link_listen(&server, mailbox, url, options, on_request, NULL, &err);
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

static void dial(const char *url, const struct stn_link_options *options)
{
    enum stn_code code = stn_link_dial(&client, mailbox, url, options, &err);
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

/* A server on a free TCP port and a client on it. */
static void connect_both(const struct stn_link_options *options,
                         void (*on_request)(void *user, struct stn_link_request *request))
{
    char url[128];
    serve("tcp://127.0.0.1:0", options, on_request);
    ck_assert_uint_ne(stn_link_port(server), 0);
    format_url(url, "tcp://127.0.0.1:%u", stn_link_port(server));
    dial(url, options);
}

/* ---- what clients see ---- */

static uint8_t big[STN_LINK_MESSAGE_MAX];
static size_t n_asked, n_told, n_wrong, n_codes[STN_N_CODES], n_wanted;

/* The reply must be the first bytes of big, as many as were asked. */
static void on_reply(void *user, enum stn_code code, uint8_t *data, size_t size)
{
    n_told++;
    n_codes[code]++;
    if (code == STN_OK && (size != (size_t)(uintptr_t)user || memcmp(data, big, size) != 0)) {
        n_wrong++;
    }
    if (n_told == n_wanted) {
        stn_loop_stop(loop);
    }
}

static void ask(size_t size, uint32_t timeout_ms)
{
    enum stn_code code =
        stn_link_ask(client, big, size, timeout_ms, on_reply, (void *)(uintptr_t)size, &err);
    ck_assert_msg(code == STN_OK, "%s", err.text);
    n_asked++;
}

static void run_until_told(size_t n)
{
    n_wanted = n;
    stn_loop_run(loop);
    ck_assert_uint_eq(n_told, n);
    ck_assert_uint_eq(n_wrong, 0);
}

static void fill_big(void)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof big; i++) {
        big[i] = (uint8_t)stn_rng_u64(&rng);
    }
}

static void stop_loop(struct stn_timer *timer)
{
    (void)timer;
    stn_loop_stop(loop);
}

static void wait_ms(uint64_t ms)
{
    struct stn_timer timer = {.fire = stop_loop};
    stn_loop_arm(loop, &timer, ms);
    stn_loop_run(loop);
    stn_loop_disarm(loop, &timer);
}

/* ---- echo ---- */

enum { N_ECHOES = 2000 };

static void ask_again(void *user, enum stn_code code, uint8_t *data, size_t size)
{
    on_reply(user, code, data, size);
    if (n_asked < N_ECHOES) {
        size_t next = n_asked % 100 == 0 ? sizeof big : (n_asked * 7919) % 9000;
        ck_assert_int_eq(
            stn_link_ask(client, big, next, 20000, ask_again, (void *)(uintptr_t)next, &err),
            STN_OK);
        n_asked++;
    }
}

static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

START_TEST(every_one_of_many_concurrent_asks_gets_its_own_answer)
{
    char url[128];
    const struct stn_link_options options = {.n_contexts = 64};
    fill_big();
    open_all();
    (void)snprintf(url, sizeof url,
                   _i == 0   ? "tcp://127.0.0.1:%u"
                   : _i == 1 ? "ws://127.0.0.1:%u/sterna"
                   : _i == 2 ? "inproc://echo-%u"
                             : "ipc:///tmp/sterna-test-%u.ipc",
                   free_port());
    serve(url, &options, echo);
    dial(url, &options);
    for (int i = 0; i < 64; i++) {
        ck_assert_int_eq(
            stn_link_ask(client, big, 100, 20000, ask_again, (void *)(uintptr_t)100, &err), STN_OK);
        n_asked++;
    }
    ck_assert_int_eq(stn_link_ask(client, big, 1, 20000, ask_again, NULL, &err), STN_AGAIN);
    ck_assert_uint_eq(stn_link_n_free(client), 0);
    run_until_told(N_ECHOES);
    ck_assert_uint_eq(n_codes[STN_OK], N_ECHOES);
    ck_assert_uint_eq(stn_link_n_peers(client), 1);
    ck_assert_uint_eq(stn_link_n_free(client), 64);
    close_all();
}
END_TEST

/* ---- parked ---- */

struct parking {
    struct stn_timer timer;
    size_t n;
};

static void answer_parked_in_reverse(struct stn_timer *timer)
{
    struct parking *parking = (struct parking *)(void *)timer;
    if (n_parked < parking->n) {
        stn_loop_arm(loop, timer, 5);
        return;
    }
    ck_assert_uint_eq(stn_link_n_held(server), parking->n);
    while (!stn_list_is_empty(&parked)) {
        struct stn_link_request *request = STN_LIST_OF(parked.prev, struct stn_link_request, list);
        char address[STN_LINK_ADDRESS];
        stn_link_address(request, address);
        ck_assert_str_eq(address, "127.0.0.1");
        ck_assert(!stn_link_is_gone(request));
        stn_list_remove(&request->list);
        stn_link_reply(request, request->data, request->size);
    }
}

START_TEST(parked_requests_are_answered_later_in_any_order)
{
    const struct stn_link_options options = {.n_contexts = 1000};
    struct parking parking = {.timer.fire = answer_parked_in_reverse, .n = 1000};
    fill_big();
    open_all();
    connect_both(&options, park);
    for (size_t i = 0; i < parking.n; i++) {
        ask(i, 20000);
    }
    stn_loop_arm(loop, &parking.timer, 5);
    run_until_told(parking.n);
    ck_assert_uint_eq(n_codes[STN_OK], parking.n);
    close_all();
}
END_TEST

START_TEST(a_request_whose_asker_left_is_known_to_be_gone)
{
    open_all();
    connect_both(NULL, park);
    ask(10, 20000);
    while (n_parked == 0) {
        wait_ms(5);
    }
    struct stn_link_request *request = STN_LIST_OF(parked.next, struct stn_link_request, list);
    ck_assert(!stn_link_is_gone(request));
    stn_link_close(client, NULL, NULL);
    client = NULL;
    for (int i = 0; i < 400 && !stn_link_is_gone(request); i++) {
        wait_ms(5);
    }
    ck_assert(stn_link_is_gone(request));
    stn_link_reply(request, "x", 1); /* goes nowhere, and harms nothing */
    wait_ms(20);
    ck_assert_uint_eq(n_codes[STN_CANCELLED], 1);
    ck_assert_uint_eq(stn_link_n_held(server), 0);
    ck_assert_uint_eq(stn_link_n_peers(server), 0);
    close_all();
}
END_TEST

/* ---- failures ---- */

START_TEST(an_ask_that_nobody_answers_fails_in_time_and_the_next_one_works)
{
    open_all();
    connect_both(NULL, drop);
    uint64_t start_ms = stn_loop_clock_ms();
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < STN_LINK_WINDOW; i++) {
            ask(100, 100);
        }
        run_until_told((size_t)round * STN_LINK_WINDOW);
    }
    ck_assert_uint_eq(n_codes[STN_AGAIN], 3 * STN_LINK_WINDOW);
    ck_assert_uint_ge(stn_loop_clock_ms() - start_ms, 300);
    ck_assert_uint_lt(stn_loop_clock_ms() - start_ms, 5000);
    close_all();
}
END_TEST

START_TEST(without_a_connection_an_ask_fails_in_time)
{
    char url[128];
    open_all();
    serve("tcp://127.0.0.1:0", NULL, echo);
    format_url(url, "tcp://127.0.0.1:%u", stn_link_port(server));
    stn_link_close(server, NULL, NULL); /* a port where nobody listens */
    server = NULL;
    dial(url, NULL);
    ask(100, 150);
    run_until_told(1);
    ck_assert_uint_eq(n_codes[STN_IO], 1);
    ck_assert_uint_eq(stn_link_n_peers(client), 0);
    close_all();
}
END_TEST

/* A process of its own that listens on url, writes one byte when it does and then echoes or parks.
 */
static pid_t start_server(const char *url, bool echoes)
{
    int fds[2];
    char byte;
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* what a test leaves behind would keep its pipes, and their readers waiting */
        if (stn_loop_open(&loop, &err) != STN_OK ||
            stn_mailbox_open(&mailbox, loop, &err) != STN_OK ||
            stn_link_listen(&server, mailbox, url, NULL, echoes ? echo : park, NULL, &err) !=
                STN_OK ||
            write(fds[1], "r", 1) != 1) {
            _exit(1);
        }
        stn_loop_run(loop);
        _exit(0);
    }
    ck_assert_int_gt(pid, 0);
    (void)close(fds[1]);
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    (void)close(fds[0]);
    return pid;
}

static void kill_process(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(when_the_other_end_is_killed_asks_fail_at_once_and_a_new_one_is_found_again)
{
    char url[128];
    format_url(url, "ipc:///tmp/sterna-test-%ld.ipc", (long)getpid());
    pid_t first = start_server(url, false), second;
    int fds[2];
    /* forked now, before nng is touched: it starts its server when it is told to */
    ck_assert_int_eq(pipe(fds), 0);
    if ((second = fork()) == 0) {
        char byte;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (read(fds[0], &byte, 1) == 1) {
            (void)start_server(url, true);
        }
        (void)pause();
        _exit(0);
    }
    fill_big();
    open_all();
    dial(url, &(struct stn_link_options){.reconnect_min_ms = 10, .reconnect_max_ms = 50});
    for (int i = 0; i < 5; i++) {
        ask(100, 30000);
    }
    wait_ms(100);
    ck_assert_uint_eq(n_told, 0);
    uint64_t start_ms = stn_loop_clock_ms();
    kill_process(first);
    run_until_told(5);
    ck_assert_uint_eq(n_codes[STN_IO], 5);
    ck_assert_uint_lt(stn_loop_clock_ms() - start_ms, 5000);
    ck_assert_int_eq(write(fds[1], "g", 1), 1);
    ask(100, 10000);
    run_until_told(6);
    ck_assert_uint_eq(n_codes[STN_OK], 1);
    close_all();
    kill_process(second); /* its own child ends with the test's process group */
    (void)unlink(url + strlen("ipc://"));
}
END_TEST

START_TEST(a_port_in_use_is_one_clear_error)
{
    char url[128], expected[256];
    struct stn_link *other = NULL;
    open_all();
    serve("tcp://127.0.0.1:0", NULL, echo);
    format_url(url, "tcp://127.0.0.1:%u", stn_link_port(server));
    ck_assert_int_eq(stn_link_listen(&other, mailbox, url, NULL, echo, NULL, &err), STN_EXISTS);
    (void)snprintf(expected, sizeof expected, "%s: the address is in use by another program", url);
    ck_assert_str_eq(err.text, expected);
    ck_assert_ptr_null(other);
    close_all();
}
END_TEST

START_TEST(a_url_that_is_none_is_an_error_that_names_it)
{
    static const char *const wrong[] = {"",
                                        "tcp",
                                        "http://127.0.0.1:1",
                                        "tcp://127.0.0.1:99999999",
                                        "tcp://127.0.0.1:65536",
                                        "tcp://[::1]",
                                        "tcp://localhost:",
                                        "bogus://x:1"};
    open_all();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(stn_link_dial(&client, mailbox, wrong[i], NULL, &err) != STN_OK,
                      "%s is dialled", wrong[i]);
        ck_assert_ptr_nonnull(strstr(err.text, wrong[i]));
        ck_assert_int_ne(stn_link_listen(&server, mailbox, wrong[i], NULL, echo, NULL, &err),
                         STN_OK);
    }
    close_all();
}
END_TEST

/* ---- hostile ends ---- */

static const uint8_t hello_req[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const uint8_t hello_pub[8] = {0, 'S', 'P', 0, 0, 0x20, 0, 0};

START_TEST(garbage_and_oversize_end_their_connection_and_nobody_elses)
{
    static const uint8_t too_big[8] = {0, 0, 0, 0, 0, 0x20, 0, 0},
                         endless[8] = {0xff, 0xff, 0xff, 0xff},
                         three[11] = {0, 0, 0, 0, 0, 0, 0, 3};
    const struct {
        const uint8_t *hello;
        const uint8_t *then;
        size_t size;
    } ends[] = {{big, big, 5000},
                {hello_pub, NULL, 0},
                {hello_req, too_big, sizeof too_big},
                {hello_req, endless, sizeof endless},
                {hello_req, three, sizeof three}};
    fill_big();
    open_all();
    connect_both(NULL, echo);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        int fd = stn_raw_connect(stn_link_port(server));
        ck_assert_int_eq(send(fd, ends[i].hello, 8, MSG_NOSIGNAL), 8);
        if (ends[i].size > 0) {
            (void)send(fd, ends[i].then, ends[i].size, MSG_NOSIGNAL);
        }
        ck_assert_msg(stn_raw_is_ended(fd), "case %zu goes on", i);
    }
    int idle = stn_raw_connect(stn_link_port(server)); /* and one that says nothing at all */
    ask(5000, 5000);
    run_until_told(1);
    ck_assert_uint_eq(n_codes[STN_OK], 1);
    (void)close(idle);
    close_all();
}
END_TEST

/* Peers that reset their connection while the answer is on its way, each at another moment. */
static void *reset_many(void *arg)
{
    static const uint8_t request[20] = {0, 0, 0, 0, 0, 0, 0, 12, 0x80, 0, 0, 1, 1, 2, 3};
    const struct linger reset = {.l_onoff = 1};
    struct stn_rng rng;
    stn_rng_init(&rng, 3);
    for (int i = 0; i < *(const int *)arg; i++) {
        uint8_t hello[8];
        int fd = stn_raw_connect(stn_link_port(server));
        ck_assert_int_eq(send(fd, hello_req, 8, MSG_NOSIGNAL), 8);
        ck_assert_int_eq(recv(fd, hello, 8, MSG_WAITALL), 8);
        ck_assert_int_eq(send(fd, request, sizeof request, MSG_NOSIGNAL), sizeof request);
        const struct timespec pause = {.tv_nsec = (long)(stn_rng_u64(&rng) % 200000)};
        (void)nanosleep(&pause, NULL);
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        (void)close(fd);
    }
    return NULL;
}

START_TEST(connections_that_are_reset_as_they_are_answered_cost_nobody_else)
{
    int n = 2000;
    pthread_t peers;
    fill_big();
    open_all();
    connect_both(NULL, echo);
    ck_assert_int_eq(pthread_create(&peers, NULL, reset_many, &n), 0);
    int gone = EBUSY;
    while (gone != 0) {
        ask(5000, 20000);
        run_until_told(n_asked);
        gone = pthread_tryjoin_np(peers, NULL);
    }
    ck_assert_uint_eq(n_codes[STN_OK], n_told);
    close_all();
}
END_TEST

START_TEST(one_connection_more_than_the_limit_is_closed_as_it_comes)
{
    const struct stn_link_options options = {.n_peers = 1};
    open_all();
    connect_both(&options, echo);
    ask(10, 5000);
    run_until_told(1);
    int fd = stn_raw_connect(stn_link_port(server));
    ck_assert_int_eq(send(fd, hello_req, 8, MSG_NOSIGNAL), 8);
    ck_assert(stn_raw_is_ended(fd));
    ask(10, 5000);
    run_until_told(2);
    ck_assert_uint_eq(n_codes[STN_OK], 2);
    close_all();
}
END_TEST

START_TEST(teardown_under_load_brings_everything_back_once)
{
    const struct stn_link_options options = {.n_contexts = 200};
    fill_big();
    open_all();
    connect_both(&options, _i % 2 == 0 ? echo : park);
    for (int i = 0; i < 200; i++) {
        ask(i % 10 == 0 ? sizeof big : 1000, 30000);
    }
    n_wanted = SIZE_MAX;
    wait_ms((uint64_t)_i * 3);
    close_all();
    ck_assert_uint_eq(n_told, 200);
    ck_assert_uint_eq(n_codes[STN_OK] + n_codes[STN_CANCELLED] + n_codes[STN_IO], 200);
    ck_assert_uint_eq(n_wrong, 0);
}
END_TEST

START_TEST(no_memory_is_an_error)
{
    open_all();
    for (uint64_t n = 1; n <= 3; n++) {
        stn_mem_fail_from(n);
        enum stn_code code =
            stn_link_listen(&server, mailbox, "tcp://127.0.0.1:0", NULL, echo, NULL, &err);
        stn_mem_fail_from(0);
        ck_assert_int_eq(code, STN_MEMORY);
    }
    close_all();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("link");
    TCase *c = tcase_create("link");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, every_one_of_many_concurrent_asks_gets_its_own_answer, 0, 4);
    tcase_add_test(c, parked_requests_are_answered_later_in_any_order);
    tcase_add_test(c, a_request_whose_asker_left_is_known_to_be_gone);
    tcase_add_test(c, an_ask_that_nobody_answers_fails_in_time_and_the_next_one_works);
    tcase_add_test(c, without_a_connection_an_ask_fails_in_time);
    tcase_add_test(c, when_the_other_end_is_killed_asks_fail_at_once_and_a_new_one_is_found_again);
    tcase_add_test(c, a_port_in_use_is_one_clear_error);
    tcase_add_test(c, a_url_that_is_none_is_an_error_that_names_it);
    tcase_add_test(c, garbage_and_oversize_end_their_connection_and_nobody_elses);
    tcase_add_test(c, connections_that_are_reset_as_they_are_answered_cost_nobody_else);
    tcase_add_test(c, one_connection_more_than_the_limit_is_closed_as_it_comes);
    tcase_add_loop_test(c, teardown_under_load_brings_everything_back_once, 0, 8);
    tcase_add_test(c, no_memory_is_an_error);
    suite_add_tcase(s, c);
    return s;
}
