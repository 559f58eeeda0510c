/* bench_sternad: a coordinator and its directory as processes of their own, made and started as an operator does it, that
 * listen on a free port of loopback. They end with this process. Thread: the main one. */
#ifndef STN_CLIENT_CLI_BENCH_STERNAD_H
#define STN_CLIENT_CLI_BENCH_STERNAD_H

#include <sys/types.h>

#include <jansson.h>

#include "base/err.h"
#include "client/cli/operator.h"
#include "io/file.h"

struct stn_bench_sternad {
    char program[STN_FILE_PATH_MAX];
    char folder[STN_FILE_PATH_MAX]; /* of the coordinator */
    char log[STN_FILE_PATH_MAX];    /* what both say */
    pid_t coordinator, directory;   /* 0: not running */
};

/* Makes folder and starts both; they answer when it returns. program NULL: the sternad beside this program, in the tree that
 * it was built in, or in PATH. The caller ends *ret with stop. */
enum stn_code stn_bench_sternad_start(struct stn_bench_sternad *ret, const char *program, const char *folder,
                                      struct stn_err *err) STN_CHECKED;

/* Asks the coordinator as an operator does; takes request. The caller releases *ret with json_decref. */
enum stn_code stn_bench_sternad_ask(const struct stn_bench_sternad *sternad, json_t *request, json_t **ret,
                                    struct stn_err *err) STN_CHECKED;

/* Join URLs of n devices. */
enum stn_code stn_bench_sternad_invite(const struct stn_bench_sternad *sternad, size_t n, json_t **ret,
                                       struct stn_err *err) STN_CHECKED;

/* STN_IO, with the last thing that they said, when one has ended. */
enum stn_code stn_bench_sternad_check(struct stn_bench_sternad *sternad, struct stn_err *err) STN_CHECKED;

/* Zeroed is fine. */
void stn_bench_sternad_stop(struct stn_bench_sternad *sternad);

#endif
