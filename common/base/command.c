#include "base/command.h"

#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define N_OPTIONS 64
#define EXIT_USAGE 2
#define HELP_COLUMN 34

static volatile sig_atomic_t n_signals;

static void on_signal(int number)
{
    if (n_signals++ > 0) {
        (void)signal(number, SIG_DFL);
        (void)raise(number);
    }
}

bool stn_command_stopping(void)
{
    return n_signals > 0;
}

static const char *value_of(const struct stn_option *option)
{
    return option->type == STN_OPTION_SWITCH ? "on|off" : option->value == NULL ? "VALUE" : option->value;
}

/* What an option says begins in one column, on a line of its own where the option reaches into it. */
static void print_row(const char *left, const char *help, bool required)
{
    (void)printf("  %-*s", HELP_COLUMN, left);
    if (strlen(left) > HELP_COLUMN) {
        (void)printf("\n  %-*s", HELP_COLUMN, "");
    }
    (void)printf(" %s%s\n", help, required ? " (required)" : "");
}

static void print_help(const char *program, const struct stn_command *command)
{
    (void)printf("Usage: %s %s [options]%s%s\n\n%s\n\nOptions:\n", program, command->name,
                 command->args[0] == '\0' ? "" : " ", command->args, command->summary);
    for (const struct stn_option *o = command->options; o != NULL && o->name != NULL; o++) {
        char left[96], letter[8] = "    ";
        if (o->letter != 0) {
            (void)snprintf(letter, sizeof letter, "-%c, ", o->letter);
        }
        bool flag = o->type == STN_OPTION_FLAG;
        (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, flag ? "" : " ",
                       flag ? "" : value_of(o));
        print_row(left, o->help, o->required);
    }
    print_row("    --json", "print one JSON object and nothing else", false);
    print_row("-h, --help", "print this", false);
    (void)printf("\nExample:\n  %s\n", command->example);
}

static bool is_in(const struct stn_command *command, const char *group)
{
    size_t n = strlen(group);
    return n == 0 || (strncmp(command->name, group, n) == 0 && (command->name[n] == ' ' || command->name[n] == '\0'));
}

static void print_list(const char *program, const char *summary, const struct stn_command *commands,
                       const char *group, FILE *out)
{
    const bool is_all = group[0] == '\0';
    for (const struct stn_command *c = commands; c->name != NULL && !is_all; c++) {
        summary = c->run == NULL && strcmp(c->name, group) == 0 ? c->summary : summary;
    }
    (void)fprintf(out, "Usage: %s %s%sCOMMAND [options]\n\n%s\n", program, group, is_all ? "" : " ", summary);
    if (!is_all || commands->run != NULL) {
        (void)fprintf(out, "\nCommands:\n");
    }
    for (const struct stn_command *c = commands; c->name != NULL; c++) {
        if (c->run != NULL && is_in(c, group)) {
            (void)fprintf(out, "  %-18s %s\n", c->name, c->summary);
        } else if (c->run == NULL && c->name[0] == '\0' && is_all) {
            (void)fprintf(out, "\n%s:\n", c->summary);
        }
    }
    (void)fprintf(out, "\n%s COMMAND --help says more about one; %s --version prints the version.\n",
                  program, program);
}

/* The longest name that the first one or two words make; *ret_words of argv are used up. */
static const struct stn_command *find(const struct stn_command *commands, int argc, char **argv,
                                      int *ret_words)
{
    for (int words = 2; words >= 1; words--) {
        char name[64];
        if (argc < words ||
            (size_t)snprintf(name, sizeof name, "%s%s%s", argv[0], words == 2 ? " " : "",
                             words == 2 ? argv[1] : "") >= sizeof name) {
            continue;
        }
        for (const struct stn_command *c = commands; c->name != NULL; c++) {
            if (c->run != NULL && strcmp(c->name, name) == 0) {
                *ret_words = words;
                return c;
            }
        }
    }
    return NULL;
}

static bool is_group(const struct stn_command *commands, const char *word)
{
    size_t n = strlen(word);
    for (const struct stn_command *c = commands; c->name != NULL; c++) {
        if (strncmp(c->name, word, n) == 0 && c->name[n] == ' ') {
            return true;
        }
    }
    return false;
}

static bool in_range(const struct stn_option *o, double v)
{
    return (o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max);
}

