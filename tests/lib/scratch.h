/* scratch: a folder, in memory where the system has one there, for what a fuzz target gives to its door as files. It goes when
 * the process ends well. What cannot be written ends the process. Thread: one. */
#ifndef STN_TESTS_SCRATCH_H
#define STN_TESTS_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

const char *stn_scratch_folder(void);

/* FOLDER/NAME, good until the eighth call after it. */
const char *stn_scratch_path(const char *name);

/* Writes it anew; and nothing of it is there any more. */
void stn_scratch_put(const char *name, const void *p, size_t size);
void stn_scratch_remove(const char *name);

/* What must hold, whatever the bytes were; ends the process where it does not. */
void stn_scratch_require(bool ok);

#endif
