#include "server/shell/settings.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/str.h"
#include "channel/url.h"
#include "io/conf.h"
#include "io/link.h"
#include "io/local.h"
#include "server/shell/keys.h"
#include "server/shell/store.h"

#define ROW(section, key, type, of, member, ...) {section, key, type, offsetof(struct of, member), __VA_ARGS__}
#define TEXT(section, key, of, member, ...)                                                                        \
    ROW(section, key, STN_CONF_STR, of, member, sizeof(((struct of *)0)->member), __VA_ARGS__)

static const char *const levels[] = {"debug", "info", "warn", "error", NULL};

static const struct stn_conf_row rows[] = {
    TEXT("server", "listen", stn_settings, listen, .required = true),
    TEXT("server", "directory", stn_settings, directory, .required = true),
    TEXT("server", "tls_cert_key", stn_settings, tls_cert_key, 0),
    ROW("server", "requests", STN_CONF_U64, stn_settings, requests, 0, 16, STN_LINK_CONTEXTS_MAX),
    ROW("server", "sessions", STN_CONF_U64, stn_settings, sessions, 0, 16, 1 << 20),
    ROW("server", "threads", STN_CONF_U64, stn_settings, threads, 0, 0, 256),
    ROW("server", "snapshot", STN_CONF_U64, stn_settings, snapshot, 0, 1, 10000),
    ROW("log", "level", STN_CONF_WORD, stn_settings, log_level, .words = levels),
    ROW("debug", "keep_updates", STN_CONF_BOOL, stn_settings, keep_updates, 0),
    {0},
};

static const struct stn_conf_row directory_rows[] = {
    TEXT("directory", "socket", stn_settings_directory, socket, .required = true),
    TEXT("directory", "group", stn_settings_directory, group_name, 0),
    TEXT("directory", "invites", stn_settings_directory, invites, .required = true),
    TEXT("directory", "address", stn_settings_directory, address, .required = true),
    TEXT("directory", "coordinator", stn_settings_directory, coordinator, .required = true),
    ROW("directory", "token_days", STN_CONF_U64, stn_settings_directory, token_days, 0, 1, 3650),
    {0},
};

/* ---- paths ---- */

static enum stn_code folder_of(const char *path, char *ret, size_t room, struct stn_err *err)
{
    const char *slash = strrchr(path, '/');
    int n = slash == NULL ? snprintf(ret, room, ".")
                          : snprintf(ret, room, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return n >= 0 && (size_t)n < room ? STN_OK : stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %zu bytes", path, room - 1);
}

/* What a config says, from where the config is. */
static enum stn_code resolve(const char *folder, char *path, size_t room, struct stn_err *err)
{
    char whole[STN_FILE_PATH_MAX];
    if (path[0] == '\0' || path[0] == '/') {
        return STN_OK;
    }
    enum stn_code code = stn_file_join(whole, folder, path, err);
    if (code == STN_OK && !stn_str_copy(path, room, whole)) {
        code = stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %zu bytes", whole, room - 1);
    }
    return code;
}

enum stn_code stn_settings_path(const struct stn_settings *settings, const char *name, char ret[static STN_FILE_PATH_MAX],
                                struct stn_err *err)
{
    return stn_file_join(ret, settings->folder, name, err);
}

/* ---- reading ---- */

static enum stn_code check_listen(const char *listen, struct stn_err *err)
{
    static const char *const schemes[] = {"tcp://", "tls+tcp://", "ws://", "wss://", "ipc://", "inproc://"};
    size_t i = 0;
    while (i < sizeof schemes / sizeof *schemes && !stn_str_starts(listen, schemes[i])) {
        i++;
    }
    if (i == sizeof schemes / sizeof *schemes || strlen(listen) >= STN_SETTINGS_URL) {
        return stn_err_set(err, STN_INVALID, "listen is \"%.80s\", expected tcp://HOST:PORT, or so with tls+tcp, ws or wss, or "
                           "ipc://PATH", listen);
    }
    return STN_OK;
}

static enum stn_code check_address(const char *address, struct stn_err *err)
{
    struct stn_url url;
    if (strlen(address) >= sizeof((struct stn_settings_directory *)0)->address ||
        stn_url_get_place(&url, address, NULL) != STN_OK) {
        return stn_err_set(err, STN_INVALID, "address is \"%.100s\", expected HOST:PORT as devices reach it, or so with "
                           "tls+tcp://, ws:// or wss://", address);
    }
    return STN_OK;
}

/* What was not said of the way is as where the coordinator listens. */
static void put_address(const struct stn_settings_new *settings, char ret[static STN_SETTINGS_URL])
{
    static const char *const ways[] = {"tls+tcp://", "ws://", "wss://"};
    const char *way = "", *path = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof *ways && strstr(settings->address, "://") == NULL; i++) {
        if (stn_str_starts(settings->listen, ways[i])) {
            way = ways[i];
            path = strchr(settings->listen + strlen(way), '/');
        }
    }
    (void)snprintf(ret, STN_SETTINGS_URL, "%s%s%s", way, settings->address, path == NULL ? "" : path);
}

