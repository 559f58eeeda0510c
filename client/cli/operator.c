#include "client/cli/operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/file.h"
#include "io/local.h"

/* The first of names that is there; the last, if none is. */
static enum stn_code socket_of(const struct stn_operator *to, const char *const *names, char ret[static STN_FILE_PATH_MAX],
                               struct stn_err *err)
{
    const char *dir = to->dir;
    enum stn_code code = STN_OK;
    if (to->socket != NULL) {
        int n = snprintf(ret, STN_FILE_PATH_MAX, "%s", to->socket);
        return n < STN_FILE_PATH_MAX ? STN_OK : stn_err_set(err, STN_LIMIT, "--socket is too long");
    }
    if (dir == NULL) {
        dir = getenv("STERNA_DIR");
    }
    for (size_t i = 0; names[i] != NULL && code == STN_OK && (i == 0 || !stn_file_exists(ret)); i++) {
        code = stn_file_join(ret, dir == NULL || dir[0] == '\0' ? STN_OPERATOR_DIR : dir, names[i], err);
    }
    return code;
}

static enum stn_code code_of(const char *name)
{
    for (int i = 1; i < STN_N_CODES; i++) {
        if (strcmp(stn_err_name((enum stn_code)i), name) == 0) {
            return (enum stn_code)i;
        }
    }
    return STN_IO;
}

static enum stn_code read_reply(const struct stn_buf *bytes, json_t **ret, struct stn_err *err)
{
    const char *code = NULL, *text = NULL;
    json_t *root = json_loadb((const char *)bytes->data, bytes->size, 0, NULL);
    enum stn_code failed = STN_OK;
    if (json_unpack(root, "{s{ss ss}}", "error", "code", &code, "text", &text) == 0) {
        failed = stn_err_set(err, code_of(code), "%s", text);
    } else if (!json_is_true(json_object_get(root, "ok"))) {
        failed = stn_err_set(err, STN_CORRUPT, "the coordinator answered what is no JSON object of ours");
    }
    if (failed == STN_OK) {
        *ret = root;
    } else {
        json_decref(root);
    }
    return failed;
}

static enum stn_code ask(const struct stn_operator *to, const char *const *names, const char *nobody, json_t *request,
                         uint32_t timeout_ms, json_t **ret, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf reply = {0};
    char *text = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (text == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a question");
    }
    enum stn_code code = socket_of(to, names, path, err);
    if (code == STN_OK) {
        code = stn_local_ask(path, text, strlen(text), timeout_ms, &reply, err);
        if (code == STN_NOT_FOUND) {
            code = stn_err_set(err, STN_NOT_FOUND, "%s: %s", path, nobody);
        }
    }
    free(text);
    code = code == STN_OK ? read_reply(&reply, ret, err) : code;
    stn_buf_fini(&reply);
    return code;
}

enum stn_code stn_operator_ask(const struct stn_operator *to, json_t *request, uint32_t timeout_ms, json_t **ret,
                               struct stn_err *err)
{
    static const char *const names[] = {"operator.sock", NULL};
    return ask(to, names, "no coordinator answers there: start `sternad run`, or say --dir", request, timeout_ms, ret, err);
}

enum stn_code stn_operator_ask_directory(const struct stn_operator *to, json_t *request, uint32_t timeout_ms, json_t **ret,
                                         struct stn_err *err)
{
    static const char *const names[] = {"invite.sock", "directory/invite.sock", NULL};
    return ask(to, names, "no directory answers there: start `sternad directory`, or say --dir", request, timeout_ms, ret, err);
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
