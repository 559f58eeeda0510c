#include "tests/lib/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/file.h"

static char folder[64];
static struct stn_err err;

static const char *in_folder(const char *name)
{
    static char paths[4][STN_FILE_PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    ck_assert_int_eq(stn_file_join(path, folder, name, &err), STN_OK);
    return path;
}

static void make_folder(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    ck_assert_msg(stn_file_remove_tree(folder, &err) == STN_OK, "%s", err.text);
}

static enum stn_code append_name(void *user, const char *name, struct stn_err *e)
{
    (void)e;
    return stn_buf_printf(user, "%s ", name) ? STN_OK : STN_MEMORY;
}

/* The names in the folder, in a static buffer. */
static const char *names(void)
{
    static struct stn_buf buf;
    stn_buf_clear(&buf);
    ck_assert_int_eq(stn_file_list(folder, append_name, &buf, &err), STN_OK);
    ck_assert(stn_buf_add_u8(&buf, 0));
    return (const char *)buf.data;
}

static const char *content(const char *name)
{
    static struct stn_buf buf;
    stn_buf_clear(&buf);
    ck_assert_msg(stn_file_read(in_folder(name), 1 << 20, &buf, &err) == STN_OK, "%s", err.text);
    ck_assert(stn_buf_add_u8(&buf, 0));
    return (const char *)buf.data;
}

START_TEST(a_file_is_replaced_whole_and_keeps_to_its_mode)
{
    struct stat st;
    ck_assert_int_eq(stn_file_replace(in_folder("key"), "old", 3, STN_FILE_SECRET, &err), STN_OK);
    ck_assert_int_eq(stn_file_replace(in_folder("key"), "newer", 5, STN_FILE_SECRET, &err), STN_OK);
    ck_assert_str_eq(content("key"), "newer");
    ck_assert_int_eq(stat(in_folder("key"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_str_eq(names(), "key ");
    ck_assert_int_eq(stn_file_replace(in_folder("none/key"), "x", 1, STN_FILE_SECRET, &err),
                     STN_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "none/key"));
}
END_TEST

START_TEST(a_copy_has_the_bytes_and_its_own_mode)
{
    struct stat st;
    struct stn_buf large = {0};
    for (uint32_t i = 0; i < 600000; i++) {
        (void)stn_buf_add_u32(&large, i * 2654435761u);
    }
    ck_assert(!large.failed);
    ck_assert_int_eq(stn_file_replace(in_folder("from"), large.data, large.size, STN_FILE_SECRET, &err), STN_OK);
    ck_assert_int_eq(stn_file_replace(in_folder("to"), "old", 3, STN_FILE_SECRET, &err), STN_OK);
    char from[128];
    (void)snprintf(from, sizeof from, "%s", in_folder("from"));
    ck_assert_int_eq(stn_file_copy(from, in_folder("to"), STN_FILE_MODE, &err), STN_OK);
    struct stn_buf back = {0};
    ck_assert_int_eq(stn_file_read(in_folder("to"), SIZE_MAX - 1, &back, &err), STN_OK);
    ck_assert_uint_eq(back.size, large.size);
    ck_assert_mem_eq(back.data, large.data, large.size);
    ck_assert_int_eq(stat(in_folder("to"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0644);
    /* one that the kernel does not copy by itself */
    ck_assert_int_eq(stn_file_copy("/proc/self/stat", in_folder("stat"), STN_FILE_MODE, &err), STN_OK);
    ck_assert_uint_gt(strlen(content("stat")), 20);
    ck_assert_int_eq(stn_file_copy("/nowhere/x", in_folder("y"), STN_FILE_MODE, &err), STN_NOT_FOUND);
    ck_assert_str_eq(names(), "from stat to ");
    stn_buf_fini(&large);
    stn_buf_fini(&back);
}
END_TEST

START_TEST(a_replacement_that_fails_leaves_the_old_file_and_nothing_else)
{
    /* a folder of that name cannot be replaced by a file */
    ck_assert_int_eq(stn_file_make_folder(in_folder("a"), 0700, &err), STN_OK);
    ck_assert_int_ne(stn_file_replace(in_folder("a"), "x", 1, STN_FILE_MODE, &err), STN_OK);
    ck_assert_str_eq(names(), "a ");
}
END_TEST

START_TEST(a_draft_appears_when_it_is_kept_and_vanishes_when_it_is_dropped)
{
    struct stn_file_draft draft;
    ck_assert_int_eq(stn_file_draft(&draft, in_folder("d"), STN_FILE_MODE, &err), STN_OK);
    ck_assert_int_eq(stn_file_draft_put(&draft, "one ", 4, &err), STN_OK);
    ck_assert_int_eq(stn_file_draft_put(&draft, "two", 3, &err), STN_OK);
    ck_assert(!stn_file_exists(in_folder("d")));
    ck_assert_int_eq(stn_file_draft_keep(&draft, &err), STN_OK);
    stn_file_draft_drop(&draft);
    ck_assert_str_eq(content("d"), "one two");
    ck_assert_int_eq(stn_file_draft(&draft, in_folder("e"), STN_FILE_MODE, &err), STN_OK);
    stn_file_draft_drop(&draft);
    stn_file_draft_drop(&draft);
    ck_assert_str_eq(names(), "d ");
}
END_TEST

START_TEST(a_file_longer_than_the_limit_is_refused_and_one_just_as_long_is_read)
{
    struct stn_buf buf = {0};
    ck_assert_int_eq(stn_file_replace(in_folder("f"), "12345678", 8, STN_FILE_MODE, &err), STN_OK);
    ck_assert_int_eq(stn_file_read(in_folder("f"), 7, &buf, &err), STN_LIMIT);
    ck_assert_uint_eq(buf.size, 0);
    ck_assert_int_eq(stn_file_read(in_folder("f"), 8, &buf, &err), STN_OK);
    ck_assert_uint_eq(buf.size, 8);
    /* endless, and says that it has no size */
    ck_assert_int_eq(stn_file_read("/dev/zero", 5000000, &buf, &err), STN_LIMIT);
    ck_assert_uint_eq(buf.size, 8);
    ck_assert_int_eq(stn_file_read(in_folder("g"), 7, &buf, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_file_read(folder, 7000000, &buf, &err), STN_IO);
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(bytes_are_where_they_were_written)
{
    int fd = -1;
    char got[6] = "";
    uint64_t size = 0;
    ck_assert_int_eq(stn_file_open(&fd, in_folder("f"), STN_FILE_NEW, STN_FILE_MODE, &err), STN_OK);
    ck_assert_int_eq(stn_file_pwrite(fd, "f", "world", 5, 6, &err), STN_OK);
    ck_assert_int_eq(stn_file_pwrite(fd, "f", "hello ", 6, 0, &err), STN_OK);
    ck_assert_int_eq(stn_file_sync(fd, "f", &err), STN_OK);
    ck_assert_int_eq(stn_file_pread(fd, "f", got, 5, 6, &err), STN_OK);
    ck_assert_str_eq(got, "world");
    ck_assert_int_eq(stn_file_pread(fd, "f", got, 5, 7, &err), STN_CORRUPT);
    ck_assert_str_eq(err.text, "f: ends at byte 11, expected 12");
    ck_assert_int_eq(stn_file_truncate(fd, "f", 5, &err), STN_OK);
    ck_assert_int_eq(stn_file_reserve(fd, "f", 100, &err), STN_OK);
    stn_file_close(fd);
    ck_assert_int_eq(stn_file_size(in_folder("f"), &size, &err), STN_OK);
    ck_assert_uint_eq(size, 100);
    ck_assert_int_eq(stn_file_open(&fd, in_folder("f"), STN_FILE_NEW, STN_FILE_MODE, &err),
                     STN_EXISTS);
    ck_assert_int_eq(stn_file_open(&fd, in_folder("l"), STN_FILE_APPEND, STN_FILE_MODE, &err),
                     STN_OK);
    ck_assert_int_eq(stn_file_append(fd, "l", "a\n", 2, &err), STN_OK);
    ck_assert_int_eq(stn_file_append(fd, "l", "b\n", 2, &err), STN_OK);
    stn_file_close(fd);
    ck_assert_str_eq(content("l"), "a\nb\n");
}
END_TEST

START_TEST(a_map_shows_the_file_and_an_empty_file_has_an_empty_map)
{
    struct stn_file_map map = {0};
    ck_assert_int_eq(stn_file_replace(in_folder("m"), "mapped", 6, STN_FILE_MODE, &err), STN_OK);
    ck_assert_int_eq(stn_file_map(&map, in_folder("m"), STN_FILE_USE_RANDOM, &err), STN_OK);
    ck_assert_uint_eq(map.size, 6);
    ck_assert_mem_eq(map.data, "mapped", 6);
    /* a replacement does not change what is mapped */
    ck_assert_int_eq(stn_file_replace(in_folder("m"), "other", 5, STN_FILE_MODE, &err), STN_OK);
    ck_assert_mem_eq(map.data, "mapped", 6);
    stn_file_unmap(&map);
    stn_file_unmap(&map);
    ck_assert_int_eq(stn_file_replace(in_folder("m"), "", 0, STN_FILE_MODE, &err), STN_OK);
    ck_assert_int_eq(stn_file_map(&map, in_folder("m"), STN_FILE_USE_ALL, &err), STN_OK);
    ck_assert(map.size == 0 && map.data == NULL);
    ck_assert_int_eq(stn_file_map(&map, folder, STN_FILE_USE_ALL, &err), STN_INVALID);
    ck_assert_int_eq(stn_file_map(&map, in_folder("none"), STN_FILE_USE_ALL, &err), STN_NOT_FOUND);
}
END_TEST

START_TEST(folders_are_made_listed_in_order_and_removed_without_following_links)
{
    ck_assert_int_eq(stn_file_make_folder(in_folder("b/c//d/"), 0700, &err), STN_OK);
    ck_assert_int_eq(stn_file_make_folder(in_folder("b/c"), 0700, &err), STN_OK);
    ck_assert_int_eq(stn_file_replace(in_folder("b/f"), "x", 1, STN_FILE_MODE, &err), STN_OK);
    ck_assert_int_eq(stn_file_replace(in_folder("kept"), "x", 1, STN_FILE_MODE, &err), STN_OK);
    ck_assert_int_eq(symlink("../kept", in_folder("b/link")), 0);
    ck_assert_int_eq(symlink("..", in_folder("b/up")), 0);
    ck_assert_int_eq(stn_file_make_folder(in_folder("kept"), 0700, &err), STN_EXISTS);
    ck_assert_int_ne(stn_file_make_folder(in_folder("kept/below"), 0700, &err), STN_OK);
    ck_assert_int_eq(stn_file_rename(in_folder("b/f"), in_folder("a"), &err), STN_OK);
    ck_assert_str_eq(names(), "a b kept ");
    ck_assert_int_ne(stn_file_remove(in_folder("b"), &err), STN_OK);
    ck_assert_int_eq(stn_file_remove_tree(in_folder("b"), &err), STN_OK);
    ck_assert_int_eq(stn_file_remove(in_folder("a"), &err), STN_OK);
    ck_assert_str_eq(names(), "kept ");
    ck_assert_int_eq(stn_file_remove_tree(in_folder("b"), &err), STN_NOT_FOUND);
}
END_TEST

START_TEST(a_folder_of_many_names_is_listed_whole)
{
    enum { MANY = 500 };
    char name[64], *end = NULL;
    for (int i = MANY; i-- > 0;) {
        (void)snprintf(name, sizeof name, "%03d-and-a-name-that-takes-more-room-than-most", i);
        ck_assert_int_eq(stn_file_make_folder(in_folder(name), 0700, &err), STN_OK);
    }
    const char *listed = names();
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(strtol(listed, &end, 10), i);
        listed = strchr(end, ' ') + 1;
    }
    ck_assert_str_eq(listed, "");
}
END_TEST

START_TEST(a_path_that_is_too_long_is_a_limit)
{
    static char name[5000];
    char joined[STN_FILE_PATH_MAX];
    struct stn_file_draft draft;
    int fd;
    memset(name, 'n', sizeof name - 1);
    ck_assert_int_eq(stn_file_join(joined, folder, name, &err), STN_LIMIT);
    ck_assert_int_eq(stn_file_open(&fd, name, STN_FILE_READ, 0, &err), STN_LIMIT);
    ck_assert_int_eq(stn_file_draft(&draft, name, 0, &err), STN_LIMIT);
    stn_file_draft_drop(&draft);
    ck_assert_int_eq(stn_file_make_folder(name, 0700, &err), STN_LIMIT);
    ck_assert_int_eq(stn_file_rename(name, name, &err), STN_LIMIT);
}
END_TEST

START_TEST(a_folder_belongs_to_one_process_until_it_ends)
{
    int fd = -1, other = -1, status = 0;
    ck_assert_int_eq(stn_file_lock(&fd, in_folder("lock"), &err), STN_OK);
    ck_assert_int_eq(stn_file_lock(&other, in_folder("lock"), &err), STN_EXISTS);
    char expected[64];
    (void)snprintf(expected, sizeof expected, "in use by process %ld", (long)getpid());
    ck_assert_ptr_nonnull(strstr(err.text, expected));
    stn_file_close(fd);
    pid_t child = fork();
    if (child == 0) {
        _exit(stn_file_lock(&fd, in_folder("lock"), NULL) == STN_OK ? 0 : 1); /* dies holding it */
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(stn_file_lock(&fd, in_folder("lock"), &err), STN_OK);
    stn_file_close(fd);
}
END_TEST

START_TEST(no_memory_is_an_error)
{
    struct stn_buf buf = {0};
    ck_assert_int_eq(stn_file_replace(in_folder("f"), "x", 1, STN_FILE_MODE, &err), STN_OK);
    stn_mem_fail_from(1);
    ck_assert_int_eq(stn_file_read(in_folder("f"), 100, &buf, &err), STN_MEMORY);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_MEMORY);
    stn_mem_fail_from(0);
}
END_TEST

START_TEST(a_full_disk_is_full_and_leaves_nothing_behind)
{
    ck_assert_int_eq(stn_file_make_folder(in_folder("small"), 0700, &err), STN_OK);
    if (mount("tmpfs", in_folder("small"), "tmpfs", 0, "size=256k") != 0) {
        (void)printf("skipped: a full disk: no small file system can be mounted here: %s\n",
                     strerror(errno));
        return;
    }
    static char big[1 << 20];
    int fd = -1;
    uint64_t size = 0, room = 0;
    char small[STN_FILE_PATH_MAX];
    ck_assert_int_eq(stn_file_join(small, folder, "small", &err), STN_OK);
    enum stn_code kept = stn_file_replace(in_folder("small/f"), "old", 3, STN_FILE_MODE, &err);
    enum stn_code replaced =
        stn_file_replace(in_folder("small/f"), big, sizeof big, STN_FILE_MODE, &err);
    char text[sizeof err.text];
    memcpy(text, err.text, sizeof text);
    enum stn_code space = stn_file_free_space(small, &room, &err);
    enum stn_code opened =
        stn_file_open(&fd, in_folder("small/log"), STN_FILE_APPEND, STN_FILE_MODE, &err);
    enum stn_code first = stn_file_append(fd, "log", big, 1000, &err);
    enum stn_code second = stn_file_append(fd, "log", big, sizeof big, &err);
    enum stn_code sized = stn_file_size(in_folder("small/log"), &size, &err);
    enum stn_code reserved = stn_file_reserve(fd, "log", 1 << 20, &err);
    stn_file_close(fd);
    struct stn_buf left = {0};
    enum stn_code listed = stn_file_list(small, append_name, &left, &err);
    int unmounted = umount(small);
    ck_assert_int_eq(kept, STN_OK);
    ck_assert_int_eq(replaced, STN_FULL);
    ck_assert_ptr_nonnull(strstr(text, "small/f"));
    ck_assert(space == STN_OK && room > 200000 && room < 256 * 1024);
    ck_assert(opened == STN_OK && first == STN_OK);
    ck_assert_int_eq(second, STN_FULL);
    ck_assert_int_eq(sized, STN_OK);
    ck_assert_uint_eq(size, 1000); /* the half record was cut off */
    ck_assert_int_eq(reserved, STN_FULL);
    ck_assert_int_eq(listed, STN_OK);
    ck_assert_int_eq(left.size, 6);
    ck_assert_mem_eq(left.data, "f log ", 6);
    ck_assert_int_eq(unmounted, 0);
    stn_buf_fini(&left);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("file");
    TCase *c = tcase_create("file");
    tcase_add_checked_fixture(c, make_folder, remove_folder);
    tcase_add_test(c, a_file_is_replaced_whole_and_keeps_to_its_mode);
    tcase_add_test(c, a_copy_has_the_bytes_and_its_own_mode);
    tcase_add_test(c, a_replacement_that_fails_leaves_the_old_file_and_nothing_else);
    tcase_add_test(c, a_draft_appears_when_it_is_kept_and_vanishes_when_it_is_dropped);
    tcase_add_test(c, a_file_longer_than_the_limit_is_refused_and_one_just_as_long_is_read);
    tcase_add_test(c, bytes_are_where_they_were_written);
    tcase_add_test(c, a_map_shows_the_file_and_an_empty_file_has_an_empty_map);
    tcase_add_test(c, folders_are_made_listed_in_order_and_removed_without_following_links);
    tcase_add_test(c, a_folder_of_many_names_is_listed_whole);
    tcase_add_test(c, a_path_that_is_too_long_is_a_limit);
    tcase_add_test(c, a_folder_belongs_to_one_process_until_it_ends);
    tcase_add_test(c, no_memory_is_an_error);
    tcase_add_test(c, a_full_disk_is_full_and_leaves_nothing_behind);
    suite_add_tcase(s, c);
    return s;
}
