#include "server/shell/settings.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "channel/url.h"
#include "io/conf.h"
#include "io/link.h"
#include "server/shell/keys.h"
#include "server/shell/store.h"

#define ROW(section, key, type, of, member, ...) {section, key, type, offsetof(struct of, member), __VA_ARGS__}
#define TEXT(section, key, of, member, ...)                                                                        \
    ROW(section, key, STN_CONF_STR, of, member, sizeof(((struct of *)0)->member), __VA_ARGS__)

static const char *const levels[] = {"debug", "info", "warn", "error", NULL};

static const struct stn_conf_row rows[] = {
    TEXT("server", "listen", stn_settings, listen, .required = true),
    TEXT("server", "address", stn_settings, address, .required = true),
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

enum stn_code stn_settings_check(const char *listen, const char *address, struct stn_err *err)
{
    static const char *const schemes[] = {"tcp://", "tls+tcp://", "ws://", "wss://", "ipc://", "inproc://"};
    char text[STN_URL_TEXT];
    size_t i = 0;
    struct stn_url url;
    static const char digits[] = "0000000000000000000000000000000000000000000000000000000000000000";
    int n = snprintf(text, sizeof text, "sterna://%s/?key=%s&dir=%s", address, digits, digits);
    while (i < sizeof schemes / sizeof *schemes && strncmp(listen, schemes[i], strlen(schemes[i])) != 0) {
        i++;
    }
    if (i == sizeof schemes / sizeof *schemes || strlen(listen) >= STN_SETTINGS_URL) {
        return stn_err_set(err, STN_INVALID, "listen is \"%.80s\", expected tcp://HOST:PORT, or so with tls+tcp, ws or wss, or "
                           "ipc://PATH", listen);
    }
    if (n < 0 || (size_t)n >= sizeof text || strlen(address) >= sizeof((struct stn_settings *)0)->address ||
        stn_url_get(&url, text, NULL) != STN_OK) {
        return stn_err_set(err, STN_INVALID, "address is \"%.100s\", expected HOST:PORT as devices reach it", address);
    }
    return STN_OK;
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
        code = stn_settings_check(settings.listen, settings.address, err);
        code = code == STN_OK ? code : stn_err_prefix(err, "%s, [server]", path);
    }
    if (code == STN_OK) {
        *ret = settings;
    }
    return code;
}

enum stn_code stn_settings_read_directory(struct stn_settings_directory *ret, const char *path, struct stn_err *err)
{
    struct stn_settings_directory settings = {.token_days = 14};
    enum stn_code code = stn_conf_read(&settings, directory_rows, path, err);
    if (code == STN_OK) {
        code = folder_of(path, settings.folder, sizeof settings.folder, err);
    }
    if (code == STN_OK) {
        code = resolve(settings.folder, settings.socket, sizeof settings.socket, err);
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
    "# where devices connect: tcp://, tls+tcp://, ws://, wss://, ipc://\n"
    "listen = %s\n"
    "# HOST:PORT that devices are told in join URLs\n"
    "address = %s\n"
    "# the socket of `sternad directory`, which mints invites and signs enrolments\n"
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
    "# It holds the key that enrols devices. The coordinator never reads it; it may live on another disk or user.\n"
    "\n"
    "[directory]\n"
    "# where the coordinator asks, relative to this file's folder\n"
    "socket = directory.sock\n"
    "# days for which an invite is good\n"
    "token_days = 14\n";

static enum stn_code put_text(const char *folder, const char *name, const char *text, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_file_join(path, folder, name, err);
    return code == STN_OK ? stn_file_replace(path, text, strlen(text), STN_FILE_MODE, err) : code;
}

static enum stn_code make_folders(const char *folder, struct stn_err *err)
{
    static const char *const names[] = {"keys", "blobs", "rounds", "directory", "directory/keys"};
    enum stn_code code = stn_file_make_folder(folder, 0700, err);
    for (size_t i = 0; i < sizeof names / sizeof *names && code == STN_OK; i++) {
        char path[STN_FILE_PATH_MAX];
        code = stn_file_join(path, folder, names[i], err);
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

static enum stn_code make_configs(const char *folder, const char *listen, const char *address, struct stn_err *err)
{
    struct stn_buf text = {0};
    (void)stn_buf_printf(&text, server_conf, listen, address);
    (void)stn_buf_add_u8(&text, 0);
    enum stn_code code = text.failed ? stn_err_set(err, STN_MEMORY, "no memory for a config")
                                     : put_text(folder, "directory/directory.conf", directory_conf, err);
    if (code == STN_OK) { /* last: it says that the folder is complete */
        code = put_text(folder, "sternad.conf", (const char *)text.data, err);
    }
    stn_buf_fini(&text);
    return code;
}

enum stn_code stn_settings_init(const char *folder, const char *listen, const char *address, uint8_t ret_key[static 32],
                                uint8_t ret_directory[static 32], struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_file_join(path, folder, "sternad.conf", err);
    if (code == STN_OK && stn_file_exists(path)) {
        return stn_err_set(err, STN_EXISTS, "%s: there is a coordinator in this folder already", path);
    }
    code = code == STN_OK ? stn_settings_check(listen, address, err) : code;
    code = code == STN_OK ? make_folders(folder, err) : code;
    code = code == STN_OK ? make_key(folder, "keys/coordinator.key", ret_key, err) : code;
    code = code == STN_OK ? make_key(folder, "directory/keys/directory.key", ret_directory, err) : code;
    if (code == STN_OK) {
        code = stn_file_join(path, folder, "keys/directory.pub", err);
    }
    code = code == STN_OK ? stn_keys_put_public(ret_directory, path, err) : code;
    code = code == STN_OK ? make_state(folder, err) : code;
    return code == STN_OK ? make_configs(folder, listen, address, err) : code;
}
