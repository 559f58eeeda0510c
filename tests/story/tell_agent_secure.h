/* tell_agent_secure: the story of an agent (tell_client) in secure rounds: number 0 of eight devices, whose coordinator is
 * a real one (tests/swarm/secagg_world). */
#ifndef STN_TESTS_STORY_TELL_AGENT_SECURE_H
#define STN_TESTS_STORY_TELL_AGENT_SECURE_H

#include "tests/story/tell_client.h"
#include "tests/swarm/secagg_world.h"

enum { N = 8, N_MIN = 5 };

#define SELF (&stn_world.devices[0])

extern const bool others[N];

void begin(void);
void end(void);
struct stn_msg secure_lease(void);
struct stn_msg secure_config(void);
void until_config(void);
void says(uint64_t now_ms, enum stn_stage stage);
struct stn_msg answer(enum stn_stage stage);
struct stn_digest mask(void);
void encoded_as(uint64_t now_ms, const struct stn_digest *digest);
void sent_all(uint64_t now_ms);
void until(enum stn_stage stage);
struct stn_msg secure_result(void);
struct stn_msg secure_voided(enum stn_code code);
bool was_said(const char *what);

#endif
