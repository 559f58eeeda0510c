/* wire: a coordinator's end of the channel with its directory, and devices to talk to it, for tests
 * and fuzz targets. Everything is in memory; a frame is a stn_buf that the test carries, cuts,
 * repeats or loses. */
#ifndef STN_TESTS_WIRE_H
#define STN_TESTS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "channel/channel_client.h"
#include "channel/channel_server.h"

#define STN_WIRE_DEVICES 300
#define STN_WIRE_OPEN 8
#define STN_WIRE_HALF_OPEN 64
#define STN_WIRE_ENROLMENTS 16

struct stn_wire {
    struct stn_ident coordinator, directory;
    struct stn_channel_server *server;
    size_t n_enrolled; /* devices that the coordinator knows */
    struct stn_id devices[STN_WIRE_DEVICES];
    uint8_t keys[STN_WIRE_DEVICES][32];
    struct stn_ident_cert spent; /* the one token's; zeroed: not spent yet */
};

extern const uint8_t stn_wire_token[32];

void stn_wire_init(struct stn_wire *wire);
void stn_wire_fini(struct stn_wire *wire);

/* The identity of device number i; the coordinator knows it when it is enrolled. */
void stn_wire_ident(struct stn_ident *ret, size_t i);
void stn_wire_enrol(struct stn_wire *wire, size_t i);

/* A client for device number i, with the token or without. */
struct stn_channel_client *stn_wire_client(struct stn_wire *wire, size_t i, bool has_token);

/* Hands a copy of the frame to the coordinator's end. */
struct stn_channel_server_verdict stn_wire_take(struct stn_wire *wire, const struct stn_buf *frame,
                                                struct stn_buf *answer);

/* What the shell and the directory do at NEED_TOKEN. */
void stn_wire_ask_directory(struct stn_wire *wire, const struct stn_channel_server_verdict *verdict,
                            struct stn_buf *answer);

#endif