/* A name, or the number itself. */
static enum stn_code group_of(const char *name, int64_t *ret, struct stn_err *err)
{
    char *end = NULL;
    const struct group *group = getgrnam(name);
    unsigned long number = strtoul(name, &end, 10);
    bool is_number = name[0] >= '0' && name[0] <= '9' && *end == '\0' && number < UINT32_MAX;
    if (group == NULL && !is_number) {
        return stn_err_set(err, STN_INVALID, "there is no group \"%.60s\"", name);
    }
    *ret = group != NULL ? (int64_t)group->gr_gid : (int64_t)number;
    return STN_OK;
}

enum stn_code stn_settings_check(const struct stn_settings_new *settings, struct stn_err *err)
{
    int64_t group = 0;
    char address[STN_SETTINGS_URL];
    enum stn_code code = check_listen(settings->listen, err);
    put_address(settings, address);
    code = code == STN_OK ? check_address(address, err) : code;
    if (code == STN_OK && settings->group != NULL) {
        code = settings->directory == NULL
                   ? stn_err_set(err, STN_INVALID, "a group is for a directory in a folder of its own, outside of the coordinator's")
                   : group_of(settings->group, &group, err);
    }
    return code;
}

enum stn_code stn_settings_read(struct stn_settings *ret, const char *path, struct stn_err *err)
{
    struct stn_settings settings = {.requests = 4096, .sessions = 4096, .snapshot = 32, .log_level = STN_LOG_INFO};
    enum stn_code code = stn_conf_read(&settings, rows, path, err);
    if (code == STN_OK) {
        code = folder_of(path, settings.folder, sizeof settings.folder, err);
    }
    if (code == STN_OK) {
        code = resolve(settings.folder, settings.directory, sizeof settings.directory, err);
    }
    if (code == STN_OK) {
        code = resolve(settings.folder, settings.tls_cert_key, sizeof settings.tls_cert_key, err);
    }
    if (code == STN_OK) {
        bool is_tls = stn_str_starts(settings.listen, "tls+tcp://") || stn_str_starts(settings.listen, "wss://");
        code = check_listen(settings.listen, err);
        if (code == STN_OK && is_tls && settings.tls_cert_key[0] == '\0') {
            code = stn_err_set(err, STN_INVALID, "listen is \"%.80s\", which needs tls_cert_key", settings.listen);
        }
        code = code == STN_OK ? code : stn_err_prefix(err, "%s, [server]", path);
    }
    if (code == STN_OK) {
        *ret = settings;
    }
    return code;
}

