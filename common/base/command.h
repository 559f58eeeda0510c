/* command: a program's command line by tables: one row a subcommand, one row an option. Gives --help with an
 * example, exit codes (0 done, 1 failed with one "error: ..." line on stderr, 2 wrong usage), and Ctrl-C as a flag
 * that long work polls. Thread: the main one, but for stn_command_stopping. */
#ifndef STN_BASE_COMMAND_H
#define STN_BASE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum stn_option_type {
    STN_OPTION_FLAG, /* bool, no value: present is true */
    STN_OPTION_STR,  /* const char *, borrowed from argv */
    STN_OPTION_U64,  /* uint64_t in [min, max] */
    STN_OPTION_F64,  /* double in [min, max] */
    STN_OPTION_SIZE, /* uint64_t bytes: 512M, 1.5G */
    STN_OPTION_WORD, /* int: the index of the value in words */
    STN_OPTION_SWITCH /* bool: on or off */
};

struct stn_option {
    const char *name;   /* the long one, without dashes */
    char letter;        /* the short one, or 0 */
    enum stn_option_type type;
    size_t offset;      /* where in the command's options struct */
    const char *value;  /* what the help calls its value: "MODEL" */
    const char *help;   /* one line, with the default */
    double min, max;    /* of numbers; both 0: any */
    const char *const *words; /* of a WORD, ended by NULL */
    bool required;
};

/* What a run gets besides its options. */
struct stn_command_line {
    const char *program;
    bool json;      /* --json: one JSON object on stdout and nothing else there */
    int n_args;     /* what is left behind the options */
    char **args;
};

struct stn_command {
    const char *name;    /* "train", or "model info": a group and a member */
    const char *args;    /* what stands behind the options: "MODEL", "" */
    int min_args, max_args;
    const char *summary; /* one line */
    const char *example; /* a whole command line that works */
    const struct stn_option *options; /* ended by a row whose name is NULL; NULL: none */
    const void *defaults; /* the options struct before parsing; copied */
    size_t size;          /* of it */
    /* NULL, or what no row can say: options and arguments that do not go together. An error is wrong usage. */
    enum stn_code (*check)(const void *options, const struct stn_command_line *line, struct stn_err *err);
    enum stn_code (*run)(const void *options, const struct stn_command_line *line, struct stn_err *err);
};

/* Rows that are no command: what stands above those which follow in the list of all, and what a group is. */
#define STN_COMMAND_HEADING(text) {.name = "", .summary = (text)}
#define STN_COMMAND_GROUP(group, text) {.name = (group), .summary = (text)}

/* The whole of main: finds the subcommand, parses, runs, prints errors. commands end with a row whose name is NULL.
 * "help train" is "train --help". Returns the exit code. */
int stn_command_main(const char *program, const char *summary, const struct stn_command *commands,
                     int argc, char **argv);

/* True once SIGINT or SIGTERM has come: stop cleanly and keep what was done. A second signal ends the process.
 * Any thread. */
bool stn_command_stopping(void);

#endif
