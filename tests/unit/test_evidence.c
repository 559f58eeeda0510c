#include "tests/lib/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "client/shell/evidence.h"
#include "client/shell/owner.h"
#include "crypto/entropy.h"
#include "secagg/roster.h"

static char folder[64], path[STN_FILE_PATH_MAX];
static struct stn_place place;
static struct stn_ident coordinator;
static struct stn_err err;

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/stn-evidence-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(stn_entropy_start(&err), STN_OK);
    ck_assert_int_eq(stn_place_open(&place, folder, &err), STN_OK);
    stn_ident_new(&coordinator);
}

static void teardown(void)
{
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}

static struct stn_secagg_client_evidence make(bool of_rosters)
{
    struct stn_secagg_client_evidence evidence = {.cfg = {{0xab, [31] = 2}}, .of_rosters = of_rosters, .root = {{3}}};
    for (uint32_t i = 0; i < 2; i++) {
        struct stn_derive_round round = {.cfg = evidence.cfg, .root = evidence.root, .n = 5 + i};
        struct stn_roster_survivors survivors = {.root = {{(uint8_t)(4 + i)}}, .n = 5 + i};
        evidence.statements[i].n = 5 + i;
        evidence.statements[i].root = survivors.root;
        if (of_rosters) {
            round.root = survivors.root;
            stn_roster_sign(evidence.statements[i].signature, &round, &coordinator);
        } else {
            stn_roster_survivors_sign(evidence.statements[i].signature, STN_ROSTER_SURVIVORS, &round, &survivors,
                                      &coordinator);
        }
    }
    return evidence;
}

static void keep(const struct stn_secagg_client_evidence *evidence)
{
    ck_assert_msg(stn_evidence_keep(&place, evidence, coordinator.pub, path, &err) == STN_OK, "%s", err.text);
}

START_TEST(what_was_kept_comes_back_and_holds)
{
    for (int i = 0; i < 2; i++) {
        struct stn_secagg_client_evidence evidence = make(i == 0), back;
        keep(&evidence);
        ck_assert_msg(stn_evidence_read(path, &back, &err) == STN_OK, "%s", err.text);
        ck_assert_int_eq(back.of_rosters, i == 0);
        ck_assert_mem_eq(&back.statements, &evidence.statements, sizeof back.statements);
        ck_assert_int_eq(stn_evidence_verify(&back, coordinator.pub, &err), STN_OK);
    }
}
END_TEST

START_TEST(nothing_less_is_evidence)
{
    struct stn_ident other;
    stn_ident_new(&other);
    for (int i = 0; i < 12; i++) {
        struct stn_secagg_client_evidence evidence = make(i % 2 == 0);
        switch (i / 2) {
        case 0:
            evidence.statements[0].signature[7] ^= 1;
            break;
        case 1:
            evidence.statements[1].signature[0] ^= 1;
            break;
        case 2:
            evidence.statements[0].n++;
            break;
        case 3:
            evidence.cfg.bytes[0] ^= 1;
            break;
        case 4: /* the same twice */
            evidence.statements[1] = evidence.statements[0];
            break;
        default: /* the other kind */
            evidence.of_rosters = !evidence.of_rosters;
            break;
        }
        ck_assert_int_eq(stn_evidence_verify(&evidence, coordinator.pub, &err), STN_DENIED);
    }
    struct stn_secagg_client_evidence evidence = make(true);
    ck_assert_int_eq(stn_evidence_verify(&evidence, other.pub, &err), STN_DENIED);
}
END_TEST

START_TEST(a_file_that_is_damaged_is_named)
{
    struct stn_secagg_client_evidence evidence = make(true), back;
    struct stn_buf whole = {0};
    keep(&evidence);
    ck_assert_int_eq(stn_file_read(path, 1 << 16, &whole, &err), STN_OK);
    for (size_t size = 0; size + 2 < whole.size; size += 13) {
        ck_assert_int_eq(stn_file_replace(path, whole.data, size, 0600, &err), STN_OK);
        ck_assert_int_eq(stn_evidence_read(path, &back, &err), STN_CORRUPT);
        ck_assert_ptr_nonnull(strstr(err.text, "-rosters.json"));
    }
    stn_buf_fini(&whole);
}
END_TEST

/* The command, on a folder as a device has it: its exit code; what it says goes to out. */
static int log_evidence(const char *more, char *out, size_t size)
{
    char command[2 * STN_FILE_PATH_MAX];
    (void)snprintf(command, sizeof command, "%s/client/sterna log evidence --dir %s %s 2>&1", getenv("STERNA_BUILD"), folder, more);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t n = fread(out, 1, size - 1, pipe);
    out[n] = '\0';
    int status = pclose(pipe);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(the_owner_sees_it_and_what_does_not_hold)
{
    char out[8192], conf[STN_FILE_PATH_MAX];
    struct stn_buf text = {0};
    struct stn_secagg_client_evidence rosters = make(true), survivors = make(false);
    ck_assert_int_eq(stn_owner_write(&text, "tcp://127.0.0.1:1", "", coordinator.pub, coordinator.pub, folder, &err), STN_OK);
    stn_place_path(&place, "agent.conf", conf);
    ck_assert_int_eq(stn_file_replace(conf, text.data, text.size, 0600, &err), STN_OK);
    stn_buf_fini(&text);
    ck_assert_int_eq(log_evidence("", out, sizeof out), 0);
    ck_assert_ptr_nonnull(strstr(out, "no evidence"));
    keep(&rosters);
    keep(&survivors);
    ck_assert_msg(log_evidence("", out, sizeof out) == 0, "%s", out);
    ck_assert_ptr_nonnull(strstr(out, "two rosters of the round with config ab00"));
    ck_assert_ptr_nonnull(strstr(out, "two sets of survivors"));
    ck_assert_ptr_nonnull(strstr(out, "both are signed by the coordinator's pinned key"));
    ck_assert_ptr_null(strstr(out, "NOT"));
    ck_assert_int_eq(log_evidence("--json", out, sizeof out), 0);
    ck_assert_ptr_nonnull(strstr(out, "\"verified\": true"));
    ck_assert_ptr_null(strstr(out, "\"verified\": false"));
    survivors.statements[1].signature[3] ^= 1;
    keep(&survivors);
    ck_assert_int_eq(log_evidence("", out, sizeof out), 1);
    ck_assert_ptr_nonnull(strstr(out, "NOT verified"));
    ck_assert_ptr_nonnull(strstr(out, "error: "));
    ck_assert_ptr_nonnull(strstr(out, "1 of 2 files"));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("evidence");
    TCase *c = tcase_create("evidence");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, what_was_kept_comes_back_and_holds);
    tcase_add_test(c, nothing_less_is_evidence);
    tcase_add_test(c, a_file_that_is_damaged_is_named);
    tcase_add_test(c, the_owner_sees_it_and_what_does_not_hold);
    suite_add_tcase(s, c);
    return s;
}
