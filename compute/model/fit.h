/* fit: how a network is to be built so that it stays within some memory, asked before it is built: graphs are made and
 * planned, and nothing is found for them. Activations are kept where they fit; else those of as few layers as will do are
 * computed again, which for all costs about a fifth of the time; and only then are passes cut. Thread: any. */
#ifndef STN_COMPUTE_MODEL_FIT_H
#define STN_COMPUTE_MODEL_FIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "compute/model/network.h"

struct stn_fit {
    size_t rows;        /* of a pass: max_tokens and max_targets of the network; 0 when nothing fits */
    uint32_t recompute; /* layers */
    struct stn_network_memory memory; /* of that network, or where nothing fits of the smallest */
};

/* What a network of this config takes; a device's own rounding aside. */
enum stn_code stn_fit_weigh(struct stn_network_memory *ret, const struct stn_model *model, const struct stn_adapter *adapter,
                            const struct stn_network_config *config, struct stn_err *err) STN_CHECKED;

/* room: bytes for activations, scratch and the adapter with all that belongs to it (SIZE_MAX: any). config as for
 * stn_network_new with the rows that are wanted; at least `least` rows are needed, and not more than wanted. */
enum stn_code stn_fit_find(struct stn_fit *ret, const struct stn_model *model, const struct stn_adapter *adapter,
                           const struct stn_network_config *config, size_t least, size_t room, struct stn_err *err) STN_CHECKED;

#endif
