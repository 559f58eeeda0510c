#include "server/shell/directory.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "channel/url.h"
#include "crypto/entropy.h"
#include "crypto/ident.h"
#include "io/db.h"
#include "io/file.h"
#include "io/local.h"
#include "io/loop.h"
#include "server/shell/keys.h"

#define TOKEN_SIZE 32

static const char *const steps[] = {
    "CREATE TABLE token (hash BLOB NOT NULL PRIMARY KEY, psk BLOB NOT NULL, minted_s INTEGER NOT NULL,"
    "  expires_s INTEGER NOT NULL, device BLOB, certificate BLOB) WITHOUT ROWID;",
};

struct door {
    struct stn_directory *directory;
    enum stn_directory_door which;
    struct stn_local *local;
};

struct stn_directory {
    struct stn_ident key;
    struct stn_url url; /* of the coordinator, without a token */
    struct stn_db *db;
    int lock, log;
    char log_path[STN_FILE_PATH_MAX];
    uint64_t token_days;
    /* of the process */
    struct stn_loop *loop;
    struct door doors[STN_DIRECTORY_DOORS];
};

/* ---- life ---- */

static enum stn_code open_all(struct stn_directory *directory, const char *folder, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_file_join(path, folder, "lock", err);
    code = code == STN_OK ? stn_file_lock(&directory->lock, path, err) : code;
    code = code == STN_OK ? stn_file_join(path, folder, "keys/directory.key", err) : code;
    code = code == STN_OK ? stn_keys_load(&directory->key, path, err) : code;
    code = code == STN_OK ? stn_file_join(directory->log_path, folder, "enrolments.jsonl", err) : code;
    code = code == STN_OK
               ? stn_file_open(&directory->log, directory->log_path, STN_FILE_APPEND, STN_FILE_SECRET, err)
               : code;
    code = code == STN_OK ? stn_file_join(path, folder, "directory.db", err) : code;
    return code == STN_OK ? stn_db_open(&directory->db, path, steps, sizeof steps / sizeof *steps, err) : code;
}

static enum stn_code make_url(struct stn_directory *directory, const struct stn_settings_directory *settings,
                              struct stn_err *err)
{
    memcpy(directory->url.directory, directory->key.pub, sizeof directory->url.directory);
    return stn_hex_get(directory->url.key, sizeof directory->url.key, settings->coordinator)
               ? stn_url_get_place(&directory->url, settings->address, err)
               : stn_err_set(err, STN_INVALID, "the coordinator's key is no key");
}

enum stn_code stn_directory_open(struct stn_directory **ret, const struct stn_settings_directory *settings,
                                 struct stn_err *err)
{
    struct stn_directory *directory = stn_mem_new(1, sizeof *directory);
    if (directory == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a directory");
    }
    directory->lock = directory->log = -1;
    directory->token_days = settings->token_days;
    enum stn_code code = open_all(directory, settings->folder, err);
    code = code == STN_OK ? make_url(directory, settings, err) : code;
    if (code != STN_OK) {
        stn_directory_close(directory);
        return code;
    }
    *ret = directory;
    return STN_OK;
}

void stn_directory_close(struct stn_directory *directory)
{
    if (directory == NULL) {
        return;
    }
    stn_db_close(directory->db);
    stn_file_close(directory->log);
    stn_file_close(directory->lock);
    stn_ident_fini(&directory->key);
    stn_mem_free(directory);
}

/* ---- tokens ---- */

struct token {
    bool is_there, is_bound;
    uint8_t psk[TOKEN_SIZE], device[STN_IDENT_PUBLIC], certificate[STN_IDENT_CERT];
    uint64_t expires_s;
};

static enum stn_code take_token(void *user, const struct stn_db_value *v, size_t n, struct stn_err *err)
{
    struct token *token = user;
    bool is_bound = n == 4 && v[2].type == STN_DB_BLOB && v[3].type == STN_DB_BLOB;
    if (n != 4 || v[0].size != sizeof token->psk ||
        (is_bound && (v[2].size != sizeof token->device || v[3].size != sizeof token->certificate))) {
        return stn_err_set(err, STN_CORRUPT, "directory.db: a row of table token is not one");
    }
    memcpy(token->psk, v[0].p, sizeof token->psk);
    token->expires_s = (uint64_t)v[1].i64;
    if (is_bound) {
        memcpy(token->device, v[2].p, sizeof token->device);
        memcpy(token->certificate, v[3].p, sizeof token->certificate);
    }
    token->is_bound = is_bound;
    token->is_there = true;
    return STN_OK;
}

