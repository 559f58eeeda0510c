#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "blob/blob.h"
#include "io/file.h"

static char folder[64], other[80];
static struct stn_blob_store here, there;
static struct stn_err err;
static uint8_t bytes[3 * STN_DIGEST_CHUNK + 1000];
static struct stn_digest digest;
static struct stn_digest *leaves;
static size_t n_leaves;
static uint64_t size;

#define OK(call) ck_assert_msg((call) == STN_OK, "%s", err.text)

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-blob-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(other, sizeof other, "%s/cache", folder);
    OK(stn_blob_open(&here, folder, &err));
    OK(stn_blob_open(&there, other, &err));
    struct stn_rng rng;
    stn_rng_init(&rng, 4);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)stn_rng_u64(&rng);
    }
    OK(stn_blob_put(&here, bytes, sizeof bytes, &digest, &err));
    OK(stn_blob_leaves(&here, &digest, &leaves, &n_leaves, &size, &err));
}

static void teardown(void)
{
    stn_mem_free(leaves);
    OK(stn_file_remove_tree(folder, &err));
}

/* Carries chunk i from here to there. */
static enum stn_code carry(struct stn_blob_incoming *incoming, size_t i)
{
    static uint8_t chunk[STN_DIGEST_CHUNK];
    size_t n;
    OK(stn_blob_chunks(&here, &digest, i, 1, chunk, &n, &err));
    return stn_blob_take_chunk(incoming, i, chunk, n, &err);
}

START_TEST(a_blob_crosses_in_any_order_and_over_restarts)
{
    struct stn_blob_incoming incoming;
    ck_assert_uint_eq(n_leaves, 4);
    OK(stn_blob_begin(&incoming, &there, &digest, size, leaves, n_leaves, &err));
    OK(carry(&incoming, 3));
    OK(carry(&incoming, 1));
    OK(carry(&incoming, 1));
    stn_blob_stop(&incoming);
    ck_assert(!stn_blob_has(&there, &digest));
    OK(stn_blob_begin(&incoming, &there, &digest, size, leaves, n_leaves, &err));
    ck_assert_uint_eq(stn_parts_n_missing(incoming.parts), 2);
    ck_assert_uint_eq(stn_parts_next_missing(incoming.parts, 0), 0);
    ck_assert_uint_eq(stn_parts_next_missing(incoming.parts, 1), 2);
    OK(carry(&incoming, 0));
    OK(carry(&incoming, 2));
    OK(stn_blob_finish(&incoming, &err));
    stn_blob_stop(&incoming);
    char path[STN_FILE_PATH_MAX];
    struct stn_digest name;
    stn_blob_path(&there, &digest, path);
    OK(stn_blob_name_file(path, &name, &size, &err));
    ck_assert(stn_digest_equal(&name, &digest));
}
END_TEST

START_TEST(a_chunk_that_the_disk_lost_is_asked_for_again)
{
    struct stn_blob_incoming incoming;
    OK(stn_blob_begin(&incoming, &there, &digest, size, leaves, n_leaves, &err));
    OK(carry(&incoming, 2));
    stn_blob_stop(&incoming);
    char path[STN_FILE_PATH_MAX];
    int fd;
    stn_blob_path(&there, &digest, path);
    (void)strncat(path, ".part", 6);
    OK(stn_file_open(&fd, path, STN_FILE_WRITE, 0600, &err));
    OK(stn_file_pwrite(fd, path, "spoilt", 6, 2 * STN_DIGEST_CHUNK + 5, &err));
    stn_file_close(fd);
    OK(stn_blob_begin(&incoming, &there, &digest, size, leaves, n_leaves, &err));
    ck_assert_uint_eq(stn_parts_n_missing(incoming.parts), 4);
    stn_blob_stop(&incoming);
}
END_TEST

