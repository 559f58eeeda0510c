/* policy: what a device agrees to. The coordinator proposes; each answer of it is held against what
 * the owner allows and against what was agreed before. Nothing here looks at anything but its
 * arguments. */
#ifndef STN_CLIENT_CORE_POLICY_H
#define STN_CLIENT_CORE_POLICY_H

#include "client/core/record.h"
#include "proto/msg.h"

/* The owner's consent to a task, with something to train on; NULL: none. */
struct stn_consent *stn_policy_consent(struct stn_consent *consents, uint32_t n, const char *task);

/* Every check is STN_OK or why not: STN_DENIED (the owner does not allow it, or nobody vouches for
 * it), STN_LIMIT (a cohort too small), STN_UNSUPPORTED, STN_INVALID (it does not fit what was
 * agreed, or makes no sense). */
enum stn_code stn_policy_lease(const struct stn_msg_lease *lease, struct stn_consent *consents,
                               uint32_t n, uint32_t n_min_floor, bool allows_plain) STN_CHECKED;
/* digest is zero when the signature is not the coordinator's. */
enum stn_code stn_policy_config(const struct stn_msg_round_config *config,
                                const struct stn_digest *digest, const struct stn_msg_lease *lease,
                                uint32_t n_min_floor, bool allows_plain) STN_CHECKED;
enum stn_code stn_policy_roster(const struct stn_msg_roster *roster,
                                const struct stn_msg_round_config *config,
                                uint32_t n_min_floor) STN_CHECKED;
enum stn_code stn_policy_result(const struct stn_msg_result *result,
                                const struct stn_msg_round_config *config) STN_CHECKED;
enum stn_code stn_policy_release(const struct stn_release *release, struct stn_consent *consents,
                                 uint32_t n) STN_CHECKED;

#endif