static enum stn_code mint(struct stn_directory *directory, uint64_t now_s, uint64_t expires_s, json_t *urls,
                          struct stn_err *err)
{
    struct stn_url url = directory->url;
    char text[STN_URL_TEXT];
    url.has_token = true;
    stn_entropy_fill(url.token, sizeof url.token);
    struct stn_digest hash = stn_digest_of(url.token, sizeof url.token);
    const struct stn_db_value values[] = {stn_db_blob(hash.bytes, sizeof hash.bytes), stn_db_blob(url.token, sizeof url.token),
                                          stn_db_i64((int64_t)now_s), stn_db_i64((int64_t)expires_s)};
    enum stn_code code = stn_db_run(directory->db, "INSERT INTO token (hash, psk, minted_s, expires_s) VALUES (?1, ?2, ?3, ?4)",
                                    values, 4, NULL, NULL, err);
    stn_url_put(&url, text);
    if (code == STN_OK && json_array_append_new(urls, json_string(text)) != 0) {
        code = stn_err_set(err, STN_MEMORY, "no memory for a join URL");
    }
    stn_entropy_wipe(&url, sizeof url);
    stn_entropy_wipe(text, sizeof text);
    return code;
}

static enum stn_code do_invite(struct stn_directory *directory, const json_t *request, uint64_t now_s, json_t *reply,
                               struct stn_err *err)
{
    const json_t *count = json_object_get(request, "count");
    json_int_t n = count == NULL ? 1 : json_integer_value(count);
    if (n < 1 || n > STN_DIRECTORY_INVITES) {
        return stn_err_set(err, STN_INVALID, "count is %lld, expected 1 to %d", (long long)n, STN_DIRECTORY_INVITES);
    }
    uint64_t expires_s = now_s + directory->token_days * 86400;
    json_t *urls = json_array();
    enum stn_code code = STN_OK;
    for (json_int_t i = 0; i < n && code == STN_OK; i++) {
        code = mint(directory, now_s, expires_s, urls, err);
    }
    (void)json_object_set_new(reply, "urls", urls);
    (void)json_object_set_new(reply, "expires_s", json_integer((json_int_t)expires_s));
    return code;
}

/* ---- enrolments ---- */

static enum stn_code log_enrolment(struct stn_directory *directory, const struct stn_ident_cert *cert, struct stn_err *err)
{
    char device[2 * STN_IDENT_PUBLIC + 1], token[STN_DIGEST_TEXT];
    struct stn_buf line = {0};
    stn_hex_put(device, cert->device, sizeof cert->device);
    stn_digest_put_text(&cert->token, token);
    (void)stn_buf_printf(&line, "{\"issued_at_s\":%llu,\"device\":\"%s\",\"token\":\"%s\"}\n",
                         (unsigned long long)cert->issued_at_s, device, token);
    enum stn_code code = line.failed ? stn_err_set(err, STN_MEMORY, "no memory to log an enrolment")
                                     : stn_file_append(directory->log, directory->log_path, line.data, line.size, err);
    stn_buf_fini(&line);
    return code == STN_OK ? stn_file_sync(directory->log, directory->log_path, err) : code;
}

/* The log first: an enrolment that nobody heard of may stand there, one that somebody heard of must. */
static enum stn_code bind_token(struct stn_directory *directory, const struct stn_digest *hash, struct token *token,
                                const uint8_t device[static STN_IDENT_PUBLIC], uint64_t now_s, struct stn_err *err)
{
    struct stn_ident_cert cert = {.token = *hash, .issued_at_s = now_s};
    memcpy(cert.device, device, sizeof cert.device);
    stn_ident_cert_sign(&cert, &directory->key);
    stn_ident_cert_put(&cert, token->certificate);
    enum stn_code code = log_enrolment(directory, &cert, err);
    const struct stn_db_value values[] = {stn_db_blob(hash->bytes, sizeof hash->bytes), stn_db_blob(device, STN_IDENT_PUBLIC),
                                          stn_db_blob(token->certificate, sizeof token->certificate)};
    return code == STN_OK ? stn_db_run(directory->db, "UPDATE token SET device = ?2, certificate = ?3 WHERE hash = ?1",
                                       values, 3, NULL, NULL, err)
                          : code;
}

