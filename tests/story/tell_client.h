/* tell_client: an agent, its record on disk, and words for what happens to it; everything goes into
 * one transcript. */
#ifndef STN_TESTS_STORY_TELL_CLIENT_H
#define STN_TESTS_STORY_TELL_CLIENT_H

#include "base/buf.h"
#include "client/core/agent.h"

extern struct stn_agent_config agent_config; /* of the next setup */
extern struct stn_agent *agent;
extern struct stn_client_effects effects;
extern struct stn_buf text;
extern struct stn_agent_record disk;
extern uint64_t last_ask;
extern struct stn_msg last_asked; /* its pointers last until the next event */
extern uint64_t last_wake_ms;
extern const struct stn_round_id round_id;
extern const struct stn_msg ok;

void setup(void);
void teardown(void);
void happens(uint64_t now_ms, const char *what, struct stn_client_event event);
void start(uint64_t now_ms);
void consents(uint64_t now_ms, uint32_t n);
void conditions(uint64_t now_ms, bool may_work);
void hears_config(uint64_t now_ms, struct stn_msg msg, const struct stn_digest *config);
void hears_signed(uint64_t now_ms, struct stn_msg msg, uint8_t config);
void hears(uint64_t now_ms, struct stn_msg msg);
void hears_nothing(uint64_t now_ms);
void refused(uint64_t now_ms, enum stn_code code);
void time_comes(void);
struct stn_msg lease(uint64_t number, uint64_t version);
struct stn_msg config(void);
struct stn_msg roster(uint32_t n);
struct stn_msg voided(enum stn_code code);
struct stn_msg result(uint64_t version);
void fetched(uint64_t now_ms, uint8_t digest, enum stn_code code);
void trained(uint64_t now_ms, uint64_t number, enum stn_code code);
void encoded(uint64_t now_ms);
void sent(uint64_t now_ms, enum stn_code code);
void installed(uint64_t now_ms);
void expect(const char *expected);
void until_training(void);
void until_joining(void);
void until_joined(void);
void until_uploading(void);
void until_uploaded(void);
void restart(uint64_t now_ms);

#endif
