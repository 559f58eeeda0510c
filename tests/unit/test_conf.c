#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/conf.h"
#include "io/file.h"

struct settings {
    char name[16];
    uint64_t count;
    double rate;
    uint64_t memory;
    bool on;
    int kind;
    char tasks[200]; /* what each was told */
};

static const char *const kinds[] = {"cosine", "linear", NULL};

static enum stn_code each_task(void *to, const char *rest, const char *value, struct stn_err *err)
{
    struct settings *settings = to;
    size_t used = strlen(settings->tasks);
    if (strcmp(value, "bad") == 0) {
        return stn_err_set(err, STN_DENIED, "%s may not", rest);
    }
    (void)snprintf(settings->tasks + used, sizeof settings->tasks - used, "%s=%s;", rest, value);
    return STN_OK;
}

#define AT(member) .offset = offsetof(struct settings, member)
static const struct stn_conf_row rows[] = {
    {.section = "", .key = "name", .type = STN_CONF_STR, AT(name), .size = 16},
    {.section = "train",
     .key = "count",
     .type = STN_CONF_U64,
     AT(count),
     .min = 1,
     .max = 100,
     .required = true},
    {.section = "train", .key = "rate", .type = STN_CONF_F64, AT(rate), .min = 0, .max = 1},
    {.section = "train", .key = "memory", .type = STN_CONF_SIZE, AT(memory)},
    {.section = "train", .key = "on", .type = STN_CONF_BOOL, AT(on)},
    {.section = "train", .key = "kind", .type = STN_CONF_WORD, AT(kind), .words = kinds},
    {.section = "data", .key = "task.", .type = STN_CONF_EACH, .each = each_task},
    {.key = NULL},
};

static struct settings settings;
static struct stn_err err;

static enum stn_code parse(const char *text)
{
    settings = (struct settings){.name = "default", .rate = 0.5, .kind = 1};
    return stn_conf_parse(&settings, rows, "a.ini", text, strlen(text), &err);
}

START_TEST(every_type_is_read_and_what_is_not_named_is_kept)
{
    ck_assert_msg(
        parse("# a comment\n; another\nname = home \xc3\xa9\n\n[train]\ncount=7\r\nmemory = 1.5G ; "
              "a lot\n"
              "on: yes\nkind = cosine\n  # indented\n[data]\ntask.mail = /a b\ntask.chat = c;d") ==
            STN_OK,
        "%s", err.text);
    ck_assert_str_eq(settings.name, "home \xc3\xa9");
    ck_assert_uint_eq(settings.count, 7);
    ck_assert(settings.rate > 0.49 && settings.rate < 0.51);
    ck_assert_uint_eq(settings.memory, 3u << 29);
    ck_assert(settings.on && settings.kind == 0);
    ck_assert_str_eq(settings.tasks, "mail=/a b;chat=c;d;");
}
END_TEST

static const struct {
    const char *text, *error;
} wrong[] = {
    {"", "a.ini: count in [train] is missing"},
    {"[train]\ncount = 101",
     "a.ini line 2: count is \"101\", expected a whole number from 1 to 100"},
    {"[train]\ncount = -1", "a.ini line 2: count is \"-1\", expected a whole number from 1 to 100"},
    {"[train]\ncount = 1\nrate = nan",
     "a.ini line 3: rate is \"nan\", expected a number from 0 to 1"},
    {"[train]\nkind = round", "a.ini line 2: kind is \"round\", expected one of cosine, linear"},
    {"[train]\non = maybe", "a.ini line 2: on is \"maybe\", expected yes or no"},
    {"[train]\nmemory = 1X",
     "a.ini line 2: memory is \"1X\", expected a size such as 512M or 1.5G"},
    {"name = 0123456789abcdef",
     "a.ini line 1: name is \"0123456789abcdef\", expected a shorter text"},
    {"count = 1", "a.ini line 1: no setting is called count"},
    {"[train]\nname = a", "a.ini line 2: no setting is called train.name"},
    {"[train]\ncount = 1\n\ncount = 2", "a.ini line 4: train.count is set a second time"},
    {"[train]\ncount = 1\n  2", "a.ini line 3: begins with a blank"},
    {"[train\ncount = 1", "a.ini line 1: expected [section] or key = value"},
    /* the first mistake is told, not the last */
    {"nonsense\nfoo = 1", "a.ini line 1: expected [section] or key = value"},
    {"foo = 1\nnonsense", "a.ini line 1: no setting is called foo"},
    {"[data]\ntask.x = bad", "a.ini line 2: x may not"},
    {"\xff", "a.ini: not a text in UTF-8"},
    {"[a section whose name is longer than what the library keeps of it]\ncount = 1", NULL},
};