enum stn_code stn_settings_read_directory(struct stn_settings_directory *ret, const char *path, struct stn_err *err)
{
    struct stn_settings_directory settings = {.token_days = 14, .group = STN_LOCAL_OWNER};
    enum stn_code code = stn_conf_read(&settings, directory_rows, path, err);
    if (code == STN_OK) {
        code = folder_of(path, settings.folder, sizeof settings.folder, err);
    }
    if (code == STN_OK) {
        code = resolve(settings.folder, settings.socket, sizeof settings.socket, err);
    }
    if (code == STN_OK) {
        code = resolve(settings.folder, settings.invites, sizeof settings.invites, err);
    }
    if (code == STN_OK) {
        uint8_t key[32];
        code = check_address(settings.address, err);
        if (code == STN_OK && !stn_hex_get(key, sizeof key, settings.coordinator)) {
            code = stn_err_set(err, STN_INVALID, "coordinator is no key: expected 64 hexadecimal digits");
        }
        if (code == STN_OK && settings.group_name[0] != '\0') {
            code = group_of(settings.group_name, &settings.group, err);
        }
        code = code == STN_OK ? code : stn_err_prefix(err, "%s, [directory]", path);
    }
    if (code == STN_OK) {
        *ret = settings;
    }
    return code;
}

/* ---- making ---- */

static const char server_conf[] =
    "# The coordinator: sternad run --config sternad.conf\n"
    "# Paths are relative to this file's folder.\n"
    "\n"
    "[server]\n"
    "# where devices connect: tcp://, tls+tcp://, ws://, wss:// (or ipc://, where something else takes them there)\n"
    "listen = %s\n"
    "# the socket of `sternad directory`, which signs enrolments\n"
    "directory = directory/directory.sock\n"
    "# PEM file of a certificate and its key, for tls+tcp:// and wss://\n"
    "# tls_cert_key = keys/tls.pem\n"
    "# requests that may wait for news at once, and sessions of devices\n"
    "# requests = 4096\n"
    "# sessions = 4096\n"
    "# worker threads; 0: one for each processor\n"
    "# threads = 0\n"
    "# updates that are added before the sum is written to disk and they can go\n"
    "# snapshot = 32\n"
    "\n"
    "[log]\n"
    "# debug (every device's steps), info, warn or error\n"
    "level = info\n"
    "\n"
    "[debug]\n"
    "# keep every update that was merged under kept/, so that a release can be recomputed; of rounds without secure\n"
    "# aggregation these are single devices' updates: for tests only\n"
    "keep_updates = no\n";

static const char directory_conf[] =
    "# The directory: sternad directory --config directory.conf\n"
    "# It holds the key that enrols devices, and mints the invites. The coordinator never reads it: best, it cannot.\n"
    "# Paths are relative to this file's folder.\n"
    "\n"
    "[directory]\n"
    "# where the coordinator asks: whether a token is good, and for a signature\n"
    "socket = directory.sock\n"
    "# the group that the coordinator's user is in, when he is another: it may open this socket and nothing else\n"
    "%sgroup = %s\n"
    "# where `sterna invite` asks: for this user alone\n"
    "invites = invite.sock\n"
    "# days for which an invite is good\n"
    "token_days = 14\n"
    "# what join URLs say: HOST:PORT as devices reach the coordinator, over TCP or with tls+tcp://, ws:// or wss://, and\n"
    "# its key\n"
    "address = %s\n"
    "coordinator = %s\n";

static enum stn_code put_text(const char *folder, const char *name, const char *text, unsigned mode, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_file_join(path, folder, name, err);
    return code == STN_OK ? stn_file_replace(path, text, strlen(text), mode, err) : code;
}

/* The directory's folder elsewhere, and a link to it, so that it is found from ours. */
static enum stn_code link_directory(const struct stn_settings_new *settings, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX], whole[PATH_MAX];
    int64_t group = STN_LOCAL_OWNER;
    enum stn_code code = stn_file_make_folder(settings->directory, 0700, err);
    if (code == STN_OK && settings->group != NULL) {
        code = group_of(settings->group, &group, err);
    }
    /* through, but no list of it; and what is made there is the group's, so that the socket is */
    if (code == STN_OK && group != STN_LOCAL_OWNER &&
        (chown(settings->directory, (uid_t)-1, (gid_t)group) != 0 || chmod(settings->directory, S_ISGID | 0710) != 0)) {
        code = stn_err_errno(err, errno, "%s: cannot be given to group %s", settings->directory, settings->group);
    }
    if (code == STN_OK && realpath(settings->directory, whole) == NULL) {
        code = stn_err_errno(err, errno, "%s", settings->directory);
    }
    code = code == STN_OK ? stn_file_join(path, settings->folder, "directory", err) : code;
    if (code == STN_OK && symlink(whole, path) != 0) {
        char there[PATH_MAX];
        int number = errno;
        bool is_ours = number == EEXIST && realpath(path, there) != NULL && strcmp(there, whole) == 0;
        code = is_ours ? STN_OK : stn_err_errno(err, number, "%s", path);
    }
    return code;
}

