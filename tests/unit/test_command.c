#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/command.h"

struct options {
    const char *text;
    uint64_t count;
    bool loud;
    int word;
};

static const char *const words[] = {"one", "another-word", "and-a-third-word", NULL};

static const struct stn_option options[] = {
    {"text", 't', STN_OPTION_STR, offsetof(struct options, text), "TEXT", "what is said", .required = true},
    {"count", 'n', STN_OPTION_U64, offsetof(struct options, count), "N", "how often (1)", 1, 9},
    {"loud", 0, STN_OPTION_FLAG, offsetof(struct options, loud), NULL, "with a voice"},
    {"word", 0, STN_OPTION_WORD, offsetof(struct options, word), "one|another-word|and-a-third-word", "which (one)", .words = words},
    {0},
};
static const struct options defaults = {.count = 1};

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    (void)line;
    return o->loud && o->count > 1 ? stn_err_set(err, STN_INVALID, "--loud and --count: give one") : STN_OK;
}

static enum stn_code speak(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    if (strcmp(o->text, "fail") == 0) {
        return stn_err_set(err, STN_IO, "no voice");
    }
    (void)printf("%s %llu %d%s", o->text, (unsigned long long)o->count, line->n_args, line->json ? " json" : "");
    return STN_OK;
}

#define SPEAK(is_named, has_check)                                                                                    \
    {.name = is_named, .args = "WORD", .max_args = 1, .summary = "say it", .example = "voice " is_named " -t hello",      \
     .options = options, .defaults = &defaults, .size = sizeof(struct options), .check = has_check, .run = speak}

static const struct stn_command commands[] = {STN_COMMAND_GROUP("choir", "Many voices."),
                                             STN_COMMAND_HEADING("Alone"),
                                             SPEAK("speak", check),
                                             STN_COMMAND_HEADING("Together"),
                                             SPEAK("choir sing", NULL),
                                             SPEAK("choir hum", NULL),
                                             {0}};

static char says[2][8192]; /* stdout and stderr of the last run */

/* Runs a command line and returns its exit code. */
static int voice(const char *line)
{
    char copy[256], *argv[16] = {"voice"}, *rest = copy;
    int argc = 1, held[2] = {dup(1), dup(2)};
    FILE *files[2] = {tmpfile(), tmpfile()};
    (void)snprintf(copy, sizeof copy, "%s", line);
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        argv[argc++] = word;
    }
    (void)fflush(NULL);
    for (int i = 0; i < 2; i++) {
        ck_assert_ptr_nonnull(files[i]);
        ck_assert_int_eq(dup2(fileno(files[i]), i + 1), i + 1);
    }
    int code = stn_command_main("voice", "Say things.", commands, argc, argv);
    (void)fflush(NULL);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(dup2(held[i], i + 1), i + 1);
        (void)close(held[i]);
        rewind(files[i]);
        says[i][fread(says[i], 1, sizeof says[i] - 1, files[i])] = '\0';
        (void)fclose(files[i]);
    }
    return code;
}

/* A line, its exit code, and all of stdout and of stderr. */
static const struct {
    const char *line;
    int code;
    const char *out, *error;
} runs[] = {
    {"speak -t hello", 0, "hello 1 0", ""},
    {"speak --text hello -n 3 now --json", 0, "hello 3 1 json", ""},
    {"speak -t fail", 1, "", "error: no voice\n"},
    {"speak", 2, "", "error: --text is needed\n"},
    {"speak -t", 2, "", "error: -t needs a value\n"},
    {"speak --loude", 2, "", "error: no option is called --loude\n"},
    {"speak -t a -n 10", 2, "", "error: --count is \"10\", expected a number from 1 to 9\n"},
    {"speak -t a --word two", 2, "", "error: --word is \"two\", expected one|another-word|and-a-third-word\n"},
    {"speak -t a b c", 2, "", "error: unexpected argument \"c\" (voice speak --help)\n"},
    {"speak -t a --loud -n 2", 2, "", "error: --loud and --count: give one\n"},
    {"choir sing -t a --loud -n 2", 0, "a 2 0", ""},
    {"shout", 2, "", "error: voice has no command shout (voice --help lists them)\n"},
    {"choir", 2, "", "error: voice choir what? (voice choir --help lists its commands)\n"},
    {"choir shout", 2, "", "error: voice choir has no command shout (voice choir --help lists them)\n"},
    {"help shout", 2, "", "error: voice has no command shout (voice --help lists them)\n"},
    {"--version", 0, "voice " STN_VERSION "\n", ""},
};

START_TEST(says_it_in_one_line_and_with_its_exit_code)
{
    ck_assert_int_eq(voice(runs[_i].line), runs[_i].code);
    ck_assert_str_eq(says[0], runs[_i].out);
    ck_assert_str_eq(says[1], runs[_i].error);
}
END_TEST

static const char *const helps[] = {"speak --help", "speak -h", "help speak", "speak -t a --help"};

START_TEST(help_says_every_option_in_one_column_and_ends_with_an_example)
{
    ck_assert_int_eq(voice(helps[_i]), 0);
    ck_assert_str_eq(says[1], "");
    ck_assert_str_eq(says[0], "Usage: voice speak [options] WORD\n\nsay it\n\nOptions:\n"
                              "  -t, --text TEXT                    what is said (required)\n"
                              "  -n, --count N                      how often (1)\n"
                              "      --loud                         with a voice\n"
                              "      --word one|another-word|and-a-third-word\n"
                              "                                     which (one)\n"
                              "      --json                         print one JSON object and nothing else\n"
                              "  -h, --help                         print this\n"
                              "\nExample:\n  voice speak -t hello\n");
}
END_TEST

static const char *const lists[] = {"choir --help", "choir -h", "help choir"};

START_TEST(help_of_a_group_lists_its_commands_alone)
{
    ck_assert_int_eq(voice(lists[_i]), 0);
    ck_assert_str_eq(says[0], "Usage: voice choir COMMAND [options]\n\nMany voices.\n\nCommands:\n"
                              "  choir sing         say it\n  choir hum          say it\n"
                              "\nvoice COMMAND --help says more about one; voice --version prints the version.\n");
}
END_TEST

START_TEST(help_lists_all_commands_under_their_headings)
{
    ck_assert_int_eq(voice("--help"), 0);
    ck_assert_str_eq(says[0], "Usage: voice COMMAND [options]\n\nSay things.\n"
                              "\nAlone:\n  speak              say it\n"
                              "\nTogether:\n  choir sing         say it\n  choir hum          say it\n"
                              "\nvoice COMMAND --help says more about one; voice --version prints the version.\n");
}
END_TEST

START_TEST(no_command_at_all_is_wrong_usage_and_lists_them)
{
    ck_assert_int_eq(voice(""), 2);
    ck_assert_str_eq(says[0], "");
    ck_assert_ptr_nonnull(strstr(says[1], "\n  speak "));
}
END_TEST

#define N(table) ((int)(sizeof(table) / sizeof *(table)))

Suite *suite(void)
{
    Suite *s = suite_create("command");
    TCase *tc = tcase_create("command");
    tcase_add_loop_test(tc, says_it_in_one_line_and_with_its_exit_code, 0, N(runs));
    tcase_add_loop_test(tc, help_says_every_option_in_one_column_and_ends_with_an_example, 0, N(helps));
    tcase_add_loop_test(tc, help_of_a_group_lists_its_commands_alone, 0, N(lists));
    tcase_add_test(tc, help_lists_all_commands_under_their_headings);
    tcase_add_test(tc, no_command_at_all_is_wrong_usage_and_lists_them);
    suite_add_tcase(s, tc);
    return s;
}
