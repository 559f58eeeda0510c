#include "client/shell/joining.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "channel/url.h"
#include "client/shell/dialog.h"
#include "client/shell/owner.h"
#include "client/shell/place.h"
#include "crypto/entropy.h"
#include "io/loop.h"
#include "io/mailbox.h"

#define TICK_MS 100

const char *const stn_joining_places[] = {
    "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Arch, Alpine */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
    "/etc/pki/tls/certs/ca-bundle.crt",                  /* older ones of these */
    "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
    "/etc/ssl/cert.pem",                                 /* Alpine, BSD, macOS */
    NULL,
};

struct way { /* to the coordinator */
    char url[STN_URL_LINK];
    char tls_ca[STN_OWNER_TEXT]; /* "": none */
};

struct talk { /* one try on a loop of its own */
    struct stn_loop *loop;
    struct stn_mailbox *mailbox;
    struct stn_dialog *dialog;
    struct stn_timer tick;
    uint64_t deadline_ms;
    bool (*stopping)(void);
    bool is_over;
    enum stn_code code;
    struct stn_ident_cert certificate;
    bool has_certificate;
};

/* ---- the conversation ---- */

static void on_closed(void *user)
{
    struct talk *talk = user;
    stn_mailbox_close(talk->mailbox, NULL, NULL);
}

static void end(struct talk *talk, enum stn_code code)
{
    if (!talk->is_over) {
        talk->is_over = true;
        talk->code = code;
        stn_loop_disarm(talk->loop, &talk->tick);
        stn_dialog_close(talk->dialog, on_closed, talk);
    }
}

/* Not every refusal is the last word: the directory may just be starting. Nor is silence, until the time is over. */
static void on_greeted(void *user, enum stn_code code, const struct stn_ident_cert *enrolled)
{
    struct talk *talk = user;
    talk->code = code;
    if (code == STN_OK && enrolled != NULL) {
        talk->certificate = *enrolled;
        talk->has_certificate = true;
    }
    if (code == STN_OK || code == STN_DENIED || code == STN_UNSUPPORTED || code == STN_INVALID) {
        end(talk, code == STN_OK && !talk->has_certificate ? STN_DENIED : code);
    }
}

static void on_tick(struct stn_timer *timer)
{
    struct talk *talk = STN_LIST_OF(timer, struct talk, tick);
    if (talk->stopping != NULL && talk->stopping()) {
        end(talk, STN_CANCELLED);
    } else if (stn_loop_now_ms(talk->loop) >= talk->deadline_ms) {
        end(talk, talk->code == STN_OK ? STN_IO : talk->code);
    } else {
        stn_loop_arm(talk->loop, &talk->tick, TICK_MS);
    }
}

static enum stn_code enrol(const struct stn_joining *joining, const struct stn_url *url, const struct way *way,
                           const struct stn_ident *device, struct talk *talk, struct stn_err *err)
{
    enum stn_code code = stn_loop_open(&talk->loop, err);
    code = code == STN_OK ? stn_mailbox_open(&talk->mailbox, talk->loop, err) : code;
    const struct stn_dialog_config config = {.loop = talk->loop, .mailbox = talk->mailbox, .url = way->url, .tls_ca = way->tls_ca,
                                             .device = device, .key = url->key, .directory = url->directory,
                                             .token = url->token, .greeted = on_greeted, .user = talk};
    code = code == STN_OK ? stn_dialog_open(&talk->dialog, &config, err) : code;
    if (code != STN_OK) {
        stn_mailbox_close(talk->mailbox, NULL, NULL);
        if (talk->loop != NULL) {
            stn_loop_run(talk->loop);
            stn_loop_close(talk->loop);
        }
        return code;
    }
    talk->stopping = joining->stopping;
    talk->code = STN_IO;
    talk->tick.fire = on_tick;
    talk->deadline_ms = stn_loop_now_ms(talk->loop) + joining->timeout_ms;
    stn_loop_arm(talk->loop, &talk->tick, TICK_MS);
    stn_dialog_greet(talk->dialog);
    stn_loop_run(talk->loop);
    stn_loop_close(talk->loop);
    return STN_OK;
}

