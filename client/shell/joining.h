/* joining: the first contact of a device with a fleet. The join URL names the coordinator's and the directory's keys,
 * which are pinned from here on, and a one-time token; what comes back is the directory's certificate for a new
 * identity. Everything that the agent needs is then on disk: keys, certificate, agent.conf.
 *
 * A device that is interrupted joins again with the same URL: its identity was kept, and a token may be repeated by the
 * identity it was bound to. Thread: the main one; it blocks. */
#ifndef STN_CLIENT_SHELL_JOINING_H
#define STN_CLIENT_SHELL_JOINING_H

#include <stdbool.h>

#include "base/err.h"
#include "crypto/ident.h"
#include "io/file.h"

struct stn_joining {
    const char *url;    /* sterna://... */
    const char *dir;    /* the agent's folder; NULL: the default one */
    const char *config; /* agent.conf; NULL: in dir, or the default one */
    const char *tls_ca; /* PEM file of the authorities to believe, where the URL is over TLS; NULL: the system's */
    uint32_t timeout_ms;
    bool (*stopping)(void); /* NULL: never */
};

struct stn_joining_result {
    char folder[STN_FILE_PATH_MAX], config[STN_FILE_PATH_MAX];
    uint8_t device[STN_IDENT_PUBLIC];
    bool kept_config; /* there was an agent.conf already: it was not touched */
};

/* Where systems have their authorities in one file, and the first of places that is there; NULL ends a list, and is what comes of
 * none. Android and iOS have no such file: an app brings its own. */
extern const char *const stn_joining_places[];
const char *stn_joining_authorities(const char *const *places);

/* STN_INVALID: the URL, or a tls_ca that is not for it; STN_NOT_FOUND: there is no tls_ca; STN_DENIED: the token is spent,
 * unknown or another device's, or a key is wrong; STN_IO: nobody answers there; STN_EXISTS: the folder belongs to another
 * fleet. */
enum stn_code stn_joining_run(const struct stn_joining *joining, struct stn_joining_result *ret, struct stn_err *err) STN_CHECKED;

#endif
