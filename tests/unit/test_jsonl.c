#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "compute/train/jsonl.h"

static struct stn_arena arena;
static struct stn_jsonl_record record;
static struct stn_err err;

static enum stn_code parse(const char *line)
{
    stn_arena_fini(&arena);
    record = (struct stn_jsonl_record){0};
    err = (struct stn_err){0};
    return stn_jsonl_parse(&record, &arena, line, strlen(line), &err);
}

START_TEST(the_three_kinds_are_told_apart_by_their_keys)
{
    ck_assert_int_eq(parse("{\"prompt\": \"a\", \"completion\": \"b\"}"), STN_OK);
    ck_assert_int_eq(record.kind, STN_JSONL_PAIR);
    ck_assert_str_eq(record.prompt, "a");
    ck_assert_str_eq(record.completion, "b");
    ck_assert_int_eq(parse("{\"text\": \"t\\u00e9\"}"), STN_OK);
    ck_assert_int_eq(record.kind, STN_JSONL_TEXT);
    ck_assert_str_eq(record.text, "t\xc3\xa9");
    ck_assert_int_eq(parse("{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"},"
                           " {\"role\": \"assistant\", \"content\": \"ho\", \"weight\": 1}]}"), STN_OK);
    ck_assert_int_eq(record.kind, STN_JSONL_MESSAGES);
    ck_assert_uint_eq(record.n_messages, 2);
    ck_assert_str_eq(record.messages[1].content, "ho");
}
END_TEST

START_TEST(other_keys_are_kept_when_they_are_small)
{
    char line[1024], value[300];
    memset(value, 'x', sizeof value);
    (void)snprintf(line, sizeof line, "{\"text\": \"t\", \"home\": \"h-1\", \"n\": 7, \"f\": 0.5, \"b\": true,"
                                      " \"l\": [1], \"o\": {}, \"z\": null, \"long\": \"%.*s\"}", 257, value);
    ck_assert_int_eq(parse(line), STN_OK);
    ck_assert_uint_eq(record.n_fields, 4);
    ck_assert_uint_eq(record.n_fields_left_out, 4);
    ck_assert_str_eq(record.fields[0].name, "home");
    ck_assert_str_eq(record.fields[0].value, "h-1");
    ck_assert_str_eq(record.fields[1].value, "7");
    ck_assert_str_eq(record.fields[2].value, "0.5");
    ck_assert_str_eq(record.fields[3].value, "true");
}
END_TEST

START_TEST(a_broken_line_says_what_was_expected)
{
    static const struct {
        const char *line, *says;
    } rows[] = {
        {"", "expected one JSON object"},
        {"{\"text\": \"t\"", "expected one JSON object"},
        {"{\"text\": \"t\"} {}", "expected one JSON object"},
        {"{\"text\": \"t\", \"text\": \"u\"}", "expected one JSON object"},
        {"{\"text\": \"\\u0000\"}", "expected one JSON object"},
        {"[1]", "an array, expected an object"},
        {"{}", "none of the known keys, expected"},
        {"{\"text\": 5}", "\"text\" is a number, expected a string"},
        {"{\"prompt\": \"a\"}", "\"completion\" is missing, expected a string"},
        {"{\"prompt\": \"a\", \"completion\": null}", "\"completion\" is null, expected a string"},
        {"{\"prompt\": \"a\", \"completion\": \"b\", \"text\": \"c\"}", "keys of more than one kind"},
        {"{\"messages\": []}", "\"messages\" is empty"},
        {"{\"messages\": {}}", "\"messages\" is an object"},
        {"{\"messages\": [5]}", "message 1 is a number"},
        {"{\"messages\": [{\"role\": \"user\"}]}", "message 1: \"content\" is missing"},
        {"{\"messages\": [{\"role\": \"robot\", \"content\": \"\"}]}", "role \"robot\", expected system, user or assistant"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"\"}]}", "nothing to learn"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert_int_eq(parse(rows[i].line), STN_INVALID);
        ck_assert_msg(strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].line, err.text);
    }
}
END_TEST

START_TEST(text_that_is_no_utf_8_is_refused)
{
    static const char *const bad[] = {
        "{\"text\": \"\xff\"}",         "{\"text\": \"\xc0\x80\"}", "{\"text\": \"\xed\xa0\x80\"}",
        "{\"text\": \"\xf4\x90\x80\x80\"}", "{\"text\": \"\xe2\x82\"}", "{\"text\": \"\\ud800\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(parse(bad[i]), STN_INVALID);
    }
    ck_assert_int_eq(parse("{\"text\": \"\xf0\x9f\x8f\xa0\"}"), STN_OK);
}
END_TEST

