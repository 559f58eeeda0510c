#include "server/shell/keys.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hex.h"
#include "crypto/entropy.h"
#include "io/file.h"

#define PUBLIC_TEXT (2 * STN_IDENT_PUBLIC)

enum stn_code stn_keys_make(struct stn_ident *ret, const char *path, struct stn_err *err)
{
    uint8_t bytes[STN_IDENT_FILE];
    struct stn_ident ident;
    if (stn_file_exists(path)) {
        return stn_err_set(err, STN_EXISTS, "%s: there is a key already", path);
    }
    stn_ident_new(&ident);
    stn_ident_put(&ident, bytes);
    enum stn_code code = stn_file_replace(path, bytes, sizeof bytes, STN_FILE_SECRET, err);
    stn_entropy_wipe(bytes, sizeof bytes);
    if (code == STN_OK) {
        *ret = ident;
    }
    stn_entropy_wipe(&ident, sizeof ident);
    return code;
}

static enum stn_code check_mode(const char *path, struct stn_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return errno == ENOENT ? stn_err_set(err, STN_NOT_FOUND, "%s: the key is missing: sternad init makes one", path)
                               : stn_err_errno(err, errno, "%s", path);
    }
    if ((st.st_mode & 0077) != 0) {
        return stn_err_set(err, STN_DENIED, "%s: others may read this key (mode %04o): chmod 600 it, or make a new one",
                           path, (unsigned)(st.st_mode & 07777));
    }
    if (st.st_uid != geteuid()) {
        return stn_err_set(err, STN_DENIED, "%s: the key belongs to user %u, this process runs as %u", path,
                           (unsigned)st.st_uid, (unsigned)geteuid());
    }
    return STN_OK;
}

enum stn_code stn_keys_load(struct stn_ident *ret, const char *path, struct stn_err *err)
{
    enum stn_code code = check_mode(path, err);
    if (code != STN_OK) {
        return code;
    }
    struct stn_buf bytes = {0};
    code = stn_file_read(path, STN_IDENT_FILE, &bytes, err);
    if (code == STN_OK) {
        code = stn_ident_get(ret, bytes.data, bytes.size, err);
        if (code != STN_OK) {
            (void)stn_err_prefix(err, "%s", path);
        }
    }
    if (bytes.data != NULL) {
        stn_entropy_wipe(bytes.data, bytes.size);
    }
    stn_buf_fini(&bytes);
    return code;
}

enum stn_code stn_keys_put_public(const uint8_t key[static STN_IDENT_PUBLIC], const char *path, struct stn_err *err)
{
    char text[PUBLIC_TEXT + 1];
    stn_hex_put(text, key, STN_IDENT_PUBLIC);
    text[PUBLIC_TEXT] = '\n';
    return stn_file_replace(path, text, sizeof text, STN_FILE_MODE, err);
}

enum stn_code stn_keys_get_public(uint8_t ret[static STN_IDENT_PUBLIC], const char *path, struct stn_err *err)
{
    struct stn_buf text = {0};
    enum stn_code code = stn_file_read(path, PUBLIC_TEXT + 2, &text, err);
    if (code == STN_OK) {
        while (text.size > 0 && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r')) {
            text.size--;
        }
        bool ok = text.size == PUBLIC_TEXT && stn_buf_add_u8(&text, 0) &&
                  stn_hex_get(ret, STN_IDENT_PUBLIC, (const char *)text.data);
        code = ok ? STN_OK : stn_err_set(err, STN_CORRUPT, "%s: expected one line of %d hexadecimal digits", path, PUBLIC_TEXT);
    }
    stn_buf_fini(&text);
    return code;
}
