/* tell_server: a coordinator, a disk, and words for what happens to it; everything goes into one
 * transcript. */
#ifndef STN_TESTS_STORY_TELL_SERVER_H
#define STN_TESTS_STORY_TELL_SERVER_H

#include "base/buf.h"
#include "server/core/coordinator.h"

/* Devices are numbers; a device's digest of its upload is its own number, 99 stands for bytes that
 * did not arrive. */
extern struct stn_coordinator_config config; /* of the next start */
extern struct stn_coordinator *core;
extern struct stn_server_effects effects;
extern struct stn_buf text;
extern struct stn_disk disk;
extern struct stn_round_id round_id; /* the last config's */
extern struct stn_msg last;          /* the last reply */
extern stn_ticket n_tickets;
extern uint64_t last_wake_ms;
extern struct stn_id ids[256]; /* of devices that are more than a number */
extern void (*on_effect)(const struct stn_server_effect *effect); /* after a step, or NULL */

void setup(void);
void teardown(void);
void happens(uint64_t now_ms, const char *what, struct stn_server_event event);
struct stn_id id(uint8_t device);
void asks(uint64_t now_ms, uint8_t device, struct stn_msg msg);
void check_in_from(uint64_t now_ms, uint8_t device, uint32_t n_min_floor, uint64_t version);
void check_in(uint64_t now_ms, uint8_t device);
void join_from(uint64_t now_ms, uint8_t device, uint64_t lease, uint64_t version);
void join(uint64_t now_ms, uint8_t device, uint64_t lease);
void advertise(uint64_t now_ms, uint8_t device);
void poll(uint64_t now_ms, uint8_t device, enum stn_stage stage);
void put_begin(uint64_t now_ms, uint8_t device);
void put_end_of(uint64_t now_ms, uint8_t device, uint8_t digest);
void put_end(uint64_t now_ms, uint8_t device);
void checked(uint64_t now_ms, uint8_t device, enum stn_code code);
void merged(uint64_t now_ms, enum stn_code code);
void time_comes(uint64_t now_ms);
struct stn_task_spec task(void);
void create(struct stn_task_spec spec);
void begin(struct stn_task_spec spec);
void restart(uint64_t now_ms);
void expect(const char *expected);
void until_uploading(struct stn_task_spec spec);

#endif
