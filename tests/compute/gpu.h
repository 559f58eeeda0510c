/* gpu: tests that run on the Vulkan backend. Vulkan is never touched before Check forks: whether there is a device is asked in
 * a process of its own. */
#ifndef STN_TESTS_COMPUTE_GPU_H
#define STN_TESTS_COMPUTE_GPU_H

#include "tests/lib/run.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compute/backend.h"
#include "compute/vulkan/vulkan.h"

/* False, and one line that says why the tests are skipped, when there is no device. */
static inline bool gpu_is_there(void)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct stn_err err;
        struct stn_graph graph;
        struct stn_backend *backend;
        stn_graph_init(&graph, 1, 1);
        enum stn_code code = stn_vulkan_backend.new_for(&backend, &graph, 1, &err);
        if (code != STN_OK) {
            (void)printf("skipped: %s\n", err.text);
            (void)fflush(stdout);
        }
        _exit(code == STN_OK ? 0 : 1);
    }
    int status = 1;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The validation layer has had nothing to say. */
static inline void gpu_is_silent(const struct stn_backend *backend)
{
    struct stn_vulkan_stats stats;
    stn_vulkan_stats(backend, &stats);
    ck_assert_uint_eq(stats.n_complaints, 0);
    ck_assert(stats.validates || getenv("STERNA_NO_VALIDATION") != NULL); /* where the layer is not installed, say so */
}

#endif
