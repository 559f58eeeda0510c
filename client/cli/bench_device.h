/* bench_device: one whole device of `bench secagg`: the state machine that agents run, with the real work around it, each
 * part of it timed, and every byte counted that goes either way. It finds a coordinator by what it is told and says.
 * Thread: the caller's, with a team for the vector. */
#ifndef STN_CLIENT_CLI_BENCH_DEVICE_H
#define STN_CLIENT_CLI_BENCH_DEVICE_H

#include "client/cli/bench_fleet.h"
#include "compute/cpu/team.h"

enum stn_bench_device_part {
    STN_BENCH_DEVICE_KEYS,   /* made and signed */
    STN_BENCH_DEVICE_SHARE,  /* the neighbours verified, both secrets cut, sealed for each */
    STN_BENCH_DEVICE_OPEN,   /* what they sealed, and a seed with each */
    STN_BENCH_DEVICE_ENCODE,
    STN_BENCH_DEVICE_MASK,
    STN_BENCH_DEVICE_PACK,   /* and hashed, and signed */
    STN_BENCH_DEVICE_ACK,
    STN_BENCH_DEVICE_UNMASK,
    STN_BENCH_DEVICE_PARTS
};

/* Their names in JSON. */
extern const char *const stn_bench_device_parts[STN_BENCH_DEVICE_PARTS];

struct stn_bench_device {
    const struct stn_bench_fleet *fleet;
    uint32_t number; /* of the member */
    struct stn_team *team;
    struct stn_secagg_client *client;
    uint32_t *vector; /* scratch of the encoded length, lent */
    uint8_t *packed;  /* the upload, b / 8 bytes an element */
    struct stn_msg says; /* STN_MSG_NONE: nothing */
    double took_s[STN_BENCH_DEVICE_PARTS];
    uint64_t wire_bytes; /* frames and tags included */
};

/* vector is borrowed. The caller ends it with fini; zeroed is fine there. */
enum stn_code stn_bench_device_init(struct stn_bench_device *ret, const struct stn_bench_fleet *fleet, uint32_t number,
                                    struct stn_team *team, uint32_t *vector, struct stn_err *err) STN_CHECKED;
void stn_bench_device_fini(struct stn_bench_device *device);

/* It begins (says: advertise), or hears what a poll for the stage is answered with. A round that it leaves is the code
 * with which it did. */
enum stn_code stn_bench_device_start(struct stn_bench_device *device, struct stn_err *err) STN_CHECKED;
enum stn_code stn_bench_device_hear(struct stn_bench_device *device, enum stn_stage stage, const struct stn_msg *msg,
                                    struct stn_err *err) STN_CHECKED;

double stn_bench_device_total_s(const struct stn_bench_device *device);

#endif
