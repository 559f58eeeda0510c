/* repack: a model's file written again with its products' weights in ternary blocks: what needed to be told how it is read
 * (I2_S of ARM, floats that become ternary) or takes more room than it must. All else is copied. Blocks hold f16 scales: an
 * f32 scale loses the bits that do not fit. Thread: any. */
#ifndef STN_MODEL_REPACK_H
#define STN_MODEL_REPACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/model/network.h"
#include "compute/model/quant.h"

/* type is TQ1_0 or TQ2_0; rows that are no whole blocks become F16. progress, if not NULL, is called with tensors done and in
 * all; false is STN_CANCELLED. No file is left behind when it fails. */
enum stn_code stn_repack_file(const char *from, const struct stn_model_reading *reading, const char *to, enum stn_quant_type type,
                              bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                              struct stn_err *err) STN_CHECKED;

#endif
