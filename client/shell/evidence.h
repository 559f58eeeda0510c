/* evidence: what shows to everybody that a coordinator told two devices two different things: two rosters under one
 * config, or two sets of survivors under one roster, both signed by its key. A file each, in the agent's folder:
 *
 *   evidence/CONFIG-rosters.json, evidence/CONFIG-survivors.json    CONFIG: the first half of cfg in hex
 *   {"format","of","config","roster","key","statements":[{"root","n","signature"},{...}]}
 *
 * What is signed is in secagg/roster.h. Thread: any. */
#ifndef STN_CLIENT_SHELL_EVIDENCE_H
#define STN_CLIENT_SHELL_EVIDENCE_H

#include "client/core/secagg_client.h"
#include "client/shell/place.h"

/* On disk when it returns; ret_path is where. key: the coordinator's, as it is pinned. */
enum stn_code stn_evidence_keep(const struct stn_place *place, const struct stn_secagg_client_evidence *evidence,
                                const uint8_t key[static 32], char ret_path[static STN_FILE_PATH_MAX],
                                struct stn_err *err) STN_CHECKED;

/* STN_CORRUPT for a file that is no evidence. */
enum stn_code stn_evidence_read(const char *path, struct stn_secagg_client_evidence *ret, struct stn_err *err) STN_CHECKED;

/* The two differ, and key has signed both: STN_DENIED if not. */
enum stn_code stn_evidence_verify(const struct stn_secagg_client_evidence *evidence, const uint8_t key[static 32],
                                  struct stn_err *err) STN_CHECKED;

#endif
