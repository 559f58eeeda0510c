#include "compute/vulkan/vulkan_env.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compute/vulkan/pipeline.h"

#define WORD_MOST 128

static enum stn_code take_number(const char *text, uint64_t unit, uint64_t *ret, struct stn_err *err)
{
    char *end = NULL;
    unsigned long long n = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || text[0] == '-' || n > UINT64_MAX / unit) {
        return stn_err_set(err, STN_INVALID, "STERNA_VULKAN: \"%.40s\" is no number", text);
    }
    *ret = n * unit;
    return STN_OK;
}

static enum stn_code take_word(struct stn_vulkan_env *env, const char *word, struct stn_err *err)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"floor", &env->device.floor},
                 {"validate", &env->device.validate},
                 {"staged", &env->device.staged},
                 {"emulated", &env->device.emulated},
                 {"times", &env->times}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (strcmp(word, flags[i].name) == 0) {
            *flags[i].flag = true;
            return STN_OK;
        }
    }
    const struct {
        const char *name;
        uint64_t unit, *number;
    } numbers[] = {{"memory=", (uint64_t)1 << 20, &env->memory}, {"range=", 1, &env->range},
                   {"split=", 1000000, &env->split},             {"piece=", 1024, &env->piece},
                   {"lost=", 1, &env->device.faults.lost},
                   {"broken=", 1, &env->device.faults.broken},   {"late=", 1, &env->device.faults.late},
                   {"oom=", 1, &env->device.faults.oom}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        size_t n = strlen(numbers[i].name);
        if (strncmp(word, numbers[i].name, n) == 0) {
            return take_number(word + n, numbers[i].unit, numbers[i].number, err);
        }
    }
    if (strncmp(word, "without=", 8) == 0 && stn_pipeline_named(word + 8) != 0) {
        env->barred |= stn_pipeline_named(word + 8);
        return STN_OK;
    }
    if (strncmp(word, "spoil=", 6) == 0 && stn_pipeline_named(word + 6) != 0) {
        env->spoilt |= stn_pipeline_named(word + 6);
        return STN_OK;
    }
    if (strncmp(word, "device=", 7) == 0) {
        (void)snprintf(env->wanted, sizeof env->wanted, "%s", word + 7);
        env->device.wanted = env->wanted;
        return STN_OK;
    }
    return stn_err_set(err, STN_INVALID, "STERNA_VULKAN: \"%.40s\" is none of device=, memory=, range=, split=, piece=, without=KERNEL, spoil=KERNEL, lost=, "
                       "broken=, late=, oom=, floor, staged, emulated, validate, times",
                       word);
}

/* A folder that we may not make is no error: nothing is kept then. */
static void find_folder(struct stn_vulkan_env *env)
{
    const char *own = getenv("STERNA_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *folder = env->folder;
    int n = 0;
    if (own != NULL) {
        n = snprintf(folder, sizeof env->folder, "%s", own);
    } else if (cache != NULL && cache[0] == '/') {
        n = snprintf(folder, sizeof env->folder, "%s/sterna", cache);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(folder, sizeof env->folder, "%s/.cache/sterna", home);
    }
    if (n <= 0 || n >= (int)sizeof env->folder || (mkdir(folder, 0700) != 0 && errno != EEXIST)) {
        folder[0] = '\0';
    }
}

enum stn_code stn_vulkan_env_read(struct stn_vulkan_env *env, struct stn_err *err)
{
    const char *at = getenv("STERNA_VULKAN");
    *env = (struct stn_vulkan_env){0};
    find_folder(env);
    while (at != NULL && *at != '\0') {
        char word[WORD_MOST];
        size_t n = strcspn(at, ",");
        if (n >= sizeof word) {
            return stn_err_set(err, STN_INVALID, "STERNA_VULKAN: a word of %zu bytes, at most %d", n, WORD_MOST - 1);
        }
        memcpy(word, at, n);
        word[n] = '\0';
        enum stn_code code = n == 0 ? STN_OK : take_word(env, word, err);
        if (code != STN_OK) {
            return code;
        }
        at += n + (at[n] == ',');
    }
    return STN_OK;
}
