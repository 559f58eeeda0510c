#include "client/simulate/wire.h"

uint32_t stn_wire_draw(const struct stn_wire_config *config, struct stn_rng *rng, bool is_faulty,
                       uint64_t ret_delays_ms[static STN_WIRE_COPIES])
{
    uint32_t n = 1;
    if (is_faulty && config->loss > 0 && stn_rng_unit(rng) < config->loss) {
        n = 0;
    } else if (is_faulty && config->repeat > 0 && stn_rng_unit(rng) < config->repeat) {
        n = STN_WIRE_COPIES;
    }
    for (uint32_t i = 0; i < n; i++) {
        ret_delays_ms[i] =
            config->least_ms + stn_rng_below(rng, config->most_ms - config->least_ms + 1);
    }
    return n;
}
