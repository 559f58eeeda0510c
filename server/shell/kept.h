/* kept: what anybody needs to make a release again: KEPT/ROUND/ holds the round's config (config), the settings and
 * versions around it (release.json), and every packed update that was merged, named by its device. Without masks these
 * are single devices' updates: it is for tests, and off unless the operator says so. Thread: any. */
#ifndef STN_SERVER_SHELL_KEPT_H
#define STN_SERVER_SHELL_KEPT_H

#include "base/err.h"
#include "server/shell/release.h"

/* Writes config and release.json into folder, which is made when it is missing. */
enum stn_code stn_kept_write(const char *folder, const struct stn_release_input *input,
                             const struct stn_release_output *output, struct stn_err *err) STN_CHECKED;

/* Adds up the updates in folder and makes the release again; what it started from is in blobs, where the result goes
 * too. *ret_released is the digest that release.json names: it should be ret->adapter's. */
enum stn_code stn_kept_recompute(const char *folder, const struct stn_blob_store *blobs, struct stn_release_output *ret,
                                 struct stn_digest *ret_released, struct stn_err *err) STN_CHECKED;

#endif
