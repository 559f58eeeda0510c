/* journal: the agent's record across a restart, and the leases whose delta is spent. Both are on disk before anything
 * that depends on them leaves the device.
 *
 * agent.state is replaced whole, with its version and digest. When it is damaged the agent starts afresh: whatever
 * was in hand is dropped, and "spent", a line a lease, still says which deltas must never be sent again.
 * Thread: the loop's. */
#ifndef STN_CLIENT_SHELL_JOURNAL_H
#define STN_CLIENT_SHELL_JOURNAL_H

#include "base/err.h"
#include "client/core/record.h"
#include "client/shell/place.h"

#define STN_JOURNAL_SPENT 1024 /* leases that are remembered */

struct stn_journal {
    char path[STN_FILE_PATH_MAX];
    char spent_path[STN_FILE_PATH_MAX];
    uint64_t n_spent; /* ever */
    uint64_t spent[STN_JOURNAL_SPENT]; /* what names the last of them, number i in place i mod STN_JOURNAL_SPENT */
};

/* Reads both. A zeroed record where there is none. STN_CORRUPT or STN_UNSUPPORTED: *ret_record is zeroed, *err says
 * what is wrong, the file is put aside as agent.state.broken, and journal is ready all the same. Other codes: it is not. */
enum stn_code stn_journal_open(struct stn_journal *journal, const struct stn_place *place,
                               struct stn_agent_record *ret_record, struct stn_err *err) STN_CHECKED;

/* On disk when it returns. A record that says UPLOADING spends its lease first. */
enum stn_code stn_journal_save(struct stn_journal *journal, const struct stn_agent_record *record,
                               struct stn_err *err) STN_CHECKED;

/* Whether the delta of a lease may have left already. Leases are numbered by each task of each coordinator afresh: here one
 * is known by its task, number, version and adapter. */
bool stn_journal_is_spent(const struct stn_journal *journal, const struct stn_msg_lease *lease);

#endif
