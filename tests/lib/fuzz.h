/* fuzz: what a fuzz target provides: one door of the system, fed with size bytes. It returns 0 and must neither
 * crash nor leak, whatever the bytes are. */
#ifndef STN_TESTS_FUZZ_H
#define STN_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
