/* service: the coordinator as a process: it owns the loop and everything on it, and is handed to the files that do one
 * thing each: inbox (what devices ask), apply (events in, effects out), enrol (the directory), admin (operators).
 * Thread: the loop's. */
#ifndef STN_SERVER_SHELL_SERVICE_H
#define STN_SERVER_SHELL_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "blob/blob.h"
#include "channel/channel_server.h"
#include "crypto/ident.h"
#include "io/link.h"
#include "io/local.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "io/worker.h"
#include "server/core/coordinator.h"
#include "server/shell/adder.h"
#include "server/shell/pace.h"
#include "server/shell/settings.h"
#include "server/shell/spool.h"
#include "server/shell/store.h"
#include "server/shell/turn.h"

#define STN_SERVICE_SOCKET "operator.sock" /* in the coordinator's folder */
#define STN_SERVICE_SPARE 16                /* as many replies as may leave at the end of a turn */
#define STN_SERVICE_ASK_MS 5000            /* how long the directory may take to answer */

struct stn_service_round { /* what the shell itself needs to know of a round */
    struct stn_round_id round;
    struct stn_digest cfg;
    uint64_t upload_size;
};

struct stn_service {
    struct stn_settings settings;
    struct stn_ident identity;
    uint8_t directory_key[STN_IDENT_PUBLIC];
    int lock; /* of the folder */
    uint64_t started_ms;
    char kept[STN_FILE_PATH_MAX];
    struct stn_loop *loop;
    struct stn_mailbox *mailbox;
    struct stn_worker *worker; /* computes */
    struct stn_worker *asker;  /* one thread that waits for the directory */
    struct stn_store *store;
    struct stn_turn turn;
    struct stn_blob_store blobs;
    struct stn_spool spool;
    struct stn_adder *adder;
    struct stn_channel_server *channel;
    struct stn_link *link;
    struct stn_local *local;
    bool is_stopping; /* link and local are closed: nobody can be answered any more */

    /* apply's */
    struct stn_coordinator *coordinator;
    struct stn_server_effects effects;
    struct stn_timer wake;
    bool is_stepping;
    enum stn_code answer; /* of the last ANSWER */
    struct stn_service_round last_round;

    /* inbox's */
    stn_ticket last_ticket;
    struct stn_map tickets;  /* ticket -> struct ticket */
    struct stn_map requests; /* session, counter -> struct ticket */
    struct stn_list parked;  /* tickets that wait for news, the oldest first */
    struct stn_pace pace;    /* tickets that are about to be told */
    struct stn_buf read, plain, chunk; /* what a blob has; a reply in clear; a chunk, sealed */
    size_t n_spare;
    struct stn_buf spare[STN_SERVICE_SPARE]; /* what replies lay in */
};

/* Opens the folder of a config and everything in it, and listens. Errors name the file and say what to do: STN_EXISTS
 * when another process has the folder, or the address is in use. The caller closes *ret. */
enum stn_code stn_service_open(struct stn_service **ret, const char *config, struct stn_err *err) STN_CHECKED;

/* Until SIGTERM or SIGINT (SIGHUP changes nothing); then everything that is under way is brought to an end that a start goes
 * on from. */
void stn_service_run(struct stn_service *service);

/* NULL is fine. */
void stn_service_close(struct stn_service *service);

/* Reads the config, the keys and the state without serving anything: whether run would work. */
enum stn_code stn_service_check(struct stn_settings *ret, uint8_t ret_key[static STN_IDENT_PUBLIC], const char *config,
                                struct stn_err *err) STN_CHECKED;

#endif
