/* settings: sternad.conf and directory.conf, and where everything lies. Paths in a config are relative to its folder,
 * which is the coordinator's (or the directory's) folder. Thread: any. */
#ifndef STN_SERVER_SHELL_SETTINGS_H
#define STN_SERVER_SHELL_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/file.h"

#define STN_SETTINGS_URL 1024
#define STN_SETTINGS_PATH 1024

struct stn_settings { /* of a coordinator */
    char folder[STN_SETTINGS_PATH];  /* that holds the config */
    char listen[STN_SETTINGS_URL];   /* link.h: tcp://0.0.0.0:7740 */
    char directory[STN_SETTINGS_PATH]; /* the directory's socket */
    char tls_cert_key[STN_SETTINGS_PATH]; /* "": none */
    uint64_t requests;               /* held at once */
    uint64_t sessions;               /* open at once */
    uint64_t threads;                /* workers; 0: as many as processors */
    uint64_t snapshot;               /* updates that are added between two snapshots of a sum */
    int log_level;                   /* enum stn_log_level */
    bool keep_updates;               /* [debug] */
};

/* One entry of the coordinator's folder, "NAME" or "A/B". STN_LIMIT when the path is too long. */
enum stn_code stn_settings_path(const struct stn_settings *settings, const char *name, char ret[static STN_FILE_PATH_MAX],
                                struct stn_err *err) STN_CHECKED;

/* STN_INVALID names the file, the line and what was expected. */
enum stn_code stn_settings_read(struct stn_settings *ret, const char *path, struct stn_err *err) STN_CHECKED;

struct stn_settings_directory {
    char folder[STN_SETTINGS_PATH];
    char socket[STN_SETTINGS_PATH];  /* where the coordinator asks */
    char invites[STN_SETTINGS_PATH]; /* where operators ask */
    char group_name[64];
    int64_t group;                   /* whose members may open socket; STN_LOCAL_OWNER: its owner alone */
    uint64_t token_days;             /* how long an invite is good for */
    char address[256];               /* of join URLs: as stn_url_get_place takes it */
    char coordinator[65];            /* whose key they have: hexadecimal */
};

enum stn_code stn_settings_read_directory(struct stn_settings_directory *ret, const char *path,
                                          struct stn_err *err) STN_CHECKED;

#define STN_SETTINGS_LISTEN "tcp://0.0.0.0:7740"
#define STN_SETTINGS_ADDRESS "127.0.0.1:7740"

struct stn_settings_new {
    const char *folder;
    const char *listen;
    const char *address;   /* HOST:PORT, over what listen says, or with tcp://, tls+tcp://, ws:// or wss:// */
    const char *directory; /* the directory's folder; NULL: FOLDER/directory, else that is a link to it */
    const char *group;     /* that the coordinator's user is in, when the directory is another user's; else NULL */
};

/* Whether devices could connect there, and be told so in a join URL, by the looks of it: STN_INVALID. */
enum stn_code stn_settings_check(const struct stn_settings_new *settings, struct stn_err *err) STN_CHECKED;

/* Makes a coordinator's folder with its sternad.conf, its keys, an empty state, and the directory's with its own. With a
 * group, the directory's folder lets that group through, to the one socket that is for it; everything else is its owner's
 * alone. STN_EXISTS when there is a sternad.conf: nothing was changed. Both public keys are returned. */
enum stn_code stn_settings_init(const struct stn_settings_new *settings, uint8_t ret_key[static 32],
                                uint8_t ret_directory[static 32], struct stn_err *err) STN_CHECKED;

#endif
