/* keys: secret keys and pinned public keys in a folder's keys/. A secret key is a file that its owner alone may read;
 * one that others can read is refused, whatever it holds. Thread: any. */
#ifndef STN_SERVER_SHELL_KEYS_H
#define STN_SERVER_SHELL_KEYS_H

#include <stdint.h>

#include "base/err.h"
#include "crypto/ident.h"

/* A new pair as a file of mode 0600. STN_EXISTS when there is a file. The caller wipes *ret with stn_ident_fini. */
enum stn_code stn_keys_make(struct stn_ident *ret, const char *path, struct stn_err *err) STN_CHECKED;
/* STN_DENIED when group or others may read it, or it is another user's. */
enum stn_code stn_keys_load(struct stn_ident *ret, const char *path, struct stn_err *err) STN_CHECKED;

/* A public key as a line of 64 hexadecimal digits. */
enum stn_code stn_keys_put_public(const uint8_t key[static STN_IDENT_PUBLIC], const char *path,
                                  struct stn_err *err) STN_CHECKED;
enum stn_code stn_keys_get_public(uint8_t ret[static STN_IDENT_PUBLIC], const char *path, struct stn_err *err) STN_CHECKED;

#endif
