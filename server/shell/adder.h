/* adder: adding, snapshots, unmasking and merges on worker threads, round by round, in the order they were asked for. A
 * round has one job out at a time, so that its aggregate has one owner; masks come off by all threads at once. A failure of the machine (a full disk, lost bytes) ends
 * the process; the next one starts from the last snapshot. Too few descriptors are waited for. Thread: the loop's. */
#ifndef STN_SERVER_SHELL_ADDER_H
#define STN_SERVER_SHELL_ADDER_H

#include "base/err.h"
#include "blob/blob.h"
#include "io/worker.h"
#include "server/core/effect.h"
#include "server/shell/spool.h"
#include "server/shell/store.h"
#include "server/shell/turn.h"

struct stn_adder;

struct stn_adder_config { /* all borrowed; they outlive the adder */
    struct stn_worker *worker;
    size_t n_threads; /* of the worker */
    struct stn_turn *turn;
    struct stn_store *store;
    const struct stn_spool *spool;
    const struct stn_blob_store *blobs;
    uint64_t snapshot; /* updates that are added between two snapshots of a sum */
    const char *kept; /* folder that keeps merged updates, a folder a round; NULL: none does */
    /* An UNMASKED or MERGED event without its time; it is borrowed for the call. */
    void (*tell)(void *user, struct stn_server_event *event);
    void *user;
};

enum stn_code stn_adder_new(struct stn_adder **ret, const struct stn_adder_config *config, struct stn_err *err) STN_CHECKED;
/* Before the worker is closed: no job is begun any more, and what comes back is not told. The next process does it again.
 * NULL is fine. */
void stn_adder_stop(struct stn_adder *adder);
/* No job may be out: the worker is closed. NULL is fine. */
void stn_adder_free(struct stn_adder *adder);

void stn_adder_add(struct stn_adder *adder, const struct stn_server_upload *upload);
/* The effect's masks are copied. */
void stn_adder_unmask(struct stn_adder *adder, const struct stn_server_effect *effect);
void stn_adder_merge(struct stn_adder *adder, const struct stn_server_effect *effect);
/* After the commit of what closed the round. Its files go; is_released: what is to be kept is kept. */
void stn_adder_close(struct stn_adder *adder, const struct stn_round_id *round, bool is_released);

/* Before START: removes the files of rounds that the last process closed, or never kept. */
void stn_adder_sweep(struct stn_adder *adder);

#endif
