#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/shell/delta.h"
#include "client/shell/journal.h"
#include "crypto/entropy.h"

static char folder[] = "/tmp/stn-journal-XXXXXX";
static struct stn_place place;
static struct stn_journal journal;
static struct stn_agent_record record, back;
static struct stn_err err;

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/stn-journal-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(stn_entropy_start(&err), STN_OK);
    ck_assert_int_eq(stn_place_open(&place, folder, &err), STN_OK);
    memset(&record, 0, sizeof record);
    record.phase = STN_AGENT_UPLOADING;
    record.lease = (struct stn_msg_lease){.lease = 7, .version = 3, .n_min = 5, .seed = 99, .expires_after_ms = 60000,
                                          .base = {.size = 1000}, .adapter = {.size = 2000}};
    record.lease.base.digest.bytes[0] = 1;
    record.lease.adapter.digest.bytes[0] = 2;
    record.lease.train = (struct stn_train_spec){.rank = 8, .alpha = 16, .targets = 127, .local_steps = 5,
                                                 .batch_examples = 4, .batch_tokens = 256, .ctx = 128, .lr = 1e-3};
    (void)stn_str_copy(record.lease.task, sizeof record.lease.task, "home");
    record.config = (struct stn_msg_round_config){.protocol = 1, .version = 3, .n_values = 100, .bits = 24, .n_max = 6,
                                                  .n_min = 5, .clip_norm = 1.5, .weight_max = 10, .join_ms = 1000,
                                                  .upload_ms = 1000, .seed = {4}, .signature = {5}};
    (void)stn_str_copy(record.config.task, sizeof record.config.task, "home");
    memset(record.round.bytes, 6, sizeof record.round.bytes);
    record.config.round = record.round;
    record.config.model = record.lease.base.digest;
    record.config.adapter = record.lease.adapter.digest;
    record.config.task_digest.bytes[0] = 3;
    record.config_digest.bytes[31] = 9;
    record.secure = (struct stn_secagg_client_record){.cfg = {{7}}, .root = {{8}}, .stage = STN_STAGE_UPLOAD, .spoken = {{9}}};
    record.n_rounds = 3;
    record.rounds[2].bytes[1] = 4;
    record.n_samples = 54;
    record.next_check_in_ms = 123456789;
    record.n_installed = 2;
    (void)stn_str_copy(record.installed[0].task, STN_MSG_NAME, "home");
    record.installed[0].version = 3;
    (void)stn_str_copy(record.installed[1].task, STN_MSG_NAME, "notes");
    record.installed[1].version = 8;
}

static void teardown(void)
{
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}

static bool is_spent(uint64_t number)
{
    struct stn_msg_lease lease = record.lease;
    lease.lease = number;
    return stn_journal_is_spent(&journal, &lease);
}

static enum stn_code reopen(void)
{
    memset(&back, 0xff, sizeof back);
    return stn_journal_open(&journal, &place, &back, &err);
}

START_TEST(what_was_saved_is_what_comes_back)
{
    ck_assert_int_eq(reopen(), STN_OK);
    ck_assert_uint_eq(back.phase, STN_AGENT_IDLE);
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    ck_assert_int_eq(reopen(), STN_OK);
    ck_assert_uint_eq(back.phase, STN_AGENT_UPLOADING);
    ck_assert_uint_eq(back.lease.lease, 7);
    ck_assert_str_eq(back.lease.task, "home");
    ck_assert_uint_eq(back.lease.train.local_steps, 5);
    ck_assert_double_eq(back.config.clip_norm, 1.5);
    ck_assert_mem_eq(&back.round, &record.round, sizeof back.round);
    ck_assert_mem_eq(&back.config_digest, &record.config_digest, sizeof back.config_digest);
    ck_assert_mem_eq(&back.secure, &record.secure, sizeof back.secure);
    ck_assert_uint_eq(back.n_rounds, 3);
    ck_assert_mem_eq(back.rounds, record.rounds, sizeof back.rounds);
    ck_assert_uint_eq(back.n_samples, 54);
    ck_assert_uint_eq(back.next_check_in_ms, 123456789);
    ck_assert_uint_eq(back.n_installed, 2);
    ck_assert_str_eq(back.installed[1].task, "notes");
    ck_assert_uint_eq(back.installed[1].version, 8);
}
END_TEST

