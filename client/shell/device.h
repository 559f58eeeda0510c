/* device: one agent as a thing that runs: its folder, its loop and everything on it. It is handed to the files that do
 * one thing each: carry (events into the core, effects out of it), control (the local socket).
 * Thread: the loop's. Another thread speaks to it as everybody does: over the socket. */
#ifndef STN_CLIENT_SHELL_DEVICE_H
#define STN_CLIENT_SHELL_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "blob/blob.h"
#include "client/core/agent.h"
#include "client/shell/conditions_host.h"
#include "client/shell/dialog.h"
#include "client/shell/fetch.h"
#include "client/shell/journal.h"
#include "client/shell/owner.h"
#include "client/shell/place.h"
#include "client/shell/send.h"
#include "client/shell/work.h"
#include "io/local.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "io/worker.h"

#define STN_DEVICE_TICK_MS 3000 /* conditions are read again so often */

enum stn_device_job { /* the one that is under way */
    STN_DEVICE_NO_JOB = 0,
    STN_DEVICE_FETCH,
    STN_DEVICE_TRAIN,
    STN_DEVICE_ENCODE,
    STN_DEVICE_SEND,
    STN_DEVICE_INSTALL
};

/* Where many devices live in one process: a loop and threads of others, no local socket, and what stands in for the
 * work. Everything else is as in a process of its own, also the folder. */
struct stn_device_host {
    struct stn_loop *loop;
    struct stn_mailbox *mailbox;
    struct stn_worker *worker;
    void (*work)(struct stn_job *job); /* as stn_work_run */
    void (*closed)(void *user);        /* a device was stopped, and is off the loop */
    void *user;
};

struct stn_device {
    const struct stn_device_host *host; /* NULL: loop, mailbox and worker are its own */
    char config[STN_FILE_PATH_MAX];     /* the owner's file */
    struct stn_owner owner;
    struct stn_place place;
    struct stn_ident identity;
    struct stn_ident_cert certificate;
    struct stn_blob_store store;
    struct stn_journal journal;
    int lock;
    struct stn_loop *loop;
    struct stn_mailbox *mailbox;
    struct stn_worker *worker;
    struct stn_dialog *dialog;
    struct stn_local *local;
    uint64_t started_ms;
    bool is_stopping;

    /* carry's */
    struct stn_agent *core;
    uint8_t *packed; /* (packed_size) the vector of the round in hand, once it is encoded; a restart leaves that round */
    uint64_t packed_size;
    struct stn_delta made; /* of the lease in hand, until it is encoded; after a restart it is in its file alone */
    struct stn_roster_known known; /* neighbours' certificates */
    struct stn_client_effects effects;
    bool is_stepping;
    struct stn_list events; /* that came while it stepped */
    struct stn_timer wake;
    struct stn_dialog_ask ask;
    uint64_t ask_number;
    enum stn_device_job job;
    bool is_cancelled;
    struct stn_client_effect doing; /* what the job is of */
    struct stn_fetch fetch;
    struct stn_send send;
    struct stn_work work;
    struct stn_digest model; /* of the owner's own base model; zero: there is none */
    enum stn_code last_code; /* what went wrong last, for status */
    char last_error[256];

    /* conditions */
    struct stn_conditions_host conditions;
    bool is_paused, may_work;
    struct stn_timer tick, end;
    uint64_t data_time[STN_MSG_TASKS]; /* of the data's files, to notice what the owner changes */

    void (*changed)(void *user); /* after every step and every look at the conditions; NULL: nobody wants to know */
    void *user;
};

/* Opens what agent.conf names; a NULL path is the default one. Errors say what to do: STN_NOT_FOUND when the device has
 * not joined, STN_EXISTS when another process has the folder. The caller closes *ret. */
enum stn_code stn_device_open(struct stn_device **ret, const char *config, struct stn_err *err) STN_CHECKED;

/* The same in a host, which outlives it. stn_device_start, then stn_device_stop; it may be closed once that was told, or
 * when the loop has ended. */
enum stn_code stn_device_open_in(struct stn_device **ret, const struct stn_device_host *host, const char *config,
                                 struct stn_err *err) STN_CHECKED;
void stn_device_start(struct stn_device *device);

/* Until stn_device_stop, SIGTERM or SIGINT (when catch_signals; SIGHUP is stn_device_reread); what is under way is stopped,
 * and goes on at the next start. */
enum stn_code stn_device_run(struct stn_device *device, bool catch_signals, struct stn_err *err) STN_CHECKED;
void stn_device_close(struct stn_device *device); /* NULL is fine */

void stn_device_stop(struct stn_device *device);
/* After the answers that are on their way. */
void stn_device_stop_soon(struct stn_device *device);

/* What the owner says now of data, floors and conditions holds from here on; training and uploads that begin keep to the new
 * settings. A file that cannot be read, and a setting that cannot change while the agent runs, are a line of the log, and all
 * or that is as it was. */
void stn_device_reread(struct stn_device *device);

enum stn_code stn_device_pause(struct stn_device *device, bool is_paused, struct stn_err *err) STN_CHECKED;

#endif
