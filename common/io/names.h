/* names: what is in a folder, read at once. No descriptor is held while somebody works through the names, and the one that
 * reads them is of those that are kept back (fd.h) where there is no other. Thread: any. */
#ifndef STN_IO_NAMES_H
#define STN_IO_NAMES_H

#include <stddef.h>

#include "base/err.h"

struct stn_names {
    char **names; /* (n), without . and .., in the order of their bytes */
    size_t n;
    char *bytes; /* that they lie in */
};

/* The caller ends *ret with stn_names_fini. Nothing is written there on failure. */
enum stn_code stn_names_read(struct stn_names *ret, const char *path, struct stn_err *err) STN_CHECKED;
/* Zeroed is fine. */
void stn_names_fini(struct stn_names *names);

#endif