START_TEST(a_run_of_chunks_is_kept_where_it_is_missing_and_only_whole)
{
    static uint8_t run[sizeof bytes];
    const size_t chunk = STN_DIGEST_CHUNK;
    char path[STN_FILE_PATH_MAX];
    struct stn_parts *parts = NULL;
    struct stn_buf file = {0};
    (void)snprintf(path, sizeof path, "%s/upload", folder);
    OK(stn_parts_open(&parts, path, sizeof bytes, &err));
    const struct {
        size_t i, size;
    } wrong[] = {{0, 0}, {0, chunk - 1}, {0, chunk + 1}, {0, sizeof bytes + 1}, {2, 2 * chunk}, {3, chunk}, {4, 1}, {SIZE_MAX, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_int_eq(stn_parts_put(parts, wrong[i].i, bytes, wrong[i].size, &err), STN_INVALID);
    }
    ck_assert_uint_eq(stn_parts_n_missing(parts), 4);
    OK(stn_parts_put(parts, 1, bytes + chunk, chunk, &err));
    ck_assert_uint_eq(stn_parts_n_missing(parts), 3);
    memset(run, 7, sizeof run);
    memcpy(run, bytes, chunk);
    memcpy(run + 2 * chunk, bytes + 2 * chunk, sizeof run - 2 * chunk);
    OK(stn_parts_put(parts, 0, run, sizeof run, &err)); /* all but the one that is there */
    ck_assert_uint_eq(stn_parts_n_missing(parts), 0);
    stn_parts_close(parts);
    OK(stn_parts_open(&parts, path, sizeof bytes, &err));
    ck_assert_uint_eq(stn_parts_n_missing(parts), 0);
    OK(stn_parts_finish(parts, &err));
    stn_parts_close(parts);
    OK(stn_file_read(path, sizeof bytes, &file, &err));
    ck_assert_mem_eq(file.data, bytes, sizeof bytes);
    stn_buf_fini(&file);
}
END_TEST

START_TEST(a_run_of_a_blob_ends_with_it)
{
    static uint8_t run[3 * STN_DIGEST_CHUNK];
    size_t n;
    OK(stn_blob_chunks(&here, &digest, 0, 3, run, &n, &err));
    ck_assert_uint_eq(n, sizeof run);
    ck_assert_mem_eq(run, bytes, n);
    OK(stn_blob_chunks(&here, &digest, 2, 3, run, &n, &err));
    ck_assert_uint_eq(n, sizeof bytes - 2 * STN_DIGEST_CHUNK);
    ck_assert_mem_eq(run, bytes + 2 * STN_DIGEST_CHUNK, n);
    ck_assert_int_eq(stn_blob_chunks(&here, &digest, 4, 1, run, &n, &err), STN_INVALID);
}
END_TEST

START_TEST(wrong_bytes_and_wrong_leaves_are_refused)
{
    struct stn_blob_incoming incoming;
    OK(stn_blob_begin(&incoming, &there, &digest, size, leaves, n_leaves, &err));
    ck_assert_int_eq(stn_blob_take_chunk(&incoming, 4, bytes, 10, &err), STN_INVALID);
    ck_assert_int_eq(stn_blob_take_chunk(&incoming, 3, bytes, 10, &err), STN_CORRUPT);
    OK(stn_blob_take_chunk(&incoming, 0, bytes + 1, STN_DIGEST_CHUNK, &err)); /* held: nobody has looked at it */
    OK(carry(&incoming, 2));
    ck_assert_uint_eq(stn_parts_n_missing(incoming.parts), 4);
    ck_assert_int_eq(stn_blob_finish(&incoming, &err), STN_CORRUPT);
    ck_assert_str_eq(err.text, "chunk 0: the bytes are not what its hash says");
    ck_assert_uint_eq(stn_parts_n_missing(incoming.parts), 3); /* the right one is kept */
    ck_assert(stn_parts_has(incoming.parts, 2));
    OK(carry(&incoming, 1));
    OK(stn_blob_take_chunk(&incoming, 0, bytes + 1, STN_DIGEST_CHUNK, &err));
    stn_blob_stop(&incoming); /* what is held is checked and kept then, too */
    OK(stn_blob_begin(&incoming, &there, &digest, size, leaves, n_leaves, &err));
    ck_assert_uint_eq(stn_parts_n_missing(incoming.parts), 2);
    for (size_t i = 0; i < STN_BLOB_HELD; i++) { /* as many as are held are looked at */
        enum stn_code code = stn_blob_take_chunk(&incoming, 0, bytes + 1, STN_DIGEST_CHUNK, &err);
        ck_assert_int_eq(code, i + 1 < STN_BLOB_HELD ? STN_OK : STN_CORRUPT);
    }
    stn_blob_stop(&incoming);
    ck_assert_int_eq(stn_blob_begin(&incoming, &there, &digest, size + 1, leaves, n_leaves, &err), STN_CORRUPT);
    leaves[1].bytes[7] ^= 1;
    ck_assert_int_eq(stn_blob_begin(&incoming, &there, &digest, size, leaves, n_leaves, &err), STN_CORRUPT);
}
END_TEST

/* Nobody waits until they are on the disk: a power cut may leave any of them there. */
START_TEST(leaves_that_are_torn_or_wrong_or_gone_are_made_again)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf kept = {0};
    stn_blob_path(&here, &digest, path);
    (void)strncat(path, ".leaves", 8);
    OK(stn_file_read(path, 1 << 10, &kept, &err));
    ck_assert_mem_eq(kept.data, leaves, n_leaves * sizeof *leaves);
    OK(stn_file_remove(path, &err));
    OK(stn_blob_put(&here, bytes, sizeof bytes, &digest, &err)); /* a known one, whose leaves a crash kept from coming */
    ck_assert(stn_file_exists(path));
    const size_t sizes[] = {0, kept.size / 2, kept.size, kept.size + 1};
    ck_assert(stn_buf_add_u8(&kept, 7));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct stn_digest *again = NULL;
        size_t n;
        kept.data[0] ^= 1;
        OK(stn_file_replace(path, kept.data, sizes[i], 0600, &err));
        kept.data[0] ^= 1;
        OK(stn_blob_leaves(&here, &digest, &again, &n, &size, &err));
        ck_assert_uint_eq(n, n_leaves);
        ck_assert_mem_eq(again, leaves, n * sizeof *leaves);
        stn_mem_free(again);
        struct stn_buf mended = {0};
        OK(stn_file_read(path, 1 << 10, &mended, &err));
        ck_assert_uint_eq(mended.size, n * sizeof *leaves);
        ck_assert_mem_eq(mended.data, leaves, mended.size);
        stn_buf_fini(&mended);
    }
    stn_buf_fini(&kept);
}
END_TEST