START_TEST(each_mistake_is_one_error_with_its_line)
{
    ck_assert_int_ne(parse(wrong[_i].text), STN_OK);
    if (wrong[_i].error != NULL) {
        ck_assert_str_eq(err.text, wrong[_i].error);
    }
    ck_assert_int_ne(
        stn_conf_parse(&settings, rows, "a.ini", wrong[_i].text, strlen(wrong[_i].text), NULL),
        STN_OK);
}
END_TEST

START_TEST(a_zero_byte_is_refused)
{
    ck_assert_int_eq(stn_conf_parse(&settings, rows, "a.ini", "name = a\0b", 10, &err),
                     STN_INVALID);
}
END_TEST

START_TEST(a_long_line_is_read_whole_or_refused_never_cut)
{
    static char text[STN_CONF_LINE_MAX + 100];
    struct settings s = {0};
    static char before[sizeof s.tasks];
    /* as long as a path may be: all of it, or an error that says where */
    (void)snprintf(text, sizeof text, "[train]\ncount = 1\n[data]\ntask.a = ");
    size_t used = strlen(text);
    memset(text + used, 'p', 180);
    enum stn_code code = stn_conf_parse(&s, rows, "a.ini", text, used + 180, &err);
    ck_assert_msg(code == STN_OK, "%s", err.text);
    ck_assert_uint_eq(strlen(s.tasks), 183);
    memset(text + used, 'p', sizeof text - used);
    memcpy(before, s.tasks, sizeof before);
    ck_assert_int_eq(stn_conf_parse(&s, rows, "a.ini", text, sizeof text, &err), STN_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, "a.ini line 4: "));
    ck_assert_str_eq(s.tasks, before);
    code = stn_conf_parse(&s, rows, "a.ini", text, used + 4000, &err);
    ck_assert(code == STN_OK || code == STN_LIMIT); /* as the library was built */
}
END_TEST

START_TEST(a_file_is_read_by_its_path)
{
    char folder[] = "/tmp/sterna-test-XXXXXX", path[STN_FILE_PATH_MAX];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(stn_file_join(path, folder, "a.ini", &err), STN_OK);
    ck_assert_int_eq(stn_conf_read(&settings, rows, path, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_file_replace(path, "[train]\ncount = 9\n", 18, STN_FILE_MODE, &err),
                     STN_OK);
    ck_assert_msg(stn_conf_read(&settings, rows, path, &err) == STN_OK, "%s", err.text);
    ck_assert_uint_eq(settings.count, 9);
    ck_assert_int_eq(truncate(path, (off_t)STN_CONF_FILE_MAX + 1), 0);
    ck_assert_int_eq(stn_conf_read(&settings, rows, path, &err), STN_LIMIT);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("conf");
    TCase *c = tcase_create("conf");
    tcase_add_test(c, every_type_is_read_and_what_is_not_named_is_kept);
    tcase_add_loop_test(c, each_mistake_is_one_error_with_its_line, 0,
                        sizeof wrong / sizeof *wrong);
    tcase_add_test(c, a_zero_byte_is_refused);
    tcase_add_test(c, a_long_line_is_read_whole_or_refused_never_cut);
    tcase_add_test(c, a_file_is_read_by_its_path);
    suite_add_tcase(s, c);
    return s;
}
