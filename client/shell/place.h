/* place: the agent's folder: who the device is, and where everything lies.
 *
 *   keys/device.key   the identity, 0600        keys/device.cert   the directory's word for it
 *   agent.state       the journal               spent              leases whose delta has begun to leave
 *   models/           base models and adapters by digest
 *   work/             the delta of the lease in hand
 *   evidence/         what a coordinator signed that cannot both be (evidence.h)
 *   adapters/         TASK.gguf: what is released and in place
 *   paused            there while the owner has paused the agent
 *   agent.sock        its local socket          lock               of the process that has the folder
 *
 * Thread: any. */
#ifndef STN_CLIENT_SHELL_PLACE_H
#define STN_CLIENT_SHELL_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/ident.h"
#include "io/file.h"

#define STN_PLACE_SOCKET "agent.sock"

struct stn_place {
    char folder[STN_FILE_PATH_MAX - 256];
};

/* Makes the folders that are missing. */
enum stn_code stn_place_open(struct stn_place *ret, const char *folder, struct stn_err *err) STN_CHECKED;

/* FOLDER/NAME and FOLDER/adapters/TASK.gguf: they always fit. */
void stn_place_path(const struct stn_place *place, const char *name, char ret[static STN_FILE_PATH_MAX]);
void stn_place_adapter(const struct stn_place *place, const char *task, char ret[static STN_FILE_PATH_MAX]);

/* The identity; made when there is none and may_make, else STN_NOT_FOUND. STN_DENIED when others may read its file.
 * The caller wipes *ret with stn_ident_fini. */
enum stn_code stn_place_identity(const struct stn_place *place, bool may_make, struct stn_ident *ret,
                                 struct stn_err *err) STN_CHECKED;

/* STN_DENIED when it is not this device's or the directory did not sign it; STN_NOT_FOUND when there is none. */
enum stn_code stn_place_certificate(const struct stn_place *place, const uint8_t device[static STN_IDENT_PUBLIC],
                                    const uint8_t directory[static STN_IDENT_PUBLIC], struct stn_ident_cert *ret,
                                    struct stn_err *err) STN_CHECKED;
enum stn_code stn_place_keep_certificate(const struct stn_place *place, const struct stn_ident_cert *certificate,
                                         struct stn_err *err) STN_CHECKED;

bool stn_place_is_paused(const struct stn_place *place);
enum stn_code stn_place_pause(const struct stn_place *place, bool is_paused, struct stn_err *err) STN_CHECKED;

/* Removes the identity and all that the agent has made: the lock must be the caller's. */
enum stn_code stn_place_forget(const struct stn_place *place, struct stn_err *err) STN_CHECKED;

#endif
