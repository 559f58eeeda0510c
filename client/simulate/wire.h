/* wire: what becomes of a message: lost, late, doubled, overtaken. Thread: one at a time. */
#ifndef STN_CLIENT_SIMULATE_WIRE_H
#define STN_CLIENT_SIMULATE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

#define STN_WIRE_COPIES 2

struct stn_wire_config {
    uint64_t least_ms, most_ms; /* a message's way, uniform */
    double loss, repeat;        /* shares of the messages, while faults last */
};

/* How many copies arrive, and after how long each. */
uint32_t stn_wire_draw(const struct stn_wire_config *config, struct stn_rng *rng, bool is_faulty,
                       uint64_t ret_delays_ms[static STN_WIRE_COPIES]);

#endif
