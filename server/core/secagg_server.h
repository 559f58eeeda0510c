/* secagg_server: the coordinator's side of one round of SA1: step(state, event) -> effects. It sees
 * no vector: it says which uploads count and which masks come off their sum.
 *
 *   ADVERTISE  adverts come in; ends when target have, or with the join window: the roster
 *   SHARE      sealed shares; ends when all have shared, or by its deadline: U2
 *   UPLOAD     verified vectors; ends when all of U2 have uploaded or left, or by its deadline: U3
 *   ACK        acknowledgements of the survivor root; ends when all of U3 have, or by its deadline
 *   UNMASK     the key of one share of each neighbour; ends when all who acknowledged have, or by its deadline
 *   DONE       secrets are rebuilt, masks come off (MASK, MASKED, ...), CLEAR
 *
 * UPLOAD lasts 30 s and twice the median of the transfers, once half are there, and upload_ms at
 * most. VOID ends a round in which fewer than n_min would be left, or whose secrets fewer than t
 * shares stand for; nothing was revealed then.
 *
 * A key that does not fit the box it is for is left out, and the round goes on while t others fit: DISPUTE
 * says of which two members one lies, the holder who has shown the key or the dealer whose box it is. LIAR names
 * one: who is in dispute with more neighbours than may be the adversary's (bound.h: most, and one can always be);
 * and the dealer of shares that are none, or not of the secret that it committed to: it has signed them
 * (secagg/share.h). That follows from the records alone, and so is said again after a restart. What a member says twice is STN_OK when
 * it is the same, STN_EXISTS when not (of two unmasks the first counts); what comes after its stage
 * is STN_LATE and not looked at. Who leaves before the roster never was in the round; later, what it
 * has said counts and no more is waited for.
 *
 * Restart: records as SAVE gave them come back by RESTORE, by kind and then by index, then RESUME.
 * The survivors are those on disk, with the root that was signed, never others; masks come off
 * again from the sum as the snapshots have it. A stage then lasts as long as it would from now on,
 * 30 s at most, or until its deadline if that is later. Memory that is not there ends the process. */
#ifndef STN_SERVER_CORE_SECAGG_SERVER_H
#define STN_SERVER_CORE_SECAGG_SERVER_H

#include "crypto/ident.h"
#include "crypto/mask.h"
#include "secagg/terms.h"

#define STN_SECAGG_SERVER_SIZE_GONE 1 /* bytes of an advert's record once its member has left before the roster */
#define STN_SECAGG_SERVER_BATCH 256 /* masks of one MASK, and the neighbours of one member more */

struct stn_secagg_server;

struct stn_secagg_server_config {
    struct stn_terms terms;
    uint32_t target;              /* adverts that close the roster at once, n_min to n_max */
    struct stn_ident coordinator; /* signs the roster and the survivors */
    uint8_t directory[32];
};

enum stn_secagg_server_record_kind { /* the values are on disk */
                                     STN_SECAGG_SERVER_ADVERT =
                                         1, /* index: in the order of arrival; replaced by one of
                                               SIZE_GONE when it leaves before the roster */
                                     STN_SECAGG_SERVER_STAGE = 2, /* index 0, replaced */
                                     STN_SECAGG_SERVER_SHARED =
                                         3, /* from here on index: in the roster */
                                     STN_SECAGG_SERVER_UPLOADED = 4,
                                     STN_SECAGG_SERVER_ACKED = 5,
                                     STN_SECAGG_SERVER_OPENED = 6,
                                     STN_SECAGG_SERVER_LEFT = 7 /* index: in the order of leaving */
};

struct stn_secagg_server_record {
    uint32_t kind, index;
    const uint8_t *data;
    size_t size;
};

enum stn_secagg_server_event_type {
    STN_SECAGG_SERVER_OPEN,    /* a new round */
    STN_SECAGG_SERVER_RESTORE, /* record */
    STN_SECAGG_SERVER_RESUME,
    STN_SECAGG_SERVER_TIME,    /* the time asked for by WAKE has come */
    STN_SECAGG_SERVER_REQUEST, /* msg: advertise, share, ack, unmask or leave, of device */
    STN_SECAGG_SERVER_UPLOAD,  /* upload of device: its spool has the bytes of the digest */
    STN_SECAGG_SERVER_MASKED   /* after MASK */
};

