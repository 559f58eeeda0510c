/* event: what happens to the coordinator, and when. The core's only clock is event.now_ms; its only
 * randomness is the generator in its state. Everything in an event is borrowed for the step.
 * Thread: values. */
#ifndef STN_SERVER_CORE_EVENT_H
#define STN_SERVER_CORE_EVENT_H

#include "proto/msg.h"
#include "server/core/record.h"

/* Who waits for a reply. The shell makes them up and uses each once; 0 is none. A ticket is replied
 * to once, unless it is lost first. */
typedef uint64_t stn_ticket;

enum stn_server_event_type {
    STN_SERVER_RESTORE, /* before START: one record of what was on disk */
    STN_SERVER_START, /* all records are restored: set the clock going, finish what was under way */
    STN_SERVER_TIME,  /* the time asked for by WAKE has come (or is past) */
    STN_SERVER_TASK_CREATE, /* an operator's new task, with its first version; answered by ANSWER.
                               The same again is STN_OK, another of that name STN_EXISTS, a spec
                               that cannot be STN_INVALID */
    STN_SERVER_TASK_PAUSE,  /* no new leases and cohorts; what is under way ends */
    STN_SERVER_TASK_RESUME,
    STN_SERVER_DEVICE_RELEASE, /* an operator lets a quarantined device back; answered by ANSWER */
    STN_SERVER_REQUEST,        /* from an enrolled device */
    STN_SERVER_TICKET_LOST,    /* who asked is gone: its parked request needs no reply */
    STN_SERVER_UPLOAD_CHECKED, /* after CHECK: the spool has (STN_OK) or has not the bytes of the
                                  digest */
    STN_SERVER_UNMASKED, /* after UNMASK */
    STN_SERVER_MERGED /* after MERGE: the candidate is on disk, or code says why there is none */
};

struct stn_server_event {
    enum stn_server_event_type type;
    uint64_t now_ms; /* of the wall clock that records keep: it must survive a restart */
    stn_ticket ticket;
    union {
        struct stn_record record; /* RESTORE */
        struct {
            struct stn_task_spec spec;
            struct stn_blob_ref adapter; /* version 0 */
        } create;                        /* TASK_CREATE */
        const char *task;                /* TASK_PAUSE, TASK_RESUME */
        struct stn_id device;            /* DEVICE_RELEASE */
        struct {
            struct stn_id device;
            const struct stn_msg *msg;
        } request;
        struct {
            struct stn_round_id round;
            struct stn_id device;
            enum stn_code code;
        } checked;
        struct stn_round_id unmasked;
        struct {
            struct stn_round_id round;
            enum stn_code code;
            struct stn_blob_ref adapter; /* the new version's */
            struct stn_blob_ref state;   /* of the outer optimiser */
            double clip_norm;            /* adapted, for the next round */
            struct stn_totals totals;
        } merged;
    };
};

#endif