START_TEST(a_lease_is_spent_before_its_upload_begins_and_stays_so)
{
    ck_assert_int_eq(reopen(), STN_OK);
    record.phase = STN_AGENT_JOINED;
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    ck_assert(!is_spent(7));
    record.phase = STN_AGENT_UPLOADING;
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    record.phase = STN_AGENT_UPLOADED;
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    ck_assert(is_spent(7));
    ck_assert_uint_eq(journal.n_spent, 1);
    ck_assert_int_eq(reopen(), STN_OK);
    ck_assert(is_spent(7));
    ck_assert(!is_spent(8));
    ck_assert_uint_eq(journal.n_spent, 1);
}
END_TEST

START_TEST(a_lease_of_the_same_number_elsewhere_is_another_one)
{
    struct stn_msg_lease other = record.lease;
    ck_assert_int_eq(reopen(), STN_OK);
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    other.expires_after_ms = 5; /* the same, given again */
    ck_assert(stn_journal_is_spent(&journal, &other));
    (void)stn_str_copy(other.task, sizeof other.task, "notes"); /* each task counts from 1 */
    ck_assert(!stn_journal_is_spent(&journal, &other));
    other = record.lease;
    other.version++;
    ck_assert(!stn_journal_is_spent(&journal, &other));
    other = record.lease;
    other.adapter.digest.bytes[5] ^= 1;
    ck_assert(!stn_journal_is_spent(&journal, &other));
}
END_TEST

/* Every single flipped byte, and every cut. */
START_TEST(a_damaged_journal_is_a_fresh_start_that_forgets_no_spent_lease)
{
    struct stn_buf whole = {0};
    ck_assert_int_eq(reopen(), STN_OK);
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    ck_assert_int_eq(stn_file_read(journal.path, 1 << 20, &whole, &err), STN_OK);
    for (size_t i = 0; i < whole.size; i += 7) {
        whole.data[i] ^= 0x40;
        ck_assert_int_eq(stn_file_replace(journal.path, whole.data, whole.size, 0600, &err), STN_OK);
        whole.data[i] ^= 0x40;
        enum stn_code code = reopen();
        ck_assert(code == STN_CORRUPT || code == STN_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err.text, "agent.state"));
        ck_assert_uint_eq(back.phase, STN_AGENT_IDLE);
        ck_assert_uint_eq(back.n_installed, 0);
        ck_assert(is_spent(7));
        ck_assert(!stn_file_exists(journal.path));
        ck_assert_int_eq(stn_file_replace(journal.path, whole.data, i, 0600, &err), STN_OK);
        ck_assert_int_eq(reopen(), STN_CORRUPT);
    }
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    ck_assert_int_eq(reopen(), STN_OK);
    stn_buf_fini(&whole);
}
END_TEST

START_TEST(half_a_line_of_spent_is_written_over)
{
    int fd = -1;
    ck_assert_int_eq(reopen(), STN_OK);
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    ck_assert_int_eq(stn_file_open(&fd, journal.spent_path, STN_FILE_APPEND, 0600, &err), STN_OK);
    ck_assert_int_eq(stn_file_append(fd, journal.spent_path, "00ff", 4, &err), STN_OK);
    stn_file_close(fd);
    ck_assert_int_eq(reopen(), STN_OK);
    record.lease.lease = 8;
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    ck_assert_int_eq(reopen(), STN_OK);
    ck_assert(is_spent(7));
    ck_assert(is_spent(8));
    ck_assert_uint_eq(journal.n_spent, 2);
}
END_TEST

START_TEST(a_device_that_has_taken_part_a_million_times_starts_again)
{
    enum { N = 1000003 };
    struct stn_buf lines = {0};
    ck_assert_int_eq(reopen(), STN_OK);
    for (uint64_t i = 0; i < N; i++) {
        (void)stn_buf_printf(&lines, "%016llx\n", (unsigned long long)i);
    }
    ck_assert_int_eq(stn_file_replace(journal.spent_path, lines.data, lines.size, 0600, &err), STN_OK);
    stn_buf_fini(&lines);
    ck_assert_int_eq(reopen(), STN_OK);
    ck_assert_uint_eq(journal.n_spent, N);
    ck_assert_int_eq(stn_journal_save(&journal, &record, &err), STN_OK);
    ck_assert_int_eq(reopen(), STN_OK);
    ck_assert_uint_eq(journal.n_spent, N + 1);
    ck_assert(is_spent(7));
    ck_assert(!is_spent(8));
}
END_TEST

