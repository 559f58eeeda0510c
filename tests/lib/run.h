/* run: what a test program provides, and the paths it may use. Each path comes from the environment that meson
 * sets (tests/meson.build), and has a default for a run by hand from the top of the tree. */
#ifndef STN_TESTS_RUN_H
#define STN_TESTS_RUN_H

#include <check.h>
#include <stdlib.h>

/* The test program's only symbol. */
Suite *suite(void);

static inline const char *stn_run_path(const char *name, const char *otherwise)
{
    const char *path = getenv(name);
    return path == NULL ? otherwise : path;
}

/* The top of the source tree, of the build tree, and the folder of vectors, models and data beside the source. */
#define STN_RUN_SOURCE stn_run_path("STERNA_SOURCE", ".")
#define STN_RUN_BUILD stn_run_path("STERNA_BUILD", "build")
#define STN_RUN_SHARED stn_run_path("STERNA_SHARED", "../shared")

#endif
