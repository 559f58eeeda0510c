#include "client/cli/operator.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/file.h"
#include "io/local.h"

struct door {
    const char *names[3]; /* of its socket in the folder, the usual one first, NULL after the last */
    const char *who, *start;
    bool own; /* a folder may be another user's, who could answer there himself: only --socket is taken at its word */
};

/* The first of the names that is there, or the usual one. */
static enum stn_code socket_of(const struct stn_operator *to, const struct door *door, char ret[static STN_FILE_PATH_MAX],
                               struct stn_err *err)
{
    const char *dir = to->dir;
    if (to->socket != NULL) {
        int n = snprintf(ret, STN_FILE_PATH_MAX, "%s", to->socket);
        return n < STN_FILE_PATH_MAX ? STN_OK : stn_err_set(err, STN_LIMIT, "--socket is too long");
    }
    if (dir == NULL) {
        dir = getenv("STERNA_DIR");
    }
    dir = dir == NULL || dir[0] == '\0' ? STN_OPERATOR_DIR : dir;
    for (size_t i = 0; door->names[i] != NULL; i++) {
        enum stn_code code = stn_file_join(ret, dir, door->names[i], err);
        if (code != STN_OK || stn_file_exists(ret)) {
            return code;
        }
    }
    return stn_file_join(ret, dir, door->names[0], err);
}

static enum stn_code read_reply(const struct stn_buf *bytes, const char *who, json_t **ret, struct stn_err *err)
{
    const char *code = NULL, *text = NULL;
    json_t *root = json_loadb((const char *)bytes->data, bytes->size, 0, NULL);
    enum stn_code failed = STN_OK;
    if (json_unpack(root, "{s{ss ss}}", "error", "code", &code, "text", &text) == 0) {
        failed = stn_err_set(err, stn_err_code(code, STN_IO), "%s", text);
    } else if (!json_is_true(json_object_get(root, "ok"))) {
        failed = stn_err_set(err, STN_CORRUPT, "the %s answered what is no JSON object of ours", who);
    }
    if (failed == STN_OK) {
        *ret = root;
    } else {
        json_decref(root);
    }
    return failed;
}

static enum stn_code ask(const struct stn_operator *to, const struct door *door, json_t *request, uint32_t timeout_ms,
                         json_t **ret, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf reply = {0};
    char *text = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (text == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a question");
    }
    const bool own = door->own && to->socket == NULL;
    enum stn_code code = socket_of(to, door, path, err);
    if (code == STN_OK) {
        code = (own ? stn_local_ask_own : stn_local_ask)(path, text, strlen(text), timeout_ms, &reply, err);
        if (code == STN_NOT_FOUND) {
            code = stn_err_set(err, STN_NOT_FOUND, "%s: no %s answers there: start `%s`, or say --dir", path, door->who,
                               door->start);
        } else if (code == STN_DENIED && own) {
            code = stn_err_prefix(err, "ask as the %s's user, or name its --socket", door->who);
        }
    }
    free(text);
    code = code == STN_OK ? read_reply(&reply, door->who, ret, err) : code;
    stn_buf_fini(&reply);
    return code;
}

enum stn_code stn_operator_ask(const struct stn_operator *to, json_t *request, uint32_t timeout_ms, json_t **ret,
                               struct stn_err *err)
{
    static const struct door door = {.names = {"operator.sock"}, .who = "coordinator", .start = "sternad run"};
    return ask(to, &door, request, timeout_ms, ret, err);
}

enum stn_code stn_operator_ask_directory(const struct stn_operator *to, json_t *request, uint32_t timeout_ms, json_t **ret,
                                         struct stn_err *err)
{
    static const struct door door = {.names = {"invite.sock", "directory/invite.sock"}, .who = "directory",
                                     .start = "sternad directory", .own = true};
    return ask(to, &door, request, timeout_ms, ret, err);
}

const char *stn_operator_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

long long stn_operator_number(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

const char *stn_operator_time(const json_t *object, const char *key, char ret[static STN_OPERATOR_TIME])
{
    time_t seconds = (time_t)(stn_operator_number(object, key) / 1000);
    struct tm tm;
    if (seconds == 0 || gmtime_r(&seconds, &tm) == NULL) {
        return "never";
    }
    (void)strftime(ret, STN_OPERATOR_TIME, "%Y-%m-%d %H:%M:%S", &tm);
    return ret;
}