static enum stn_code make_folders(const struct stn_settings_new *settings, struct stn_err *err)
{
    static const char *const names[] = {"keys", "blobs", "rounds", "directory", "directory/keys"};
    enum stn_code code = stn_file_make_folder(settings->folder, 0700, err);
    if (code == STN_OK && settings->directory != NULL) {
        code = link_directory(settings, err);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && code == STN_OK; i++) {
        char path[STN_FILE_PATH_MAX];
        code = stn_file_join(path, settings->folder, names[i], err);
        code = code == STN_OK ? stn_file_make_folder(path, 0700, err) : code;
    }
    return code;
}

static enum stn_code make_key(const char *folder, const char *name, uint8_t ret[static 32], struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_ident ident;
    enum stn_code code = stn_file_join(path, folder, name, err);
    if (code == STN_OK) {
        code = stn_file_exists(path) ? stn_keys_load(&ident, path, err) : stn_keys_make(&ident, path, err);
    }
    if (code == STN_OK) {
        memcpy(ret, ident.pub, STN_IDENT_PUBLIC);
        stn_ident_fini(&ident);
    }
    return code;
}

static enum stn_code make_state(const char *folder, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_store *store = NULL;
    enum stn_code code = stn_file_join(path, folder, "state.db", err);
    code = code == STN_OK ? stn_store_open(&store, path, err) : code;
    stn_store_close(store);
    return code;
}

static enum stn_code make_configs(const struct stn_settings_new *settings, const uint8_t key[static 32], struct stn_err *err)
{
    struct stn_buf server = {0}, directory = {0};
    char hex[65], address[STN_SETTINGS_URL];
    stn_hex_put(hex, key, 32);
    put_address(settings, address);
    (void)stn_buf_printf(&server, server_conf, settings->listen);
    (void)stn_buf_add_u8(&server, 0);
    (void)stn_buf_printf(&directory, directory_conf, settings->group == NULL ? "# " : "",
                         settings->group == NULL ? "sterna" : settings->group, address, hex);
    (void)stn_buf_add_u8(&directory, 0);
    enum stn_code code = server.failed || directory.failed
                             ? stn_err_set(err, STN_MEMORY, "no memory for a config")
                             : put_text(settings->folder, "directory/directory.conf", (const char *)directory.data,
                                        STN_FILE_SECRET, err);
    if (code == STN_OK) { /* last: it says that the folder is complete */
        code = put_text(settings->folder, "sternad.conf", (const char *)server.data, STN_FILE_MODE, err);
    }
    stn_buf_fini(&server);
    stn_buf_fini(&directory);
    return code;
}

enum stn_code stn_settings_init(const struct stn_settings_new *settings, uint8_t ret_key[static 32],
                                uint8_t ret_directory[static 32], struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    const char *folder = settings->folder;
    enum stn_code code = stn_file_join(path, folder, "sternad.conf", err);
    if (code == STN_OK && stn_file_exists(path)) {
        return stn_err_set(err, STN_EXISTS, "%s: there is a coordinator in this folder already", path);
    }
    code = code == STN_OK ? stn_settings_check(settings, err) : code;
    code = code == STN_OK ? make_folders(settings, err) : code;
    code = code == STN_OK ? make_key(folder, "keys/coordinator.key", ret_key, err) : code;
    code = code == STN_OK ? make_key(folder, "directory/keys/directory.key", ret_directory, err) : code;
    if (code == STN_OK) {
        code = stn_file_join(path, folder, "keys/directory.pub", err);
    }
    code = code == STN_OK ? stn_keys_put_public(ret_directory, path, err) : code;
    code = code == STN_OK ? make_state(folder, err) : code;
    return code == STN_OK ? make_configs(settings, ret_key, err) : code;
}
