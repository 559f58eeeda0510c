#include "client/shell/owner.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/conf.h"

#define PIECE ((size_t)256 << 10)
#define THREADS_MAX 256

/* ---- rows ---- */

static enum stn_code take_key(uint8_t to[static 32], const char *value, const char *what, struct stn_err *err)
{
    return stn_hex_get(to, 32, value) ? STN_OK
                                      : stn_err_set(err, STN_INVALID, "%s is \"%.70s\", expected 64 hexadecimal digits",
                                                    what, value);
}

static enum stn_code each_key(void *to, const char *rest, const char *value, struct stn_err *err)
{
    struct stn_owner *owner = to;
    return rest[0] == '\0' ? take_key(owner->key, value, "key", err)
                           : stn_err_set(err, STN_INVALID, "no setting is called key%.40s", rest);
}

static enum stn_code each_directory(void *to, const char *rest, const char *value, struct stn_err *err)
{
    struct stn_owner *owner = to;
    return rest[0] == '\0' ? take_key(owner->directory, value, "directory", err)
                           : stn_err_set(err, STN_INVALID, "no setting is called directory%.40s", rest);
}

static enum stn_code each_data(void *to, const char *task, const char *value, struct stn_err *err)
{
    struct stn_owner *owner = to;
    if (!stn_msg_is_task_name(task)) {
        return stn_err_set(err, STN_INVALID, "data for \"%.70s\": a task's name has up to %d of a-z 0-9 . _ -", task,
                           STN_MSG_NAME - 1);
    }
    if (stn_owner_data(owner, task) != NULL) {
        return stn_err_set(err, STN_INVALID, "data for %s is set a second time", task);
    }
    if (owner->n_data == STN_MSG_TASKS) {
        return stn_err_set(err, STN_LIMIT, "data for %s: more than %d tasks", task, STN_MSG_TASKS);
    }
    struct stn_owner_data *data = &owner->data[owner->n_data];
    if (value[0] == '\0' || !stn_str_copy(data->path, sizeof data->path, value)) {
        return stn_err_set(err, STN_INVALID, "data for %s: expected a path of at most %zu bytes", task,
                           sizeof data->path - 1);
    }
    (void)stn_str_copy(data->task, sizeof data->task, task);
    owner->n_data++;
    return STN_OK;
}

static enum stn_code each_hours(void *to, const char *rest, const char *value, struct stn_err *err)
{
    struct stn_owner_conditions *conditions = &((struct stn_owner *)to)->conditions;
    char from[8] = "";
    uint64_t from_hour = 0, to_hour = 0;
    const char *dash = strchr(value, '-');
    bool ok = rest[0] == '\0' && dash != NULL && (size_t)(dash - value) < sizeof from;
    if (ok) {
        memcpy(from, value, (size_t)(dash - value));
        ok = stn_str_u64(from, &from_hour) && stn_str_u64(dash + 1, &to_hour) && from_hour < 24 && to_hour <= 24 &&
             from_hour != to_hour;
    }
    if (!ok) {
        return stn_err_set(err, STN_INVALID, "hours%.20s is \"%.40s\", expected FROM-TO in hours of the day, as 22-6",
                           rest, value);
    }
    conditions->has_hours = true;
    conditions->from_hour = (uint32_t)from_hour;
    conditions->to_hour = (uint32_t)to_hour;
    return STN_OK;
}

static const char *const backends[] = {"auto", "cpu", "vulkan", NULL};

#define AT(member) offsetof(struct stn_owner, member)
#define TEXT(section, key, member, ...)                                                                              \
    {section, key, STN_CONF_STR, AT(member), sizeof(((struct stn_owner *)0)->member), __VA_ARGS__}
#define EACH(section_name, key_name, function) {section_name, key_name, STN_CONF_EACH, .each = function}

static const struct stn_conf_row rows[] = {
    TEXT("server", "url", url, .required = true),
    EACH("server", "key", each_key),
    EACH("server", "directory", each_directory),
    TEXT("server", "tls_ca", tls_ca, 0),
    TEXT("agent", "dir", folder, 0),
    TEXT("agent", "model", model, 0),
    {"agent", "n_min", STN_CONF_U64, AT(n_min), 0, STN_OWNER_N_MIN_LEAST, 1e6},
    {"agent", "allow_plain", STN_CONF_BOOL, AT(allow_plain), 0},
    {"agent", "threads", STN_CONF_U64, AT(threads), 0, 0, THREADS_MAX},
    {"agent", "memory", STN_CONF_SIZE, AT(memory), 0},
    {"agent", "rank", STN_CONF_U64, AT(rank), 0, 0, 1024},
    {"agent", "backend", STN_CONF_WORD, AT(backend), 0, .words = backends},
    {"agent", "upload_kbps", STN_CONF_U64, AT(upload_kbps), 0, 0, 1e9},
    {"agent", "retry_ms", STN_CONF_U64, AT(retry_ms), 0, 10, 3.6e6},
    {"agent", "retry_most_ms", STN_CONF_U64, AT(retry_most_ms), 0, 10, 8.64e7},
    EACH("data", "data.", each_data),
    EACH("data", "", each_data),
    EACH("agent", "data.", each_data),
    EACH("", "data.", each_data),
    {"conditions", "require_ac", STN_CONF_BOOL, AT(conditions.require_ac), 0},
    {"conditions", "allow_metered", STN_CONF_BOOL, AT(conditions.allow_metered), 0},
    {"conditions", "max_temp_c", STN_CONF_F64, AT(conditions.max_temp_c), 0, 0, 150},
    {"conditions", "max_load", STN_CONF_F64, AT(conditions.max_load), 0, 0, 1000},
    {"conditions", "min_battery", STN_CONF_F64, AT(conditions.min_battery), 0, 0, 100},
    {"conditions", "idle_s", STN_CONF_U64, AT(conditions.idle_s), 0, 0, 86400},
    EACH("conditions", "hours", each_hours),
    {0},
};

