/* owner: what the device's owner has decided: agent.conf. No line here, no part: a task is trained for only when the
 * owner names the data for it.
 *
 *   [server]      url, key, directory, tls_ca
 *   [agent]       dir, n_min, allow_plain, threads, memory, rank, backend, model, upload_kbps, retry_ms, retry_most_ms
 *   [data]        TASK = PATH (or data.TASK = PATH): JSONL
 *   [conditions]  require_ac, allow_metered, max_temp_c, max_load, min_battery, idle_s, hours
 *
 * Relative paths start in the folder of the file. Thread: any. */
#ifndef STN_CLIENT_SHELL_OWNER_H
#define STN_CLIENT_SHELL_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "io/file.h"
#include "proto/msg.h"

#define STN_OWNER_TEXT 1024
#define STN_OWNER_N_MIN 16      /* the floor when the owner says nothing */
#define STN_OWNER_N_MIN_LEAST 5 /* fewer hide nobody */

struct stn_owner_data {
    char task[STN_MSG_NAME];
    char path[STN_OWNER_TEXT];
};

/* When the device may work; what is 0 or no is not asked for. */
struct stn_owner_conditions {
    bool require_ac;
    bool allow_metered;
    double max_temp_c;
    double max_load;    /* of the last minute, for each processor */
    double min_battery; /* percent, when not on mains */
    uint64_t idle_s;    /* nobody has typed on a terminal of this machine for so long */
    bool has_hours;
    uint32_t from_hour, to_hour; /* local time; from 22 to 6 goes over midnight */
};

/* What computes; auto: a trial says (compute/model/choose.h). */
enum stn_owner_backend { STN_OWNER_AUTO, STN_OWNER_CPU, STN_OWNER_VULKAN };

struct stn_owner {
    char url[STN_OWNER_TEXT];      /* as io/link.h takes it */
    uint8_t key[32], directory[32]; /* pinned: the coordinator's and the directory's */
    char tls_ca[STN_OWNER_TEXT];
    char folder[STN_OWNER_TEXT];   /* the agent's state */
    char model[STN_OWNER_TEXT];    /* a base model that is here already; "": none */
    uint64_t n_min, threads, memory, rank;
    bool allow_plain;              /* takes part in rounds without secure aggregation, too */
    int backend;                   /* enum stn_owner_backend */
    uint64_t upload_kbps;          /* 1000 bits a second; 0: as fast as it goes */
    uint64_t retry_ms, retry_most_ms;
    struct stn_owner_conditions conditions;
    uint32_t n_data;
    struct stn_owner_data data[STN_MSG_TASKS];
};

/* STN_INVALID names the file and the line, and what was expected. */
enum stn_code stn_owner_read(struct stn_owner *ret, const char *path, struct stn_err *err) STN_CHECKED;

/* The path of the data for a task; NULL: the owner does not allow it. */
const char *stn_owner_data(const struct stn_owner *owner, const char *task);

/* How many examples a JSONL file has at most: lines that are not blank. */
enum stn_code stn_owner_count(const char *path, uint64_t *ret, struct stn_err *err) STN_CHECKED;

/* $XDG_CONFIG_HOME/sterna/agent.conf and $XDG_STATE_HOME/sterna. STN_NOT_FOUND when there is no home either. */
enum stn_code stn_owner_default_config(char ret[static STN_FILE_PATH_MAX], struct stn_err *err) STN_CHECKED;
enum stn_code stn_owner_default_folder(char ret[static STN_FILE_PATH_MAX], struct stn_err *err) STN_CHECKED;

/* Appends an agent.conf with a comment on each setting, for a device that has just joined. tls_ca "": none. dir may be
 * NULL: the default folder. */
enum stn_code stn_owner_write(struct stn_buf *buf, const char *url, const char *tls_ca, const uint8_t key[static 32],
                              const uint8_t directory[static 32], const char *dir, struct stn_err *err) STN_CHECKED;

#endif
