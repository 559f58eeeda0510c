/* gpu: tests that run on the Vulkan backend. Vulkan is never touched before Check forks: whether there is a device is asked in
 * a process of its own. */
#ifndef STN_TESTS_COMPUTE_GPU_H
#define STN_TESTS_COMPUTE_GPU_H

#include "tests/lib/run.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compute/backend.h"
#include "compute/vulkan/vulkan.h"

#if defined(__SANITIZE_ADDRESS__)
#define GPU_COUNTS_LEAKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GPU_COUNTS_LEAKS 1
#endif
#endif
#ifndef GPU_COUNTS_LEAKS
#define GPU_COUNTS_LEAKS 0
#endif

/* A line for each library that is loaded here. */
static inline void gpu_tell_libraries(FILE *to)
{
    char line[1024];
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        const char *path = strchr(line, '/');
        if (path != NULL && strstr(path, ".so") != NULL) {
            (void)fputs(path, to);
        }
    }
    if (maps != NULL) {
        (void)fclose(maps);
    }
}

/* Drivers are unloaded with their instance, and what they leak has then no name that tests/drivers.supp could know: those that a
 * device loads, as a child tells, are loaded to stay. */
static inline void gpu_keep_libraries(FILE *from)
{
    char line[1024];
    while (GPU_COUNTS_LEAKS && fgets(line, sizeof line, from) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        (void)dlopen(line, RTLD_NOW | RTLD_NODELETE);
    }
}

/* False, and one line that says why the tests are skipped, when there is no device. */
static inline bool gpu_is_there(void)
{
    FILE *libraries = tmpfile();
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
        } else {
            gpu_tell_libraries(libraries);
        }
        (void)fflush(NULL);
        _exit(code == STN_OK ? 0 : 1);
    }
    int status = 1;
    bool is_there = waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    rewind(libraries);
    gpu_keep_libraries(libraries);
    (void)fclose(libraries);
    return is_there;
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
