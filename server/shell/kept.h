/* kept: what anybody needs to make a release again: KEPT/ROUND/ holds the round's config (config), the settings and
 * versions around it (release.json), every packed update that was merged, named by its device, and of a secure round the
 * masks that came off the sum (masks): each a byte, 1 for one that was taken away and 0 for one that was added, and its
 * seed. The updates of a plain round are single devices'; those of a secure one stay masked, as the masks between two
 * devices that are both counted are not among these. It is for tests, and off unless the operator says so. Thread: any. */
#ifndef STN_SERVER_SHELL_KEPT_H
#define STN_SERVER_SHELL_KEPT_H

#include "base/err.h"
#include "crypto/mask.h"
#include "server/shell/release.h"

/* Writes config and release.json into folder, which is made when it is missing. */
enum stn_code stn_kept_write(const char *folder, const struct stn_release_input *input,
                             const struct stn_release_output *output, struct stn_err *err) STN_CHECKED;

/* Appends to masks, after is_first to an empty file. */
enum stn_code stn_kept_masks(const char *folder, const struct stn_mask *masks, size_t n, bool is_first,
                             struct stn_err *err) STN_CHECKED;

/* Of a round without a release; there is nothing before the first update was kept. What cannot be removed is logged. */
void stn_kept_remove(const char *folder);

/* Adds up the updates in folder, takes the masks off, and makes the release again; what it started from is in blobs, where the result goes
 * too. *ret_released is the digest that release.json names: it should be ret->adapter's. */
enum stn_code stn_kept_recompute(const char *folder, const struct stn_blob_store *blobs, struct stn_release_output *ret,
                                 struct stn_digest *ret_released, struct stn_err *err) STN_CHECKED;

#endif