static enum stn_code do_enrol(struct stn_directory *directory, const json_t *request, uint64_t now_s, json_t *reply,
                              struct stn_err *err)
{
    const char *hash_text = json_string_value(json_object_get(request, "token"));
    const char *device_text = json_string_value(json_object_get(request, "device"));
    struct stn_digest hash;
    uint8_t device[STN_IDENT_PUBLIC], image[32];
    struct token token = {0};
    if (hash_text == NULL || device_text == NULL || !stn_digest_get_text(&hash, hash_text) ||
        !stn_hex_get(device, sizeof device, device_text)) {
        return stn_err_set(err, STN_INVALID, "enrol wants token and device, 64 hexadecimal digits each");
    }
    const struct stn_db_value key = stn_db_blob(hash.bytes, sizeof hash.bytes);
    enum stn_code code = stn_ident_dh_public(image, device, err);
    code = code == STN_OK ? stn_db_run(directory->db, "SELECT psk, expires_s, device, certificate FROM token WHERE hash = ?1",
                                       &key, 1, take_token, &token, err)
                          : code;
    if (code == STN_OK && !token.is_there) {
        code = stn_err_set(err, STN_DENIED, "there is no such token");
    } else if (code == STN_OK && token.is_bound && memcmp(token.device, device, sizeof device) != 0) {
        code = stn_err_set(err, STN_DENIED, "the token is spent: another device has it");
    } else if (code == STN_OK && !token.is_bound && token.expires_s < now_s) {
        code = stn_err_set(err, STN_DENIED, "the token has expired");
    } else if (code == STN_OK && !token.is_bound) {
        code = bind_token(directory, &hash, &token, device, now_s, err);
    }
    if (code == STN_OK) {
        char psk[2 * sizeof token.psk + 1], certificate[2 * sizeof token.certificate + 1];
        stn_hex_put(psk, token.psk, sizeof token.psk);
        stn_hex_put(certificate, token.certificate, sizeof token.certificate);
        (void)json_object_set_new(reply, "psk", json_string(psk));
        (void)json_object_set_new(reply, "certificate", json_string(certificate));
        stn_entropy_wipe(psk, sizeof psk);
    }
    stn_entropy_wipe(token.psk, sizeof token.psk);
    return code;
}

/* ---- questions ---- */

static enum stn_code do_key(struct stn_directory *directory, const json_t *request, uint64_t now_s, json_t *reply,
                            struct stn_err *err)
{
    (void)request;
    (void)now_s;
    (void)err;
    char key[2 * STN_IDENT_PUBLIC + 1];
    stn_hex_put(key, directory->key.pub, STN_IDENT_PUBLIC);
    (void)json_object_set_new(reply, "key", json_string(key));
    return STN_OK;
}

static enum stn_code do_status(struct stn_directory *directory, const json_t *request, uint64_t now_s, json_t *reply,
                               struct stn_err *err)
{
    (void)request;
    int64_t n_tokens = 0, n_devices = 0;
    const struct stn_db_value now = stn_db_i64((int64_t)now_s);
    enum stn_code code = stn_db_number(directory->db, "SELECT count(*) FROM token WHERE device IS NULL AND expires_s >= ?1",
                                       &now, 1, &n_tokens, err);
    code = code == STN_OK ? stn_db_number(directory->db, "SELECT count(DISTINCT device) FROM token WHERE device IS NOT NULL",
                                          NULL, 0, &n_devices, err)
                          : code;
    (void)json_object_set_new(reply, "tokens", json_integer(n_tokens));
    (void)json_object_set_new(reply, "devices", json_integer(n_devices));
    return code;
}

/* Who may sign up devices of his own makes a round of them: the coordinator must not be able to. */
static const struct {
    const char *name;
    bool doors[STN_DIRECTORY_DOORS];
    enum stn_code (*handle)(struct stn_directory *directory, const json_t *request, uint64_t now_s, json_t *reply,
                            struct stn_err *err);
} commands[] = {
    {"key", {true, true}, do_key},
    {"invite", {[STN_DIRECTORY_OPERATOR] = true}, do_invite},
    {"enrol", {[STN_DIRECTORY_COORDINATOR] = true}, do_enrol},
    {"status", {true, true}, do_status},
};

