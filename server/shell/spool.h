/* spool: the uploads of the open rounds on disk. A device's packed vector arrives in chunks as ROUNDS/ROUND/DEVICE.part,
 * over any number of sessions and restarts, and becomes ROUNDS/ROUND/DEVICE when its bytes have been found to be its
 * digest's. Thread: begin, put and remove the loop's; check a worker's, while nobody puts to the same upload. */
#ifndef STN_SERVER_SHELL_SPOOL_H
#define STN_SERVER_SHELL_SPOOL_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/file.h"
#include "proto/msg.h"
#include "server/core/effect.h"

struct stn_spool {
    char folder[STN_FILE_PATH_MAX - 256]; /* ROUNDS */
};

/* Makes the folder when it is missing. */
enum stn_code stn_spool_open(struct stn_spool *spool, const char *folder, struct stn_err *err) STN_CHECKED;

/* ROUNDS/ROUND, and ROUNDS/ROUND/DEVICE. They always fit. */
void stn_spool_folder(const struct stn_spool *spool, const struct stn_round_id *round, char ret[static STN_FILE_PATH_MAX]);
void stn_spool_path(const struct stn_spool *spool, const struct stn_round_id *round, const struct stn_id *device,
                    char ret[static STN_FILE_PATH_MAX]);

/* Makes the spool when it is not there, and says which of its chunks are missing: none when the upload was checked
 * before. What *ret points to lies in the arena. STN_LIMIT for more chunks than STN_MSG_LEAVES. */
enum stn_code stn_spool_begin(const struct stn_spool *spool, const struct stn_server_upload *upload,
                              struct stn_arena *arena, struct stn_msg_missing *ret, struct stn_err *err) STN_CHECKED;

/* STN_INVALID for a chunk that does not fit; STN_NOT_FOUND before begin. */
enum stn_code stn_spool_put(const struct stn_spool *spool, const struct stn_id *device,
                            const struct stn_msg_put_chunk *chunk, struct stn_err *err) STN_CHECKED;

/* STN_OK: the upload has its name, on disk, and its bytes are upload->digest's. STN_INVALID: chunks are missing;
 * STN_CORRUPT: its bytes are another digest's; anything else is the machine's fault and not the device's. */
enum stn_code stn_spool_check(const struct stn_spool *spool, const struct stn_server_upload *upload,
                              struct stn_err *err) STN_CHECKED;

/* All that there is of the upload. */
void stn_spool_remove(const struct stn_spool *spool, const struct stn_round_id *round, const struct stn_id *device);
/* All that there is of the round. What cannot be removed is logged, and left for the next start. */
void stn_spool_remove_round(const struct stn_spool *spool, const struct stn_round_id *round);

#endif