/* ---- paths ---- */

/* A path of the file, from where the file is. */
static enum stn_code resolve(const char *file, char path[static STN_OWNER_TEXT], struct stn_err *err)
{
    char whole[STN_FILE_PATH_MAX], folder[STN_FILE_PATH_MAX];
    const char *slash = strrchr(file, '/');
    if (path[0] == '\0' || path[0] == '/' || slash == NULL) {
        return STN_OK;
    }
    int n = snprintf(folder, sizeof folder, "%.*s", slash == file ? 1 : (int)(slash - file), file);
    if (n < 0 || (size_t)n >= sizeof folder) {
        return stn_err_set(err, STN_LIMIT, "%.80s...: the path is too long", file);
    }
    enum stn_code code = stn_file_join(whole, folder, path, err);
    if (code == STN_OK && !stn_str_copy(path, STN_OWNER_TEXT, whole)) {
        code = stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %d bytes", whole, STN_OWNER_TEXT - 1);
    }
    return code;
}

/* $VARIABLE/sterna/NAME, or $HOME/FALLBACK/sterna/NAME; name may be "". */
static enum stn_code xdg(char ret[static STN_FILE_PATH_MAX], const char *variable, const char *fallback,
                         const char *name, struct stn_err *err)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    int n;
    if (base != NULL && base[0] == '/') { /* the specification: relative ones are to be ignored */
        n = snprintf(ret, STN_FILE_PATH_MAX, "%s/sterna%s", base, name);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(ret, STN_FILE_PATH_MAX, "%s/%s/sterna%s", home, fallback, name);
    } else {
        return stn_err_set(err, STN_NOT_FOUND, "neither %s nor HOME says where files go: name them with --config or --dir",
                           variable);
    }
    return n >= 0 && n < STN_FILE_PATH_MAX ? STN_OK : stn_err_set(err, STN_LIMIT, "%s: the path is too long", variable);
}

enum stn_code stn_owner_default_config(char ret[static STN_FILE_PATH_MAX], struct stn_err *err)
{
    return xdg(ret, "XDG_CONFIG_HOME", ".config", "/agent.conf", err);
}

enum stn_code stn_owner_default_folder(char ret[static STN_FILE_PATH_MAX], struct stn_err *err)
{
    return xdg(ret, "XDG_STATE_HOME", ".local/state", "", err);
}

/* ---- reading ---- */

static enum stn_code finish(struct stn_owner *owner, const char *path, struct stn_err *err)
{
    static const uint8_t none[32];
    if (memcmp(owner->key, none, sizeof none) == 0 || memcmp(owner->directory, none, sizeof none) == 0) {
        return stn_err_set(err, STN_INVALID, "%s: [server] needs key and directory: sterna join writes them", path);
    }
    if (owner->retry_most_ms < owner->retry_ms) {
        owner->retry_most_ms = owner->retry_ms;
    }
    enum stn_code code = resolve(path, owner->folder, err);
    code = code == STN_OK ? resolve(path, owner->model, err) : code;
    code = code == STN_OK ? resolve(path, owner->tls_ca, err) : code;
    for (uint32_t i = 0; i < owner->n_data && code == STN_OK; i++) {
        code = resolve(path, owner->data[i].path, err);
    }
    if (code == STN_OK && owner->folder[0] == '\0') {
        char folder[STN_FILE_PATH_MAX];
        code = stn_owner_default_folder(folder, err);
        if (code == STN_OK && !stn_str_copy(owner->folder, sizeof owner->folder, folder)) {
            code = stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %d bytes", folder, STN_OWNER_TEXT - 1);
        }
    }
    return code;
}

enum stn_code stn_owner_read(struct stn_owner *ret, const char *path, struct stn_err *err)
{
    struct stn_owner *owner = stn_mem_new(1, sizeof *owner);
    if (owner == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %s", path);
    }
    owner->n_min = STN_OWNER_N_MIN;
    owner->retry_ms = 2000;
    owner->retry_most_ms = 900000;
    owner->conditions.allow_metered = true;
    enum stn_code code = stn_conf_read(owner, rows, path, err);
    if (code == STN_NOT_FOUND) {
        code = stn_err_set(err, STN_NOT_FOUND, "%s: there is no such file: sterna join URL makes one", path);
    }
    code = code == STN_OK ? finish(owner, path, err) : code;
    if (code == STN_OK) {
        *ret = *owner;
    }
    stn_mem_free(owner);
    return code;
}