static enum stn_code handle(struct stn_directory *directory, enum stn_directory_door door, const json_t *request,
                            uint64_t now_s, json_t *reply, struct stn_err *err)
{
    const char *name = json_string_value(json_object_get(request, "command"));
    enum stn_code code = stn_err_set(err, STN_UNSUPPORTED, "the directory knows key, status and %s here",
                                     door == STN_DIRECTORY_OPERATOR ? "invite" : "enrol");
    for (size_t i = 0; name != NULL && i < sizeof commands / sizeof *commands; i++) {
        if (commands[i].doors[door] && strcmp(name, commands[i].name) == 0) {
            code = commands[i].handle(directory, request, now_s, reply, err);
            break;
        }
    }
    if (code == STN_OK) {
        code = stn_db_commit(directory->db, err);
    }
    stn_db_rollback(directory->db); /* of a failure: nothing of it was */
    return code;
}

void stn_directory_answer(struct stn_directory *directory, enum stn_directory_door door, const char *text, size_t size,
                          uint64_t now_s, struct stn_buf *reply)
{
    struct stn_err err = {0};
    json_t *request = json_loadb(text, size, 0, NULL), *object = json_pack("{sb}", "ok", 1);
    enum stn_code code = request == NULL ? stn_err_set(&err, STN_INVALID, "this is no JSON object")
                         : object == NULL ? stn_err_set(&err, STN_MEMORY, "no memory for an answer")
                                          : handle(directory, door, request, now_s, object, &err);
    if (code != STN_OK) {
        stn_log_err(STN_LOG_WARN, "refused", &err);
        json_decref(object);
        object = json_pack("{s{ss ss}}", "error", "code", stn_err_name(code), "text", err.text);
    }
    char *line = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    (void)stn_buf_add_str(reply, line == NULL ? "{\"error\":{\"code\":\"memory\",\"text\":\"no memory\"}}" : line);
    free(line);
    json_decref(object);
    json_decref(request);
}

/* ---- the process ---- */

static void on_request(void *user, struct stn_local_request *request)
{
    const struct door *door = user;
    struct stn_buf reply = {0};
    stn_directory_answer(door->directory, door->which, request->text, request->size, stn_loop_wall_ms() / 1000, &reply);
    stn_local_reply(request, (const char *)reply.data, reply.size);
    if (reply.data != NULL) {
        stn_entropy_wipe(reply.data, reply.size);
    }
    stn_buf_fini(&reply);
}

static void close_doors(struct stn_directory *directory)
{
    for (size_t i = 0; i < STN_DIRECTORY_DOORS; i++) {
        stn_local_close(directory->doors[i].local, NULL, NULL);
        directory->doors[i].local = NULL;
    }
}

static void on_signal(void *user, int number)
{
    struct stn_directory *directory = user;
    if (number != SIGHUP && directory->doors[0].local != NULL) {
        stn_log(STN_LOG_INFO, "stopping", "signal=%d", number);
        close_doors(directory);
    }
}

static enum stn_code open_door(struct stn_directory *directory, enum stn_directory_door which, const char *path,
                               int64_t group, struct stn_err *err)
{
    struct door *door = &directory->doors[which];
    *door = (struct door){.directory = directory, .which = which};
    return stn_local_listen(&door->local, directory->loop, path, group, on_request, door, err);
}

enum stn_code stn_directory_run(const char *config, struct stn_err *err)
{
    struct stn_settings_directory settings;
    struct stn_directory *directory = NULL;
    enum stn_code code = stn_settings_read_directory(&settings, config, err);
    code = code == STN_OK ? stn_directory_open(&directory, &settings, err) : code;
    if (code != STN_OK) {
        return code;
    }
    code = stn_loop_open(&directory->loop, err);
    code = code == STN_OK ? stn_loop_catch(directory->loop, on_signal, directory, err) : code;
    code = code == STN_OK ? open_door(directory, STN_DIRECTORY_OPERATOR, settings.invites, STN_LOCAL_OWNER, err) : code;
    code = code == STN_OK ? open_door(directory, STN_DIRECTORY_COORDINATOR, settings.socket, settings.group, err) : code;
    if (code == STN_OK) {
        char key[2 * STN_IDENT_PUBLIC + 1];
        stn_hex_put(key, directory->key.pub, STN_IDENT_PUBLIC);
        stn_log(STN_LOG_INFO, "directory", "socket=%s invites=%s key=%s", settings.socket, settings.invites, key);
    } else {
        close_doors(directory);
    }
    if (directory->loop != NULL) {
        stn_loop_run(directory->loop); /* after a failure: until what was opened is closed */
    }
    stn_loop_close(directory->loop);
    stn_directory_close(directory);
    return code;
}
