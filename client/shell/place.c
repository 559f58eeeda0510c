#include "client/shell/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "crypto/entropy.h"

#define KEY "keys/device.key"
#define CERTIFICATE "keys/device.cert"
#define PAUSED "paused"

static const char *const folders[] = {"keys", "models", "work", "adapters", "evidence"};
static const char *const files[] = {"agent.state", "spent", PAUSED};

enum stn_code stn_place_open(struct stn_place *ret, const char *folder, struct stn_err *err)
{
    struct stn_place place;
    if (!stn_str_copy(place.folder, sizeof place.folder, folder)) {
        return stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %zu bytes", folder, sizeof place.folder - 1);
    }
    enum stn_code code = stn_file_make_folder(folder, 0700, err);
    for (size_t i = 0; i < sizeof folders / sizeof *folders && code == STN_OK; i++) {
        char path[STN_FILE_PATH_MAX];
        stn_place_path(&place, folders[i], path);
        code = stn_file_make_folder(path, 0700, err);
    }
    if (code == STN_OK) {
        *ret = place;
    }
    return code;
}

void stn_place_path(const struct stn_place *place, const char *name, char ret[static STN_FILE_PATH_MAX])
{
    (void)snprintf(ret, STN_FILE_PATH_MAX, "%s/%.200s", place->folder, name);
}

void stn_place_adapter(const struct stn_place *place, const char *task, char ret[static STN_FILE_PATH_MAX])
{
    (void)snprintf(ret, STN_FILE_PATH_MAX, "%s/adapters/%.100s.gguf", place->folder, task);
}

/* ---- identity ---- */

static enum stn_code check_mode(const char *path, struct stn_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    if ((st.st_mode & 0077) != 0) {
        return stn_err_set(err, STN_DENIED, "%s: others may read this key (mode %04o): chmod 600 it, or forget it and join again",
                           path, (unsigned)(st.st_mode & 07777));
    }
    return STN_OK;
}

static enum stn_code make_identity(const char *path, struct stn_ident *ret, struct stn_err *err)
{
    uint8_t bytes[STN_IDENT_FILE];
    struct stn_ident ident;
    stn_ident_new(&ident);
    stn_ident_put(&ident, bytes);
    enum stn_code code = stn_file_replace(path, bytes, sizeof bytes, STN_FILE_SECRET, err);
    stn_entropy_wipe(bytes, sizeof bytes);
    if (code == STN_OK) {
        *ret = ident;
    }
    stn_ident_fini(&ident);
    return code;
}

enum stn_code stn_place_identity(const struct stn_place *place, bool may_make, struct stn_ident *ret, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf bytes = {0};
    stn_place_path(place, KEY, path);
    if (!stn_file_exists(path)) {
        return may_make ? make_identity(path, ret, err)
                        : stn_err_set(err, STN_NOT_FOUND, "%s: this device has not joined: sterna join URL", path);
    }
    enum stn_code code = check_mode(path, err);
    code = code == STN_OK ? stn_file_read(path, STN_IDENT_FILE, &bytes, err) : code;
    if (code == STN_OK && stn_ident_get(ret, bytes.data, bytes.size, err) != STN_OK) {
        code = stn_err_prefix(err, "%s", path);
    }
    if (bytes.data != NULL) {
        stn_entropy_wipe(bytes.data, bytes.size);
    }
    stn_buf_fini(&bytes);
    return code;
}

enum stn_code stn_place_certificate(const struct stn_place *place, const uint8_t device[static STN_IDENT_PUBLIC],
                                    const uint8_t directory[static STN_IDENT_PUBLIC], struct stn_ident_cert *ret,
                                    struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf bytes = {0};
    struct stn_ident_cert certificate;
    stn_place_path(place, CERTIFICATE, path);
    if (!stn_file_exists(path)) {
        return stn_err_set(err, STN_NOT_FOUND, "%s: this device is not enrolled: sterna join URL", path);
    }
    enum stn_code code = stn_file_read(path, STN_IDENT_CERT, &bytes, err);
    if (code == STN_OK && bytes.size != STN_IDENT_CERT) {
        code = stn_err_set(err, STN_CORRUPT, "%s: %zu bytes, a certificate has %d", path, bytes.size, STN_IDENT_CERT);
    }
    if (code == STN_OK) {
        stn_ident_cert_get(&certificate, bytes.data);
        code = stn_ident_cert_verify(&certificate, directory, err);
        if (code == STN_OK && memcmp(certificate.device, device, STN_IDENT_PUBLIC) != 0) {
            code = stn_err_set(err, STN_DENIED, "it is another device's");
        }
        if (code != STN_OK) {
            (void)stn_err_prefix(err, "%s", path);
        }
    }
    stn_buf_fini(&bytes);
    if (code == STN_OK) {
        *ret = certificate;
    }
    return code;
}

enum stn_code stn_place_keep_certificate(const struct stn_place *place, const struct stn_ident_cert *certificate,
                                         struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    uint8_t bytes[STN_IDENT_CERT];
    stn_place_path(place, CERTIFICATE, path);
    stn_ident_cert_put(certificate, bytes);
    return stn_file_replace(path, bytes, sizeof bytes, STN_FILE_MODE, err);
}

/* ---- the owner's word ---- */

bool stn_place_is_paused(const struct stn_place *place)
{
    char path[STN_FILE_PATH_MAX];
    stn_place_path(place, PAUSED, path);
    return stn_file_exists(path);
}

enum stn_code stn_place_pause(const struct stn_place *place, bool is_paused, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    stn_place_path(place, PAUSED, path);
    if (is_paused) {
        return stn_file_replace(path, "paused\n", 7, STN_FILE_MODE, err);
    }
    return stn_file_exists(path) ? stn_file_remove(path, err) : STN_OK;
}

enum stn_code stn_place_forget(const struct stn_place *place, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = STN_OK;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && code == STN_OK; i++) { /* the key goes first */
        stn_place_path(place, folders[i], path);
        code = stn_file_exists(path) ? stn_file_remove_tree(path, err) : STN_OK;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files && code == STN_OK; i++) {
        stn_place_path(place, files[i], path);
        code = stn_file_exists(path) ? stn_file_remove(path, err) : STN_OK;
    }
    return code;
}