const char *stn_owner_data(const struct stn_owner *owner, const char *task)
{
    for (uint32_t i = 0; i < owner->n_data; i++) {
        if (strcmp(owner->data[i].task, task) == 0) {
            return owner->data[i].path;
        }
    }
    return NULL;
}

enum stn_code stn_owner_count(const char *path, uint64_t *ret, struct stn_err *err)
{
    uint64_t size = 0, n = 0;
    bool is_blank = true;
    int fd = -1;
    uint8_t *piece = stn_mem_new(PIECE, 1);
    enum stn_code code = piece == NULL ? stn_err_set(err, STN_MEMORY, "no memory to read %s", path)
                                       : stn_file_size(path, &size, err);
    code = code == STN_OK ? stn_file_open(&fd, path, STN_FILE_READ, 0, err) : code;
    for (uint64_t at = 0; code == STN_OK && at < size; at += PIECE) {
        size_t n_bytes = size - at < PIECE ? (size_t)(size - at) : PIECE;
        code = stn_file_pread(fd, path, piece, n_bytes, at, err);
        for (size_t i = 0; code == STN_OK && i < n_bytes; i++) {
            if (piece[i] == '\n') {
                n += !is_blank;
                is_blank = true;
            } else if (piece[i] != ' ' && piece[i] != '\t' && piece[i] != '\r') {
                is_blank = false;
            }
        }
    }
    stn_file_close(fd);
    stn_mem_free(piece);
    if (code == STN_OK) {
        *ret = n + !is_blank;
    }
    return code;
}

/* ---- writing ---- */

static const char settings_text[] =
    "# the fewest devices that a round may have; the device takes part in no smaller one\n"
    "# n_min = 16\n"
    "# also take part in rounds without secure aggregation, in which the coordinator can read what this device learned\n"
    "# allow_plain = no\n"
    "# threads that train; 0: one a processor\n"
    "# threads = 0\n"
    "# memory for training, at most; 0: what it takes\n"
    "# memory = 0\n"
    "# ranks of an adapter to train, at most; 0: as many as the memory allows\n"
    "# rank = 0\n"
    "# what computes: cpu, vulkan (a GPU, and the cpu where that fails), or auto: what trains faster here, by a trial\n"
    "# backend = auto\n"
    "# a base model that is on this device already (GGUF); it is used when its digest is the one that is asked for\n"
    "# model = base.gguf\n"
    "# upload rate in kbit/s, at most; 0: as fast as it goes\n"
    "# upload_kbps = 0\n"
    "# how long to wait before what failed is tried again, in milliseconds: the first time, and at most\n"
    "# retry_ms = 2000\n"
    "# retry_most_ms = 900000\n"
    "\n"
    "# Your consent, task by task: the examples to learn from (JSONL). They never leave this device.\n"
    "# No line, no part.\n"
    "[data]\n"
    "# data.TASK = PATH\n"
    "\n"
    "# When the device may work; every line that is set must hold.\n"
    "[conditions]\n"
    "# require_ac = yes\n"
    "# min_battery = 40\n"
    "# max_temp_c = 70\n"
    "# max_load = 0.8\n"
    "# idle_s = 300\n"
    "# allow_metered = no\n"
    "# hours = 22-6\n";

enum stn_code stn_owner_write(struct stn_buf *buf, const char *url, const char *tls_ca, const uint8_t key[static 32],
                              const uint8_t directory[static 32], const char *dir, struct stn_err *err)
{
    char key_text[65], directory_text[65];
    stn_hex_put(key_text, key, 32);
    stn_hex_put(directory_text, directory, 32);
    (void)stn_buf_printf(buf,
                         "# What this device does for the fleets it has joined: sterna-agent run --config FILE\n"
                         "# Paths are relative to this file's folder.\n"
                         "\n"
                         "[server]\n"
                         "url = %s\n"
                         "# the coordinator's key, and that of the directory which enrols devices: pinned when it joined\n"
                         "key = %s\n"
                         "directory = %s\n"
                         "# PEM file of the authorities to believe, where url begins with tls+tcp:// or wss://\n"
                         "%stls_ca = %s\n"
                         "\n"
                         "[agent]\n"
                         "# where the agent keeps its identity, models and adapters\n",
                         url, key_text, directory_text, tls_ca[0] == '\0' ? "# " : "", tls_ca[0] == '\0' ? "PATH" : tls_ca);
    (void)(dir == NULL ? stn_buf_add_str(buf, "# dir = PATH\n") : stn_buf_printf(buf, "dir = %s\n", dir));
    (void)stn_buf_add_str(buf, settings_text);
    return buf->failed ? stn_err_set(err, STN_MEMORY, "no memory for agent.conf") : STN_OK;
}
