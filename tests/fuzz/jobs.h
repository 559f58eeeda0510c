/* jobs: what an agent's shell says when a job that its core asked for has come to an end. */
#ifndef STN_TESTS_FUZZ_JOBS_H
#define STN_TESTS_FUZZ_JOBS_H

#include <string.h>

#include "client/core/effect.h"
#include "client/core/event.h"

/* An effect that is no job is answered by nothing but the time. n_samples: of training. */
static inline struct stn_client_event job_has_ended(const struct stn_client_effect *job, enum stn_code code, uint64_t n_samples)
{
    struct stn_client_event event = {.type = STN_CLIENT_TIME};
    if (job->type == STN_CLIENT_FETCH) {
        event.type = STN_CLIENT_FETCHED;
        event.fetched.digest = job->blob.digest;
        event.fetched.code = code;
    } else if (job->type == STN_CLIENT_TRAIN) {
        event.type = STN_CLIENT_TRAINED;
        event.trained.lease = job->lease.lease;
        event.trained.code = code;
        event.trained.n_samples = n_samples;
    } else if (job->type == STN_CLIENT_ENCODE) {
        event.type = STN_CLIENT_ENCODED;
        event.encoded.round = job->round.config.round;
        event.encoded.code = code;
        event.encoded.digest.bytes[0] = 1;
        event.encoded.size = 300;
    } else if (job->type == STN_CLIENT_SEND) {
        event.type = STN_CLIENT_SENT;
        event.sent.round = job->round.config.round;
        event.sent.code = code;
    } else if (job->type == STN_CLIENT_INSTALL) {
        event.type = STN_CLIENT_INSTALLED;
        event.installed.code = code;
        memcpy(event.installed.task, job->install.task, sizeof event.installed.task);
    }
    return event;
}

#endif