static enum stn_code explain(enum stn_code code, const struct stn_url *url, struct stn_err *err)
{
    switch (code) {
    case STN_OK:
        return STN_OK;
    case STN_DENIED:
        return stn_err_set(err, code, "%s:%u refuses this device: the token is spent, expired or another device's, or the "
                                      "URL's keys are not this fleet's: ask for a new join URL", url->host, url->port);
    case STN_UNSUPPORTED:
        return stn_err_set(err, code, "%s:%u speaks no version of the protocol that this program does: update one of them",
                           url->host, url->port);
    case STN_CANCELLED:
        return stn_err_set(err, code, "stopped: join again with the same URL");
    case STN_IO:
    case STN_AGAIN:
    case STN_NOT_FOUND:
        return stn_err_set(err, STN_IO, "%s:%u does not answer with the key of this URL: is it the right address, is sternad "
                                        "running there, is its directory%s?", url->host, url->port,
                           stn_url_is_tls(url) ? ", does --tls-ca vouch for it" : "");
    default:
        return stn_err_set(err, code, "%s:%u: the handshake failed: %s", url->host, url->port, stn_err_name(code));
    }
}

/* ---- files ---- */

static enum stn_code paths(const struct stn_joining *joining, struct stn_joining_result *ret, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    if (joining->dir != NULL) { /* the config names it, and may be elsewhere: make it absolute */
        char *whole = NULL;
        code = stn_file_make_folder(joining->dir, 0700, err);
        if (code == STN_OK) {
            whole = realpath(joining->dir, NULL);
            bool ok = whole != NULL && stn_str_copy(ret->folder, sizeof ret->folder, whole);
            code = ok ? STN_OK : stn_err_set(err, STN_IO, "%s: the folder has no usable path", joining->dir);
            free(whole);
        }
    } else {
        code = stn_owner_default_folder(ret->folder, err);
    }
    if (code != STN_OK) {
        return code;
    }
    if (joining->config != NULL) {
        return stn_str_copy(ret->config, sizeof ret->config, joining->config)
                   ? STN_OK
                   : stn_err_set(err, STN_LIMIT, "%.80s...: the path is too long", joining->config);
    }
    return joining->dir != NULL ? stn_file_join(ret->config, ret->folder, "agent.conf", err)
                                : stn_owner_default_config(ret->config, err);
}

const char *stn_joining_authorities(const char *const *places)
{
    while (*places != NULL && access(*places, R_OK) != 0) {
        places++;
    }
    return *places;
}

/* Absolute, because agent.conf names it. */
static enum stn_code find_way(const struct stn_joining *joining, const struct stn_url *url, struct way *ret, struct stn_err *err)
{
    stn_url_put_link(url, ret->url);
    ret->tls_ca[0] = '\0';
    if (!stn_url_is_tls(url)) {
        return joining->tls_ca == NULL ? STN_OK : stn_err_set(err, STN_INVALID, "--tls-ca: this URL is not over TLS");
    }
    const char *tls_ca = joining->tls_ca != NULL ? joining->tls_ca : stn_joining_authorities(stn_joining_places);
    if (tls_ca == NULL) {
        return stn_err_set(err, STN_NOT_FOUND, "no authorities in one file where systems have them: name one (--tls-ca FILE)");
    }
    char *whole = realpath(tls_ca, NULL);
    bool ok = whole != NULL && stn_str_copy(ret->tls_ca, sizeof ret->tls_ca, whole);
    free(whole);
    return ok ? STN_OK : stn_err_set(err, STN_NOT_FOUND, "%.200s: no file of authorities there (--tls-ca)", tls_ca);
}

