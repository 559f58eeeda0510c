/* secagg_client: one device's side of one round of SA1: step(state, event) -> effects. It never
 * sees a vector: it says which masks go over it. Pure but for memory functions of common/crypto;
 * its only randomness is the entropy of START, which is never written anywhere.
 *
 *   START     -> advertise                 E, M; the device is in the cohort
 *   roster    -> share                     the neighbours are proved; shares of both seeds for
 *                                          each, sealed (secagg/share.h)
 *   deliver   -> MASK, MASKED -> put_end   masks with whoever has shared; then the signed digest
 *   survivors -> ack                       this set of survivors and no other
 *   acks      -> unmask                    t neighbours say the same: the key of one share of each
 *                                          neighbour's
 *   result    -> OVER
 *
 * What it never does, whatever the coordinator says:
 *   0 come back into a round after a restart, or say at one stage two different things;
 *   1 open shares twice; after the first time it has none;
 *   2 open both shares of a neighbour, or any without its own verified place among the survivors;
 *   3 open any when fewer than t neighbours survived or more than k - t were lost, or when fewer
 *     than n_min of itself and its neighbours are left in whose deltas its highest ranks are, or
 *     for a number of survivors that those it sees make untrue: below 64 members it sees them all;
 *   4 use a key or seed twice, or upload a second vector;
 *   5 go on when it has been shown two rosters or two sets of survivors: it keeps the evidence;
 *   6 take part with fewer than n_min, with a neighbour that is not proved, or one that the pinned
 *     directory did not enrol.
 * Every such message ends the round for the device: OVER with a code, and its secrets are wiped.
 * STN_LIMIT says that losses have left too few others, STN_LATE and STN_CANCELLED are nobody's
 * fault; behind any other code is something that no honest coordinator says. A
 * message of a stage that is not waited for changes nothing. Memory that is not there ends the
 * process. */
#ifndef STN_CLIENT_CORE_SECAGG_CLIENT_H
#define STN_CLIENT_CORE_SECAGG_CLIENT_H

#include "crypto/ident.h"
#include "crypto/mask.h"
#include "secagg/roster.h"
#include "secagg/terms.h"

struct stn_secagg_client;

struct stn_secagg_client_config {
    struct stn_ident identity;
    struct stn_ident_cert certificate;      /* of the identity, by the directory */
    uint8_t coordinator[32], directory[32]; /* pinned */
    struct stn_roster_known *known; /* under this directory, for all rounds of a device; NULL: every certificate is verified */
    uint32_t n_min_floor;
    double gamma_floor; /* takes part in no round that allows for fewer adversaries */
    uint32_t sigma_floor;
};

/* What a device keeps of a round on disk: enough to stay away from it, and no secret. */
struct stn_secagg_client_record {
    struct stn_digest cfg, root;
    uint32_t stage;           /* enum stn_stage: the last that the device spoke in */
    struct stn_digest spoken; /* of what it said there */
};

struct stn_secagg_client_entropy {
    uint8_t transport[32], mask_seed[32], self_seed[32], deal[32], nonce[16];
};

enum stn_secagg_client_event_type {
    STN_SECAGG_CLIENT_START,   /* start: once, first */
    STN_SECAGG_CLIENT_MESSAGE, /* msg */
    STN_SECAGG_CLIENT_MASKED,  /* after MASK: the vector's digest, or code */
    STN_SECAGG_CLIENT_AGAIN,   /* the last SEND found no reply: say it again */
    STN_SECAGG_CLIENT_TIME,    /* the time asked for by WAKE has come */
    STN_SECAGG_CLIENT_LEAVE    /* the owner or the agent wants out */
};

struct stn_secagg_client_event {
    enum stn_secagg_client_event_type type;
    uint64_t now_ms;
    union {
        struct {
            const struct stn_terms
                *terms; /* of a config that this device agrees to and has signed */
            uint64_t version; /* of the adapter that the delta starts from */
            uint32_t tier;    /* of its ranks */
            const struct stn_secagg_client_entropy *entropy;
            const struct stn_secagg_client_record *record; /* the last saved, or zeroes */
        } start;
        const struct stn_msg *msg;
        struct {
            enum stn_code code;
            struct stn_digest digest;
        } masked;
    };
};

enum stn_secagg_client_effect_type {
    STN_SECAGG_CLIENT_SAVE, /* record: on disk before anything behind it leaves */
    STN_SECAGG_CLIENT_SEND, /* msg; a put_end follows put_begin and the chunks */
    STN_SECAGG_CLIENT_MASK, /* masks over the encoded vector -> MASKED. The delta is spent now */
    STN_SECAGG_CLIENT_WAKE, /* at_ms */
    STN_SECAGG_CLIENT_EVIDENCE, /* evidence: two signed statements that cannot both be */
    STN_SECAGG_CLIENT_OVER      /* code: STN_OK when the result is there; else the round is left */
};

struct stn_secagg_client_evidence {
    struct stn_digest cfg;
    bool of_rosters; /* else of survivors, under the root of the roster */
    struct stn_digest root;
    struct {
        struct stn_digest root;
        uint32_t n;
        uint8_t signature[64]; /* the coordinator's, over what secagg/roster.h says */
    } statements[2];
};

struct stn_secagg_client_effect {
    enum stn_secagg_client_effect_type type;
    union {
        struct stn_secagg_client_record record;
        struct stn_msg msg; /* what it points to lasts until the next step that sends */
        struct {
            const struct stn_mask *items; /* until the next step; secret */
            size_t n;
        } masks;
        uint64_t at_ms;
        struct stn_secagg_client_evidence evidence;
        enum stn_code code;
    };
};

/* The effects of one step: cleared by it. */
struct stn_secagg_client_effects {
    struct stn_secagg_client_effect items[8];
    size_t n;
};

/* The caller frees *ret; config is copied. */
enum stn_code stn_secagg_client_new(struct stn_secagg_client **ret,
                                    const struct stn_secagg_client_config *config,
                                    struct stn_err *err) STN_CHECKED;
void stn_secagg_client_free(struct stn_secagg_client *client); /* wipes; NULL is fine */

void stn_secagg_client_step(struct stn_secagg_client *client,
                            const struct stn_secagg_client_event *event,
                            struct stn_secagg_client_effects *ret);

/* The tier of the round, after its roster; 0 before. */
uint32_t stn_secagg_client_tier(const struct stn_secagg_client *client);

/* enum stn_stage: the last in which it spoke; 0 before START; STN_STAGE_DONE when it is over. */
uint32_t stn_secagg_client_stage(const struct stn_secagg_client *client);

#endif