static char path[] = "/tmp/jsonl-test-XXXXXX";

static void write_file(const char *p, size_t size)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, p, size), (ssize_t)size);
    (void)close(fd);
}

START_TEST(lines_come_with_their_numbers_and_blank_ones_count)
{
    static const char text[] = "\xef\xbb\xbf{\"a\":1}\r\n\n  \t\r\nsecond\nlast";
    struct stn_jsonl_file *file = NULL;
    const char *line;
    size_t size;
    uint64_t number;
    write_file(text, sizeof text - 1);
    ck_assert_int_eq(stn_jsonl_open(&file, path, &err), STN_OK);
    ck_assert_int_eq(stn_jsonl_next(file, &line, &size, &number, &err), STN_OK);
    ck_assert(number == 1 && size == 8 && memcmp(line, "{\"a\":1}\r", 8) == 0);
    ck_assert_int_eq(stn_jsonl_next(file, &line, &size, &number, &err), STN_OK);
    ck_assert(number == 4 && size == 6 && memcmp(line, "second", 6) == 0);
    ck_assert_int_eq(stn_jsonl_next(file, &line, &size, &number, &err), STN_OK);
    ck_assert(number == 5 && size == 4 && memcmp(line, "last", 4) == 0);
    ck_assert_int_eq(stn_jsonl_next(file, &line, &size, &number, &err), STN_OK);
    ck_assert_ptr_null(line);
    stn_jsonl_close(file);
    (void)unlink(path);
}
END_TEST

START_TEST(a_line_beyond_the_limit_is_refused_and_the_next_one_is_read)
{
    struct stn_buf text = {0};
    uint8_t *x = stn_buf_extend(&text, STN_JSONL_LINE_LIMIT + 1);
    ck_assert_ptr_nonnull(x);
    memset(x, 'x', STN_JSONL_LINE_LIMIT + 1);
    ck_assert(stn_buf_add_str(&text, "\nnext\n"));
    write_file((const char *)text.data, text.size);
    stn_buf_fini(&text);
    struct stn_jsonl_file *file = NULL;
    const char *line;
    size_t size;
    uint64_t number;
    ck_assert_int_eq(stn_jsonl_open(&file, path, &err), STN_OK);
    ck_assert_int_eq(stn_jsonl_next(file, &line, &size, &number, &err), STN_LIMIT);
    ck_assert_str_eq(err.text, "4194305 bytes, at most 4194304");
    ck_assert_int_eq(stn_jsonl_next(file, &line, &size, &number, &err), STN_OK);
    ck_assert(number == 2 && size == 4);
    stn_jsonl_close(file);
    (void)unlink(path);
}
END_TEST

START_TEST(a_missing_file_is_named)
{
    struct stn_jsonl_file *file = NULL;
    ck_assert_int_eq(stn_jsonl_open(&file, "/nowhere/data.jsonl", &err), STN_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "/nowhere/data.jsonl"));
}
END_TEST

START_TEST(a_folder_is_no_file_of_lines)
{
    struct stn_jsonl_file *file = NULL;
    const char *line;
    size_t size;
    uint64_t number;
    ck_assert_int_eq(stn_jsonl_open(&file, "/tmp", &err), STN_OK);
    ck_assert_int_eq(stn_jsonl_next(file, &line, &size, &number, &err), STN_IO);
    stn_jsonl_close(file);
}
END_TEST

static void clean(void)
{
    stn_arena_fini(&arena);
}

Suite *suite(void)
{
    Suite *s = suite_create("jsonl");
    TCase *t = tcase_create("jsonl");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, NULL, clean);
    tcase_add_test(t, the_three_kinds_are_told_apart_by_their_keys);
    tcase_add_test(t, other_keys_are_kept_when_they_are_small);
    tcase_add_test(t, a_broken_line_says_what_was_expected);
    tcase_add_test(t, text_that_is_no_utf_8_is_refused);
    tcase_add_test(t, lines_come_with_their_numbers_and_blank_ones_count);
    tcase_add_test(t, a_line_beyond_the_limit_is_refused_and_the_next_one_is_read);
    tcase_add_test(t, a_missing_file_is_named);
    tcase_add_test(t, a_folder_is_no_file_of_lines);
    return s;
}