static bool take(const struct stn_option *o, void *options, const char *value)
{
    char *at = (char *)options + o->offset;
    uint64_t u;
    double f;
    switch (o->type) {
    case STN_OPTION_FLAG:
        *(bool *)(void *)at = true;
        return true;
    case STN_OPTION_STR:
        memcpy(at, &value, sizeof value);
        return true;
    case STN_OPTION_SWITCH:
        return stn_str_bool(value, (bool *)(void *)at);
    case STN_OPTION_F64:
        if (!stn_str_f64(value, &f) || !in_range(o, f)) {
            return false;
        }
        memcpy(at, &f, sizeof f);
        return true;
    case STN_OPTION_WORD:
        for (int i = 0; o->words[i] != NULL; i++) {
            if (strcmp(o->words[i], value) == 0) {
                memcpy(at, &i, sizeof i);
                return true;
            }
        }
        return false;
    case STN_OPTION_U64:
    case STN_OPTION_SIZE:
        if (!(o->type == STN_OPTION_U64 ? stn_str_u64 : stn_str_size)(value, &u) ||
            !in_range(o, (double)u)) {
            return false;
        }
        memcpy(at, &u, sizeof u);
        return true;
    }
    return false;
}

static void explain(const struct stn_option *o, const char *value)
{
    (void)fprintf(stderr, "error: --%s is \"%s\", expected ", o->name, value);
    if (o->type == STN_OPTION_WORD) {
        for (int i = 0; o->words[i] != NULL; i++) {
            (void)fprintf(stderr, "%s%s", i == 0 ? "" : "|", o->words[i]);
        }
    } else if (o->min != 0 || o->max != 0) {
        (void)fprintf(stderr, "a number from %.12g to %.12g", o->min, o->max);
    } else {
        static const char *const kinds[] = {[STN_OPTION_U64] = "a whole number", [STN_OPTION_F64] = "a number",
                                            [STN_OPTION_SIZE] = "a size as 512M or 1.5G", [STN_OPTION_SWITCH] = "on or off"};
        (void)fprintf(stderr, "%s", kinds[o->type]);
    }
    (void)fprintf(stderr, "\n");
}

struct parsing {
    struct option longs[N_OPTIONS + 3];
    char letters[2 * N_OPTIONS + 4];
    bool seen[N_OPTIONS];
    size_t n;
};

/* getopt's tables from ours: option i is value 256 + i, --json 'J', --help 'h'. */
static void prepare(struct parsing *p, const struct stn_command *command)
{
    char *letters = p->letters;
    *letters++ = ':';
    for (const struct stn_option *o = command->options; o != NULL && o->name != NULL; o++) {
        bool flag = o->type == STN_OPTION_FLAG;
        p->longs[p->n] = (struct option){o->name, flag ? no_argument : required_argument, NULL,
                                         256 + (int)p->n};
        if (o->letter != 0) {
            *letters++ = o->letter;
            if (!flag) {
                *letters++ = ':';
            }
        }
        p->n++;
    }
    *letters++ = 'h';
    p->longs[p->n] = (struct option){"json", no_argument, NULL, 'J'};
    p->longs[p->n + 1] = (struct option){"help", no_argument, NULL, 'h'};
}

static int index_of(const struct stn_command *command, int c)
{
    if (c >= 256) {
        return c - 256;
    }
    for (int i = 0; command->options != NULL && command->options[i].name != NULL; i++) {
        if (command->options[i].letter == c) {
            return i;
        }
    }
    return -1;
}

/* 0: go on; else an exit code, after a message, -1 for help. */
static int parse(const char *program, const struct stn_command *command, void *options,
                 struct stn_command_line *line, int argc, char **argv)
{
    struct parsing p = {0};
    prepare(&p, command);
    optind = 0; /* glibc's way to start afresh */
    for (int c; (c = getopt_long(argc, argv, p.letters, p.longs, NULL)) != -1;) {
        if (c == 'J') {
            line->json = true;
            continue;
        }
        if (c == ':' || c == '?') {
            (void)fprintf(stderr, c == ':' ? "error: %s needs a value\n" : "error: no option is called %s\n",
                          argv[optind - 1]);
            return EXIT_USAGE;
        }
        int i = index_of(command, c);
        if (i < 0) {
            print_help(program, command);
            return -1;
        }
        p.seen[i] = true;
        if (!take(&command->options[i], options, optarg)) {
            explain(&command->options[i], optarg);
            return EXIT_USAGE;
        }
    }
    for (size_t i = 0; i < p.n; i++) {
        if (command->options[i].required && !p.seen[i]) {
            (void)fprintf(stderr, "error: --%s is needed\n", command->options[i].name);
            return EXIT_USAGE;
        }
    }
    line->n_args = argc - optind;
    line->args = argv + optind;
    if (line->n_args < command->min_args || line->n_args > command->max_args) {
        if (line->n_args < command->min_args) {
            (void)fprintf(stderr, "error: %s is missing (%s %s --help)\n", command->args, program, command->name);
        } else {
            (void)fprintf(stderr, "error: unexpected argument \"%s\" (%s %s --help)\n", line->args[command->max_args], program,
                          command->name);
        }
        return EXIT_USAGE;
    }
    return 0;
}

