/* The link over TLS, with certificates made for the test. */
#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "io/file.h"
#include "io/link.h"
#include "io/loop.h"
#include "io/mailbox.h"

static struct stn_loop *loop;
static struct stn_mailbox *mailbox;
static struct stn_err err;
static uint8_t big[STN_LINK_MESSAGE_MAX];
static char folder[] = "/tmp/sterna-test-XXXXXX", pem[2][64];

/* Two certificates of the same name. False where there is nothing to make them with. */
static bool make_certificates(void)
{
    char command[512];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        (void)snprintf(pem[i], sizeof pem[i], "%s/%d.pem", folder, i);
        (void)snprintf(command, sizeof command,
                       "cd %s && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "
                       "/CN=localhost -keyout key -out crt >log 2>&1 && cat crt key >%s",
                       folder, pem[i]);
        if (system(command) != 0) {
            return false;
        }
    }
    return true;
}

static void echo(void *user, struct stn_link_request *request)
{
    (void)user;
    stn_link_reply(request, request->data, request->size);
}

static void on_reply(void *user, enum stn_code code, uint8_t *data, size_t size)
{
    *(enum stn_code *)user = code;
    ck_assert(code != STN_OK || (size == sizeof big && memcmp(data, big, size) == 0));
    stn_loop_stop(loop);
}

/* What comes of asking a server at url, when the client believes the authority in tls_ca. */
static enum stn_code ask(const char *url, const char *tls_ca, uint32_t timeout_ms)
{
    struct stn_link *client;
    enum stn_code code = STN_OK;
    const struct stn_link_options options = {.tls_ca = tls_ca};
    ck_assert_int_eq(stn_link_dial(&client, mailbox, url, &options, &err), STN_OK);
    ck_assert_int_eq(stn_link_ask(client, big, sizeof big, timeout_ms, on_reply, &code, &err),
                     STN_OK);
    stn_loop_run(loop);
    stn_link_close(client, NULL, NULL);
    return code;
}

START_TEST(the_client_believes_its_authority_and_no_other)
{
    struct stn_link *server;
    char url[64];
    if (!make_certificates()) {
        (void)printf("skipped: tls: no openssl command to make certificates with\n");
        ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
        return;
    }
    memset(big, 'b', sizeof big);
    ck_assert_int_eq(stn_loop_open(&loop, &err), STN_OK);
    ck_assert_int_eq(stn_mailbox_open(&mailbox, loop, &err), STN_OK);
    struct stn_link_options options = {.tls_cert_key = "/none.pem"};
    ck_assert_int_eq(
        stn_link_listen(&server, mailbox, "tls+tcp://localhost:0", &options, echo, NULL, &err),
        STN_NOT_FOUND);
    options.tls_cert_key = pem[0];
    enum stn_code code =
        stn_link_listen(&server, mailbox, "tls+tcp://localhost:0", &options, echo, NULL, &err);
    ck_assert_msg(code == STN_OK, "%s", err.text);
    (void)snprintf(url, sizeof url, "tls+tcp://localhost:%u", stn_link_port(server));
    ck_assert_int_eq(ask(url, pem[0], 20000), STN_OK);
    ck_assert_int_eq(ask(url, pem[1], 1000), STN_IO);
    stn_link_close(server, NULL, NULL);
    stn_mailbox_close(mailbox, NULL, NULL);
    stn_loop_run(loop);
    stn_loop_close(loop);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("link_tls");
    TCase *c = tcase_create("link_tls");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, the_client_believes_its_authority_and_no_other);
    suite_add_tcase(s, c);
    return s;
}
