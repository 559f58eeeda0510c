/* The door of an agent's state across restarts: two bytes say how many of the rest are the file "spent"; what follows is
 * agent.state without its digest, which is made here, so that more than a digest is tried. What is taken is written again
 * and taken again, and is then the same. */
#include "tests/lib/fuzz.h"

#include <string.h>

#include "base/buf.h"
#include "client/shell/journal.h"
#include "crypto/digest.h"
#include "crypto/entropy.h"
#include "io/file.h"
#include "tests/lib/scratch.h"

static struct stn_buf state_now(void)
{
    struct stn_buf buf = {0};
    stn_scratch_require(stn_file_read(stn_scratch_path("agent.state"), 1 << 20, &buf, NULL) == STN_OK);
    return buf;
}

static void round_trip(struct stn_journal *journal, const struct stn_place *place, struct stn_agent_record *record)
{
    struct stn_err err;
    static struct stn_agent_record back;
    if (stn_journal_save(journal, record, &err) != STN_OK) {
        return; /* what no core says */
    }
    struct stn_buf one = state_now();
    stn_scratch_require(record->phase != STN_AGENT_UPLOADING || stn_journal_is_spent(journal, &record->lease));
    stn_scratch_require(stn_journal_open(journal, place, &back, &err) == STN_OK);
    stn_scratch_require(stn_journal_save(journal, &back, &err) == STN_OK);
    struct stn_buf two = state_now();
    stn_scratch_require(one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
    stn_buf_fini(&one);
    stn_buf_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stn_place place;
    static struct stn_journal journal;
    static struct stn_agent_record record;
    struct stn_err err;
    struct stn_buf state = {0};
    struct stn_cursor cursor = stn_buf_cursor(data, size);
    size_t n_spent = stn_buf_take_u8(&cursor);
    n_spent |= (size_t)stn_buf_take_u8(&cursor) << 8;
    const uint8_t *spent = stn_buf_take(&cursor, n_spent);
    if (spent == NULL) {
        return 0;
    }
    if (place.folder[0] == '\0') {
        stn_scratch_require(stn_entropy_start(&err) == STN_OK && stn_place_open(&place, stn_scratch_folder(), &err) == STN_OK);
    }
    (void)stn_buf_add(&state, cursor.data + cursor.at, cursor.size - cursor.at);
    struct stn_digest digest = stn_digest_of(state.data, state.size);
    (void)stn_buf_add(&state, digest.bytes, sizeof digest.bytes);
    stn_scratch_put("agent.state", state.data, state.size);
    stn_scratch_put("spent", spent, n_spent);
    stn_buf_fini(&state);
    enum stn_code code = stn_journal_open(&journal, &place, &record, &err);
    if (code == STN_OK) {
        round_trip(&journal, &place, &record);
    } else if (code == STN_CORRUPT || code == STN_UNSUPPORTED) { /* it starts afresh, and is ready */
        stn_scratch_require(record.phase == STN_AGENT_IDLE && record.n_installed == 0);
        stn_scratch_require(stn_journal_save(&journal, &record, &err) == STN_OK);
    }
    return 0;
}
