#include "tests/lib/run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/local.h"
#include "io/loop.h"
#include "io/mailbox.h"

static char folder[64], path[96];
static struct stn_err err;
static struct stn_loop *loop;
static struct stn_mailbox *mailbox;
static struct stn_local *local;

static void set_up(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/control", folder);
    ck_assert_int_eq(stn_loop_open(&loop, &err), STN_OK);
    ck_assert_int_eq(stn_mailbox_open(&mailbox, loop, &err), STN_OK);
}

static void count_up(void *user)
{
    ++*(int *)user;
}

static void tear_down(void)
{
    int n_closed = 0, expected = local == NULL ? 0 : 1;
    stn_local_close(local, count_up, &n_closed);
    stn_mailbox_close(mailbox, NULL, NULL);
    stn_loop_run(loop);
    ck_assert_int_eq(n_closed, expected);
    ck_assert(!stn_file_exists(path));
    stn_loop_close(loop);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}

static void serve(void (*on_request)(void *user, struct stn_local_request *request))
{
    enum stn_code code = stn_local_listen(&local, loop, path, STN_LOCAL_OWNER, on_request, NULL, &err);
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

static void echo(void *user, struct stn_local_request *request)
{
    (void)user;
    stn_local_reply(request, request->text, request->size);
}

/* ---- a thread that asks, as a command line would ---- */

struct asker {
    struct stn_letter letter;
    pthread_t thread;
    const char *text;
    size_t size;
    uint32_t timeout_ms;
    enum stn_code code;
    struct stn_buf reply;
};

static int n_asking;

static void *ask_line(void *arg)
{
    struct asker *asker = arg;
    asker->code =
        stn_local_ask(path, asker->text, asker->size, asker->timeout_ms, &asker->reply, NULL);
    stn_mailbox_post(mailbox, &asker->letter);
    return NULL;
}

static void one_is_back(struct stn_letter *letter)
{
    (void)letter;
    if (--n_asking == 0) {
        stn_loop_stop(loop);
    }
}

static void start(struct asker *asker, const char *text, size_t size, uint32_t timeout_ms)
{
    *asker = (struct asker){
        .letter.deliver = one_is_back, .text = text, .size = size, .timeout_ms = timeout_ms};
    n_asking++;
    stn_mailbox_lend(mailbox);
    ck_assert_int_eq(pthread_create(&asker->thread, NULL, ask_line, asker), 0);
}

static void finish(struct asker *asker, enum stn_code code)
{
    ck_assert_int_eq(pthread_join(asker->thread, NULL), 0);
    ck_assert_int_eq(asker->code, code);
    if (code == STN_OK) {
        ck_assert_uint_eq(asker->reply.size, asker->size);
        ck_assert(memcmp(asker->reply.data, asker->text, asker->size) == 0);
        ck_assert_int_eq(asker->reply.data[asker->reply.size], 0);
    } else {
        ck_assert_uint_eq(asker->reply.size, 0);
    }
    stn_buf_fini(&asker->reply);
}

START_TEST(every_line_gets_its_answer_also_a_long_one_and_an_empty_one)
{
    enum { N = 40 };
    static struct asker askers[N];
    static char text[STN_LOCAL_LINE_MAX];
    memset(text, 'x', sizeof text);
    serve(echo);
    for (int i = 0; i < N; i++) {
        start(&askers[i], text, i == 0 ? 0 : i == 1 ? sizeof text : (size_t)i * 5000, 20000);
    }
    stn_loop_run(loop);
    for (int i = 0; i < N; i++) {
        finish(&askers[i], STN_OK);
    }
}
END_TEST

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

/* Answers the one before when the next comes, so that every answer is late. */
static struct stn_local_request *held;

static void answer_the_last(void *user, struct stn_local_request *request)
{
    (void)user;
    if (held != NULL) {
        stn_local_reply(held, held->text, held->size);
    }
    held = request;
}

START_TEST(an_answer_may_come_later_and_to_nobody)
{
    struct asker a, b, c;
    serve(answer_the_last);
    start(&a, "one", 3, 100);
    stn_loop_run(loop);
    finish(&a, STN_AGAIN); /* it has left: its answer goes nowhere */
    start(&b, "two", 3, 20000);
    wait_ms(50);
    start(&c, "six", 3, 300);
    stn_loop_run(loop);
    finish(&b, STN_OK);
    finish(&c, STN_AGAIN);
}
END_TEST

START_TEST(only_the_owner_may_open_the_socket_file)
{
    struct stat st;
    (void)umask(0);
    serve(echo);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(nobody_at_the_path_is_not_found)
{
    struct stn_buf reply = {0};
    char longer[200];
    ck_assert_int_eq(stn_local_ask(path, "x", 1, 1000, &reply, &err), STN_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    memset(longer, 'p', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    ck_assert_int_eq(stn_local_ask(longer, "x", 1, 1000, &reply, &err), STN_LIMIT);
    ck_assert_int_eq(stn_local_listen(&local, loop, longer, STN_LOCAL_OWNER, echo, NULL, &err), STN_LIMIT);
}
END_TEST

START_TEST(the_file_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(stn_local_listen(&local, loop, path, STN_LOCAL_OWNER, echo, NULL, NULL) == STN_OK ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert(stn_file_exists(path));
    struct stn_buf reply = {0};
    ck_assert_int_eq(stn_local_ask(path, "x", 1, 1000, &reply, &err), STN_NOT_FOUND);
    serve(echo);
    struct stn_local *other = NULL;
    ck_assert_int_eq(stn_local_listen(&other, loop, path, STN_LOCAL_OWNER, echo, NULL, &err), STN_EXISTS);
    ck_assert_ptr_nonnull(strstr(err.text, "another process answers there"));
    ck_assert(stn_file_exists(path));
}
END_TEST

START_TEST(a_group_may_open_the_file_when_it_is_said)
{
    struct stat file;
    gid_t group = geteuid() == 0 ? 54321 : getegid();
    ck_assert_int_eq(stn_local_listen(&local, loop, path, group, echo, NULL, &err), STN_OK);
    ck_assert_int_eq(stat(path, &file), 0);
    ck_assert_uint_eq(file.st_gid, group);
    ck_assert_uint_eq(file.st_mode & 0777, 0660);
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_left_alone)
{
    ck_assert_int_eq(stn_file_replace(path, "mine", 4, STN_FILE_MODE, &err), STN_OK);
    ck_assert_int_eq(stn_local_listen(&local, loop, path, STN_LOCAL_OWNER, echo, NULL, &err), STN_EXISTS);
    ck_assert(stn_file_exists(path));
    ck_assert_int_eq(stn_file_remove(path, &err), STN_OK);
}
END_TEST

static int raw_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path, path, strlen(path) + 1);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

START_TEST(lines_in_one_piece_are_answered_in_order_and_in_pieces_too)
{
    char got[64] = "";
    serve(echo);
    int fd = raw_connect();
    ck_assert_int_eq(write(fd, "one\ntwo\nth", 10), 10);
    wait_ms(50);
    ck_assert_int_eq(write(fd, "ree\n", 4), 4);
    wait_ms(50);
    ck_assert_int_eq(recv(fd, got, sizeof got, MSG_DONTWAIT), 14);
    ck_assert_str_eq(got, "one\ntwo\nthree\n");
    (void)close(fd);
    wait_ms(20);
}
END_TEST

START_TEST(a_line_without_an_end_ends_its_connection_and_costs_no_more_than_the_limit)
{
    static char zeroes[1 << 20];
    struct asker asker;
    serve(echo);
    int fd = raw_connect();
    size_t sent = 0;
    for (int i = 0; i < 4000 && sent < 3 * STN_LOCAL_LINE_MAX; i++) {
        ssize_t n = send(fd, zeroes, sizeof zeroes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            break;
        }
        sent += n > 0 ? (size_t)n : 0;
        wait_ms(1);
    }
    ck_assert_uint_lt(sent, 2 * STN_LOCAL_LINE_MAX);
    (void)close(fd);
    start(&asker, "still here", 10, 5000);
    stn_loop_run(loop);
    finish(&asker, STN_OK);
}
END_TEST

START_TEST(more_connections_than_the_limit_wait_their_turn)
{
    int fds[STN_LOCAL_CONNECTIONS];
    struct asker asker;
    serve(echo);
    for (int i = 0; i < STN_LOCAL_CONNECTIONS; i++) {
        fds[i] = raw_connect();
    }
    wait_ms(50);
    start(&asker, "me too", 6, 20000);
    wait_ms(100);
    (void)close(fds[3]);
    stn_loop_run(loop);
    finish(&asker, STN_OK);
    for (int i = 0; i < STN_LOCAL_CONNECTIONS; i++) {
        if (i != 3) {
            (void)close(fds[i]);
        }
    }
    wait_ms(20);
}
END_TEST

static void never(void *user, struct stn_local_request *request)
{
    (void)user;
    (void)request;
    stn_loop_stop(loop);
}

START_TEST(closing_with_open_requests_ends_them)
{
    struct asker asker;
    serve(never);
    start(&asker, "hello", 5, 20000);
    stn_loop_run(loop);
    stn_local_close(local, NULL, NULL);
    local = NULL;
    stn_loop_run(loop);
    finish(&asker, STN_IO);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("local");
    TCase *c = tcase_create("local");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, every_line_gets_its_answer_also_a_long_one_and_an_empty_one);
    tcase_add_test(c, an_answer_may_come_later_and_to_nobody);
    tcase_add_test(c, only_the_owner_may_open_the_socket_file);
    tcase_add_test(c, nobody_at_the_path_is_not_found);
    tcase_add_test(c, the_file_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not);
    tcase_add_test(c, a_group_may_open_the_file_when_it_is_said);
    tcase_add_test(c, a_file_that_is_no_socket_is_left_alone);
    tcase_add_test(c, lines_in_one_piece_are_answered_in_order_and_in_pieces_too);
    tcase_add_test(c, a_line_without_an_end_ends_its_connection_and_costs_no_more_than_the_limit);
    tcase_add_test(c, more_connections_than_the_limit_wait_their_turn);
    tcase_add_test(c, closing_with_open_requests_ends_them);
    suite_add_tcase(s, c);
    return s;
}
