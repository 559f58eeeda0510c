/* record: what an agent keeps across a restart. The core says SAVE with the whole of it before
 * anything that depends on it leaves the device. */
#ifndef STN_CLIENT_CORE_RECORD_H
#define STN_CLIENT_CORE_RECORD_H

#include "client/core/secagg_client.h"
#include "proto/msg.h"

#define STN_AGENT_ROUNDS 16 /* secure rounds that are remembered */

enum stn_agent_phase {
    STN_AGENT_IDLE = 0,     /* nothing in hand: check in when it is time */
    STN_AGENT_FETCHING = 1, /* has a lease; the model or the adapter is still coming */
    STN_AGENT_TRAINING = 2,
    STN_AGENT_READY = 3,     /* has a delta that nobody has: wants a cohort */
    STN_AGENT_JOINED = 4,    /* has signed a config: waits for the roster; in a secure round until all
                                have shared */
    STN_AGENT_UPLOADING = 5, /* the delta is spent from here on */
    STN_AGENT_UPLOADED = 6   /* waits for the result; in a secure round it unmasks on the way */
};

struct stn_agent_record {
    uint32_t phase; /* enum stn_agent_phase */
    struct stn_msg_lease lease;
    uint64_t lease_expires_ms;
    uint64_t n_samples;
    uint32_t tier, round_tier; /* of the ranks that it has trained, and that the round has */
    struct stn_round_id
        round; /* zero: in none. Before JOINED: it has yet to tell that round that it leaves */
    struct stn_msg_round_config config;
    struct stn_digest config_digest;
    struct stn_secagg_client_record
        secure; /* of the last secure round that it said anything in: it stays when that is over */
    uint64_t n_rounds; /* secure ones, ever: number i's config is in place i mod STN_AGENT_ROUNDS, and
                          the device comes back into none of them */
    struct stn_digest rounds[STN_AGENT_ROUNDS];
    struct stn_digest upload;
    uint64_t upload_size;
    uint64_t next_check_in_ms;
    uint32_t n_installed; /* the released version of each task that is in place */
    struct stn_agent_installed {
        char task[STN_MSG_NAME];
        uint64_t version;
        struct stn_digest adapter;
    } installed[STN_MSG_TASKS];
};

#endif