START_TEST(a_key_is_made_once_and_is_its_owners_alone)
{
    struct stat st;
    struct stn_ident first, again;
    char path[STN_FILE_PATH_MAX];
    ck_assert_int_eq(stn_place_identity(&place, false, &first, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_place_identity(&place, true, &first, &err), STN_OK);
    ck_assert_int_eq(stn_place_identity(&place, false, &again, &err), STN_OK);
    ck_assert_mem_eq(first.pub, again.pub, sizeof first.pub);
    stn_place_path(&place, "keys/device.key", path);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(stn_place_identity(&place, false, &again, &err), STN_DENIED);
    ck_assert_int_eq(stn_place_forget(&place, &err), STN_OK);
    ck_assert(!stn_file_exists(path));
    stn_ident_fini(&first);
    stn_ident_fini(&again);
}
END_TEST

START_TEST(a_certificate_of_another_directory_or_device_is_refused)
{
    struct stn_ident device, other, directory;
    struct stn_ident_cert cert = {.issued_at_s = 5}, read;
    stn_ident_new(&device);
    stn_ident_new(&other);
    stn_ident_new(&directory);
    memcpy(cert.device, device.pub, sizeof cert.device);
    stn_ident_cert_sign(&cert, &directory);
    ck_assert_int_eq(stn_place_certificate(&place, device.pub, directory.pub, &read, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_place_keep_certificate(&place, &cert, &err), STN_OK);
    ck_assert_int_eq(stn_place_certificate(&place, device.pub, directory.pub, &read, &err), STN_OK);
    ck_assert_mem_eq(read.signature, cert.signature, sizeof cert.signature);
    ck_assert_int_eq(stn_place_certificate(&place, device.pub, other.pub, &read, &err), STN_DENIED);
    ck_assert_int_eq(stn_place_certificate(&place, other.pub, directory.pub, &read, &err), STN_DENIED);
}
END_TEST

START_TEST(a_delta_is_its_leases_alone_and_whole)
{
    float values[3] = {1, -2.5f, 1e-9f};
    struct stn_delta delta = {.values = values, .n_values = 3, .info = {.n_samples = 54, .loss_sum = 12.25, .n_tokens = 9}},
                     read = {0};
    char path[STN_FILE_PATH_MAX];
    struct stn_buf bytes = {0};
    stn_place_path(&place, "work/x.delta", path);
    ck_assert_int_eq(stn_delta_read(&read, path, &record.lease, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_delta_write(path, &record.lease, &delta, &err), STN_OK);
    record.lease.expires_after_ms = 5; /* the same lease, given again */
    ck_assert_int_eq(stn_delta_read(&read, path, &record.lease, &err), STN_OK);
    ck_assert_uint_eq(read.n_values, 3);
    ck_assert_mem_eq(read.values, values, sizeof values);
    ck_assert_double_eq(read.info.loss_sum, 12.25);
    stn_mem_free(read.values);
    record.lease.seed++;
    ck_assert_int_eq(stn_delta_read(&read, path, &record.lease, &err), STN_CORRUPT);
    record.lease.seed--;
    ck_assert_int_eq(stn_file_read(path, 1 << 20, &bytes, &err), STN_OK);
    for (size_t i = 0; i < bytes.size; i++) {
        bytes.data[i] ^= 1;
        ck_assert_int_eq(stn_file_replace(path, bytes.data, bytes.size, 0600, &err), STN_OK);
        ck_assert_int_eq(stn_delta_read(&read, path, &record.lease, &err), STN_CORRUPT);
        bytes.data[i] ^= 1;
    }
    stn_buf_fini(&bytes);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("journal");
    TCase *c = tcase_create("journal");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, what_was_saved_is_what_comes_back);
    tcase_add_test(c, a_lease_of_the_same_number_elsewhere_is_another_one);
    tcase_add_test(c, a_lease_is_spent_before_its_upload_begins_and_stays_so);
    tcase_add_test(c, a_damaged_journal_is_a_fresh_start_that_forgets_no_spent_lease);
    tcase_add_test(c, half_a_line_of_spent_is_written_over);
    tcase_add_test(c, a_device_that_has_taken_part_a_million_times_starts_again);
    tcase_add_test(c, a_key_is_made_once_and_is_its_owners_alone);
    tcase_add_test(c, a_certificate_of_another_directory_or_device_is_refused);
    tcase_add_test(c, a_delta_is_its_leases_alone_and_whole);
    suite_add_tcase(s, c);
    return s;
}
