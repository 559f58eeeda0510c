/* tell_secure: the story of a coordinator (tell_server) with devices that have keys and keep to SA1: what a device
 * says is made by its own core, what it is told goes there. Vectors are a few numbers; what the coordinator adds up and
 * unmasks is added up and unmasked. */
#ifndef STN_TESTS_STORY_TELL_SECURE_H
#define STN_TESTS_STORY_TELL_SECURE_H

#include "client/core/secagg_client.h"
#include "tests/story/tell_server.h"

enum { TELL_DEVICES = 12, TELL_VALUES = 40 };

struct tell_device {
    struct stn_ident ident;
    struct stn_secagg_client *client;
    struct stn_msg says; /* the next message; points into the client */
    bool is_over;
    enum stn_code over;
    uint32_t index; /* in the roster */
    struct stn_digest survivors; /* the root that it was told last */
    uint32_t x[TELL_VALUES], y[TELL_VALUES];
    bool counts; /* in the coordinator's sum */
    bool deals_false; /* it commits to another secret than it deals */
    bool lies;   /* its shares of everybody else's secrets are false */
};

extern struct tell_device tell_devices[TELL_DEVICES + 1]; /* from 1 on; the first byte of an identity is its number */
extern uint32_t tell_sum[TELL_VALUES];
extern uint32_t tell_n_merges; /* MERGE was said so often, with tell_sum then */
extern uint32_t tell_n_unmasks;

/* Fixtures. */
void secure_setup(void);
void secure_teardown(void);

struct stn_task_spec secure_task(uint32_t target);

/* Device d, at a time: what it does in a stage when it hears that the one before is over, and what it says. */
void enters(uint64_t now_ms, uint8_t d);              /* check_in, join, advertise */
void hears(uint64_t now_ms, uint8_t d, enum stn_stage stage); /* polls for the end of a stage */
void says(uint64_t now_ms, uint8_t d);                /* share, ack or unmask, as it is its turn */
void uploads(uint64_t now_ms, uint8_t d);             /* put_begin, put_end, and its bytes are found whole */
void unmasked(uint64_t now_ms);

/* Devices 1 to n but those in lost (a zero ends them) do all of a stage, having heard the end of the one before; nothing
 * of it is in the transcript. */
void all_do(uint64_t now_ms, enum stn_stage stage, uint8_t n, const uint8_t *lost);
/* The same for all stages from first to last. */
void all_do_from(enum stn_stage first, enum stn_stage last, uint8_t n, const uint8_t *lost);

/* The sum is that of exactly the devices whose upload counts, without any mask. */
void assert_sum_is_clear(void);

#endif