/* An agent.conf that is there is the owner's: it may only be of the same fleet. */
static enum stn_code check_config(const struct stn_joining_result *result, const struct stn_url *url, struct stn_err *err)
{
    struct stn_owner owner;
    enum stn_code code = stn_owner_read(&owner, result->config, err);
    if (code == STN_OK && (memcmp(owner.key, url->key, sizeof owner.key) != 0 ||
                           memcmp(owner.directory, url->directory, sizeof owner.directory) != 0)) {
        code = stn_err_set(err, STN_EXISTS, "%s is for another fleet: name another --config, or move it away",
                           result->config);
    }
    return code;
}

static enum stn_code write_config(const struct stn_joining *joining, const struct stn_joining_result *result,
                                  const struct stn_url *url, const struct way *way, struct stn_err *err)
{
    struct stn_buf text = {0};
    char folder[STN_FILE_PATH_MAX];
    const char *slash = strrchr(result->config, '/');
    enum stn_code code = stn_owner_write(&text, way->url, way->tls_ca, url->key, url->directory,
                                         joining->dir == NULL ? NULL : result->folder, err);
    if (code == STN_OK && slash != NULL && slash != result->config) {
        (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - result->config), result->config);
        code = stn_file_make_folder(folder, 0700, err);
    }
    code = code == STN_OK ? stn_file_replace(result->config, text.data, text.size, STN_FILE_MODE, err) : code;
    stn_buf_fini(&text);
    return code;
}

static enum stn_code join_place(const struct stn_joining *joining, const struct stn_url *url, const struct way *way,
                                const struct stn_place *place, struct stn_joining_result *result, struct stn_err *err)
{
    struct talk talk = {0};
    struct stn_ident identity = {0};
    struct stn_ident_cert certificate;
    enum stn_code code = stn_place_identity(place, true, &identity, err);
    if (code == STN_OK && stn_place_certificate(place, identity.pub, url->directory, &certificate, err) == STN_DENIED) {
        code = stn_err_set(err, STN_EXISTS, "%s: this folder's device belongs to another fleet: name another --dir",
                           place->folder);
    }
    code = code == STN_OK ? enrol(joining, url, way, &identity, &talk, err) : code;
    code = code == STN_OK ? explain(talk.code, url, err) : code;
    code = code == STN_OK ? stn_place_keep_certificate(place, &talk.certificate, err) : code;
    if (code == STN_OK) {
        memcpy(result->device, identity.pub, sizeof result->device);
    }
    stn_ident_fini(&identity);
    return code;
}

enum stn_code stn_joining_run(const struct stn_joining *joining, struct stn_joining_result *ret, struct stn_err *err)
{
    struct stn_url url;
    struct stn_place place;
    struct stn_joining_result result = {0};
    struct way way;
    char path[STN_FILE_PATH_MAX];
    int lock = -1;
    enum stn_code code = stn_url_get(&url, joining->url, err);
    if (code == STN_OK && !url.has_token) {
        code = stn_err_set(err, STN_INVALID, "the URL has no token: a device joins with the whole URL of an invite");
    }
    code = code == STN_OK ? find_way(joining, &url, &way, err) : code;
    code = code == STN_OK ? paths(joining, &result, err) : code;
    if (code != STN_OK) {
        goto out;
    }
    result.kept_config = stn_file_exists(result.config);
    code = result.kept_config ? check_config(&result, &url, err) : STN_OK;
    code = code == STN_OK ? stn_place_open(&place, result.folder, err) : code;
    if (code == STN_OK) {
        stn_place_path(&place, "lock", path);
        code = stn_file_lock(&lock, path, err);
    }
    code = code == STN_OK ? join_place(joining, &url, &way, &place, &result, err) : code;
    code = code == STN_OK && !result.kept_config ? write_config(joining, &result, &url, &way, err) : code;
    stn_file_close(lock);
out:
    stn_entropy_wipe(&url, sizeof url);
    if (code == STN_OK) {
        *ret = result;
    }
    return code;
}