START_TEST(a_file_that_changed_under_its_name_is_found_out)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_digest *again = NULL;
    stn_blob_path(&here, &digest, path);
    bytes[100] ^= 1;
    OK(stn_file_replace(path, bytes, sizeof bytes, 0600, &err));
    (void)strncat(path, ".leaves", 8);
    OK(stn_file_remove(path, &err));
    ck_assert_int_eq(stn_blob_leaves(&here, &digest, &again, &n_leaves, &size, &err), STN_CORRUPT);
}
END_TEST

START_TEST(an_empty_blob_is_a_blob)
{
    struct stn_digest empty;
    struct stn_blob_incoming incoming;
    OK(stn_blob_put(&here, "", 0, &empty, &err));
    OK(stn_blob_begin(&incoming, &there, &empty, 0, NULL, 0, &err));
    OK(stn_blob_finish(&incoming, &err));
    stn_blob_stop(&incoming);
    ck_assert(stn_blob_has(&there, &empty));
}
END_TEST

/* Whether a file of a blob is there, by its ending. */
static bool is_there(const struct stn_digest *of, const char *ending)
{
    char path[STN_FILE_PATH_MAX];
    stn_blob_path(&here, of, path);
    (void)strncat(path, ending, 32);
    return stn_file_exists(path);
}

static void leave(const struct stn_digest *of, const char *ending)
{
    char path[STN_FILE_PATH_MAX];
    stn_blob_path(&here, of, path);
    (void)strncat(path, ending, 32);
    OK(stn_file_replace(path, "x", 1, 0600, &err));
}

START_TEST(what_a_killed_process_has_left_is_swept_and_nothing_else)
{
    struct stn_digest arriving = {{1}}, superseded = {{2}};
    char path[STN_FILE_PATH_MAX];
    leave(&digest, ".4711.0.tmp");
    leave(&arriving, ".part");
    leave(&arriving, ".have");
    leave(&superseded, ".part");
    leave(&superseded, ".have");
    leave(&superseded, ".12.3.tmp");
    OK(stn_file_join(path, folder, "notes.tmp", &err));
    OK(stn_file_replace(path, "x", 1, 0600, &err));
    stn_blob_sweep(&here, NULL, 0);
    ck_assert(!is_there(&digest, ".4711.0.tmp") && !is_there(&superseded, ".12.3.tmp"));
    ck_assert(is_there(&superseded, ".part") && is_there(&superseded, ".have"));
    const struct stn_digest keep[] = {arriving, digest};
    stn_blob_sweep(&here, keep, 2);
    ck_assert(!is_there(&superseded, ".part") && !is_there(&superseded, ".have"));
    ck_assert(is_there(&arriving, ".part") && is_there(&arriving, ".have"));
    ck_assert(stn_blob_has(&here, &digest) && is_there(&digest, ".leaves"));
    ck_assert(stn_file_exists(path)); /* not the store's */
    ck_assert_int_eq(stn_blob_remove(&here, &arriving, &err), STN_NOT_FOUND); /* it was not whole */
    ck_assert(!is_there(&arriving, ".part") && !is_there(&arriving, ".have"));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("blob");
    TCase *t = tcase_create("blob");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_blob_crosses_in_any_order_and_over_restarts);
    tcase_add_test(t, a_chunk_that_the_disk_lost_is_asked_for_again);
    tcase_add_test(t, a_run_of_chunks_is_kept_where_it_is_missing_and_only_whole);
    tcase_add_test(t, a_run_of_a_blob_ends_with_it);
    tcase_add_test(t, wrong_bytes_and_wrong_leaves_are_refused);
    tcase_add_test(t, leaves_that_are_torn_or_wrong_or_gone_are_made_again);
    tcase_add_test(t, a_file_that_changed_under_its_name_is_found_out);
    tcase_add_test(t, an_empty_blob_is_a_blob);
    tcase_add_test(t, what_a_killed_process_has_left_is_swept_and_nothing_else);
    suite_add_tcase(s, t);
    return s;
}
