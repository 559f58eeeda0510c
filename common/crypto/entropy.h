/* entropy: secret random bytes, and the one place to replace them in tests and the simulator.
 * stn_entropy_start must have succeeded once, before anything else in this room. Thread: any, after the start. */
#ifndef STN_CRYPTO_ENTROPY_H
#define STN_CRYPTO_ENTROPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Starts the crypto library; may be called again. */
enum stn_code stn_entropy_start(struct stn_err *err) STN_CHECKED;

/* From the operating system; there is no failure that a caller could survive, so there is no code. */
void stn_entropy_fill(void *p, size_t size);

/* Overwrites a secret in a way that the compiler keeps. */
void stn_entropy_wipe(void *p, size_t size);

#endif