static int run(const char *program, const struct stn_command *command, int argc, char **argv)
{
    struct stn_command_line line = {.program = program};
    void *options = stn_mem_new(1, command->size + 1);
    if (options == NULL) {
        (void)fprintf(stderr, "error: no memory\n");
        return EXIT_FAILURE;
    }
    if (command->defaults != NULL) {
        memcpy(options, command->defaults, command->size);
    }
    struct stn_err err = {0};
    int exit_code = parse(program, command, options, &line, argc, argv);
    if (exit_code == 0 && command->check != NULL && command->check(options, &line, &err) != STN_OK) {
        (void)fprintf(stderr, "error: %s\n", err.text);
        exit_code = EXIT_USAGE;
    }
    if (exit_code == 0) {
        struct sigaction action = {.sa_handler = on_signal};
        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
        (void)signal(SIGPIPE, SIG_IGN);
        if (command->run(options, &line, &err) != STN_OK) {
            (void)fflush(stdout);
            (void)fprintf(stderr, "error: %s\n", err.text);
            exit_code = EXIT_FAILURE;
        } else if (fflush(stdout) != 0 || ferror(stdout)) {
            (void)fprintf(stderr, "error: the output cannot be written\n");
            exit_code = EXIT_FAILURE;
        }
    }
    stn_mem_free(options);
    return exit_code < 0 ? EXIT_SUCCESS : exit_code;
}

/* word is no command, in a group or in none; NULL: the group stands alone. */
static int unknown(const char *program, const char *group, const char *word)
{
    const char *blank = group == NULL ? "" : " ", *in = group == NULL ? "" : group;
    if (word == NULL) {
        (void)fprintf(stderr, "error: %s %s what? (%s %s --help lists its commands)\n", program, in, program, in);
    } else {
        (void)fprintf(stderr, "error: %s%s%s has no command %s (%s%s%s --help lists them)\n", program, blank, in, word,
                      program, blank, in);
    }
    return EXIT_USAGE;
}

/* "help train", "help model info", "help model". */
static int help(const char *program, const char *summary, const struct stn_command *commands, int argc, char **argv)
{
    int words = 0;
    const struct stn_command *command = find(commands, argc, argv, &words);
    if (command != NULL) {
        print_help(program, command);
    } else if (is_group(commands, argv[0])) {
        print_list(program, summary, commands, argv[0], stdout);
    } else {
        return unknown(program, NULL, argv[0]);
    }
    return EXIT_SUCCESS;
}

int stn_command_main(const char *program, const char *summary, const struct stn_command *commands,
                     int argc, char **argv)
{
    const char *word = argc < 2 ? "--help" : argv[1];
    if (strcmp(word, "--version") == 0) {
        (void)printf("%s %s\n", program, STN_VERSION);
        return EXIT_SUCCESS;
    }
    int words = 0;
    if (argc > 2 && strcmp(word, "help") == 0) {
        return help(program, summary, commands, argc - 2, argv + 2);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_list(program, summary, commands, "", argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_USAGE : EXIT_SUCCESS;
    }
    const struct stn_command *command = find(commands, argc - 1, argv + 1, &words);
    if (command != NULL) {
        return run(program, command, argc - words, argv + words);
    }
    bool group = is_group(commands, word);
    if (group && argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
        print_list(program, summary, commands, word, stdout);
        return EXIT_SUCCESS;
    }
    return unknown(program, group ? word : NULL, !group ? word : argc > 2 ? argv[2] : NULL);
}
