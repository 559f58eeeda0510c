#include "client/cli/builtin.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"

enum stn_code stn_builtin_model(char *ret, size_t room, struct stn_err *err)
{
    static const char *const places[] = {"../share/sterna/models", "../../deploy/models", "../deploy/models"};
    const char *folder = getenv("STERNA_MODELS");
    char self[PATH_MAX];
    if (folder != NULL) {
        int n = snprintf(ret, room, "%s/%s", folder, STN_BUILTIN_MODEL);
        return n > 0 && (size_t)n < room && stn_file_exists(ret)
                   ? STN_OK
                   : stn_err_set(err, STN_NOT_FOUND, "%s is not in STERNA_MODELS, %s", STN_BUILTIN_MODEL, folder);
    }
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size < 0) {
        return stn_err_errno(err, errno, "/proc/self/exe");
    }
    self[size] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int n = snprintf(ret, room, "%s/%s/%s", self, places[i], STN_BUILTIN_MODEL);
        if (n > 0 && (size_t)n < room && stn_file_exists(ret)) {
            return STN_OK;
        }
    }
    return stn_err_set(err, STN_NOT_FOUND, "the built-in model is not near %s: give -m MODEL, or its folder in STERNA_MODELS", self);
}