struct stn_secagg_server_event {
    enum stn_secagg_server_event_type type;
    uint64_t now_ms;
    struct stn_id device;
    union {
        struct stn_secagg_server_record record;
        const struct stn_msg *msg;
        const struct stn_msg_put_end *upload;
    };
};

enum stn_secagg_server_effect_type {
    STN_SECAGG_SERVER_SAVE,    /* record: in the transaction that commits before any reply leaves */
    STN_SECAGG_SERVER_ANSWER,  /* device, code: to its request or upload */
    STN_SECAGG_SERVER_COUNT,   /* device, digest: add its spool to the sum (again after RESUME) */
    STN_SECAGG_SERVER_NEWS,    /* stage has begun: polls for the one before have an answer */
    STN_SECAGG_SERVER_WAKE,    /* at_ms */
    STN_SECAGG_SERVER_MASK,    /* masks, once all COUNTs are in; the first is to find the sum as
                                  the snapshots have it -> MASKED */
    STN_SECAGG_SERVER_CLEAR,   /* n: the sum of so many vectors is in clear */
    STN_SECAGG_SERVER_DISPUTE, /* device, dealer: one of them lies */
    STN_SECAGG_SERVER_LIAR,    /* device */
    STN_SECAGG_SERVER_VOID     /* code */
};

struct stn_secagg_server_effect {
    enum stn_secagg_server_effect_type type;
    struct stn_id device;
    union {
        struct stn_secagg_server_record record; /* until the next step */
        enum stn_code code;
        struct stn_digest digest;
        enum stn_stage stage;
        uint64_t at_ms;
        struct {
            const struct stn_mask *items; /* until the next step; secret */
            size_t n;
            bool is_first;
        } masks;
        uint32_t n;
        struct stn_id dealer;
    };
};

/* Zeroed is empty; cleared by each step; the caller ends it with fini. */
struct stn_secagg_server_effects {
    struct stn_secagg_server_effect *items;
    size_t n, room;
};
void stn_secagg_server_effects_fini(struct stn_secagg_server_effects *effects);

/* config is copied. STN_INVALID for a target outside of n_min to n_max. */
enum stn_code stn_secagg_server_new(struct stn_secagg_server **ret,
                                    const struct stn_secagg_server_config *config,
                                    struct stn_err *err) STN_CHECKED;
void stn_secagg_server_free(struct stn_secagg_server *server);

void stn_secagg_server_step(struct stn_secagg_server *server,
                            const struct stn_secagg_server_event *event,
                            struct stn_secagg_server_effects *ret);

/* What a member that polls for the end of a stage is told: STN_OK and the message (roster, deliver,
 * survivors, acks), whose pointers last until the next call or step; STN_AGAIN: nothing yet;
 * STN_LATE: the round is void, or the member is not in it any more; STN_DENIED: it never was.
 * answer_code says the code alone. */
enum stn_code stn_secagg_server_answer_code(const struct stn_secagg_server *server,
                                           const struct stn_id *device,
                                           uint32_t stage) STN_CHECKED;
enum stn_code stn_secagg_server_answer(struct stn_secagg_server *server,
                                       const struct stn_id *device, enum stn_stage stage,
                                       struct stn_msg *ret) STN_CHECKED;

/* The device may upload now. */
bool stn_secagg_server_may_put(const struct stn_secagg_server *server, const struct stn_id *device);

/* For status: the stage, and how many are in each set. */
struct stn_secagg_server_view {
    enum stn_stage stage;
    bool is_void;
    uint32_t n_roster, n_shared, n_uploaded, n_acked, n_opened;
    uint32_t tier; /* of the roster */
};
struct stn_secagg_server_view stn_secagg_server_view(const struct stn_secagg_server *server);

#endif
