#include "client/shell/journal.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hex.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "proto/codec.h"

#define MAGIC "stn-agt3"
#define MAGIC_SIZE 8
#define STATE_MAX ((size_t)256 << 10)
#define SPENT_LINE 17 /* sixteen digits and a newline */
#define ARENA_MAX ((size_t)1 << 20)

/* ---- bytes ----
 * magic, le32 flags, numbers, [le32 size, lease], [le32 size, config], le32 installed, each, digest of all before */
enum { HAS_LEASE = 1, HAS_CONFIG = 2 };

static enum stn_code put_msg(struct stn_buf *buf, const struct stn_msg *msg, struct stn_err *err)
{
    struct stn_buf bytes = {0};
    enum stn_code code = stn_codec_encode(msg, &bytes, err);
    if (code == STN_OK) {
        (void)stn_buf_add_u32(buf, (uint32_t)bytes.size);
        (void)stn_buf_add(buf, bytes.data, bytes.size);
    }
    stn_buf_fini(&bytes);
    return code;
}

static void put_numbers(struct stn_buf *buf, const struct stn_agent_record *record)
{
    (void)stn_buf_add_u32(buf, record->phase);
    (void)stn_buf_add_u64(buf, record->lease_expires_ms);
    (void)stn_buf_add_u64(buf, record->n_samples);
    (void)stn_buf_add_u32(buf, record->tier);
    (void)stn_buf_add_u32(buf, record->round_tier);
    (void)stn_buf_add(buf, record->round.bytes, sizeof record->round.bytes);
    (void)stn_buf_add(buf, record->config_digest.bytes, STN_DIGEST_SIZE);
    (void)stn_buf_add(buf, record->secure.cfg.bytes, STN_DIGEST_SIZE);
    (void)stn_buf_add(buf, record->secure.root.bytes, STN_DIGEST_SIZE);
    (void)stn_buf_add_u32(buf, record->secure.stage);
    (void)stn_buf_add(buf, record->secure.spoken.bytes, STN_DIGEST_SIZE);
    (void)stn_buf_add_u64(buf, record->n_rounds);
    (void)stn_buf_add(buf, record->rounds, sizeof record->rounds);
    (void)stn_buf_add(buf, record->upload.bytes, STN_DIGEST_SIZE);
    (void)stn_buf_add_u64(buf, record->upload_size);
    (void)stn_buf_add_u64(buf, record->next_check_in_ms);
}

static enum stn_code put(struct stn_buf *buf, const struct stn_agent_record *record, struct stn_err *err)
{
    bool has_lease = record->lease.task[0] != '\0', has_config = record->config.task[0] != '\0';
    (void)stn_buf_add(buf, MAGIC, MAGIC_SIZE);
    (void)stn_buf_add_u32(buf, (has_lease ? HAS_LEASE : 0u) | (has_config ? HAS_CONFIG : 0u));
    put_numbers(buf, record);
    enum stn_code code = STN_OK;
    if (has_lease) {
        code = put_msg(buf, &(struct stn_msg){.type = STN_MSG_LEASE, .lease = record->lease}, err);
    }
    if (code == STN_OK && has_config) {
        code = put_msg(buf, &(struct stn_msg){.type = STN_MSG_ROUND_CONFIG, .round_config = record->config}, err);
    }
    (void)stn_buf_add_u32(buf, record->n_installed);
    for (uint32_t i = 0; i < record->n_installed; i++) {
        (void)stn_buf_add(buf, record->installed[i].task, STN_MSG_NAME);
        (void)stn_buf_add_u64(buf, record->installed[i].version);
        (void)stn_buf_add(buf, record->installed[i].adapter.bytes, STN_DIGEST_SIZE);
    }
    struct stn_digest digest = stn_digest_of(buf->data, buf->size);
    (void)stn_buf_add(buf, digest.bytes, sizeof digest.bytes);
    return code == STN_OK && buf->failed ? stn_err_set(err, STN_MEMORY, "no memory for the agent's record") : code;
}

static void take_bytes(struct stn_cursor *cursor, void *to, size_t size)
{
    const uint8_t *p = stn_buf_take(cursor, size);
    if (p != NULL) {
        memcpy(to, p, size);
    }
}

/* Messages of these two kinds hold no pointers: they outlive the arena. */
static bool take_msg(struct stn_cursor *cursor, enum stn_msg_type type, struct stn_msg *ret)
{
    struct stn_arena arena = {.limit = ARENA_MAX};
    uint32_t size = stn_buf_take_u32(cursor);
    const uint8_t *p = cursor->failed ? NULL : stn_buf_take(cursor, size);
    bool ok = p != NULL && stn_codec_decode(ret, &arena, p, size, NULL) == STN_OK && ret->type == type;
    stn_arena_fini(&arena);
    return ok;
}

static bool take(struct stn_cursor *cursor, struct stn_agent_record *record)
{
    struct stn_msg msg;
    uint32_t flags = stn_buf_take_u32(cursor);
    record->phase = stn_buf_take_u32(cursor);
    record->lease_expires_ms = stn_buf_take_u64(cursor);
    record->n_samples = stn_buf_take_u64(cursor);
    record->tier = stn_buf_take_u32(cursor);
    record->round_tier = stn_buf_take_u32(cursor);
    take_bytes(cursor, record->round.bytes, sizeof record->round.bytes);
    take_bytes(cursor, record->config_digest.bytes, STN_DIGEST_SIZE);
    take_bytes(cursor, record->secure.cfg.bytes, STN_DIGEST_SIZE);
    take_bytes(cursor, record->secure.root.bytes, STN_DIGEST_SIZE);
    record->secure.stage = stn_buf_take_u32(cursor);
    take_bytes(cursor, record->secure.spoken.bytes, STN_DIGEST_SIZE);
    record->n_rounds = stn_buf_take_u64(cursor);
    take_bytes(cursor, record->rounds, sizeof record->rounds);
    take_bytes(cursor, record->upload.bytes, STN_DIGEST_SIZE);
    record->upload_size = stn_buf_take_u64(cursor);
    record->next_check_in_ms = stn_buf_take_u64(cursor);
    if ((flags & HAS_LEASE) != 0) {
        if (!take_msg(cursor, STN_MSG_LEASE, &msg)) {
            return false;
        }
        record->lease = msg.lease;
    }
    if ((flags & HAS_CONFIG) != 0) {
        if (!take_msg(cursor, STN_MSG_ROUND_CONFIG, &msg)) {
            return false;
        }
        record->config = msg.round_config;
    }
    record->n_installed = stn_buf_take_u32(cursor);
    if (cursor->failed || record->n_installed > STN_MSG_TASKS || record->phase > STN_AGENT_UPLOADED ||
        record->secure.stage > STN_STAGE_DONE || record->tier > STN_MSG_HALVINGS || record->round_tier > STN_MSG_HALVINGS) {
        return false;
    }
    for (uint32_t i = 0; i < record->n_installed; i++) {
        take_bytes(cursor, record->installed[i].task, STN_MSG_NAME);
        record->installed[i].version = stn_buf_take_u64(cursor);
        take_bytes(cursor, record->installed[i].adapter.bytes, STN_DIGEST_SIZE);
        if (record->installed[i].task[STN_MSG_NAME - 1] != '\0') {
            return false;
        }
    }
    bool needs_lease = record->phase != STN_AGENT_IDLE;
    return !cursor->failed && cursor->at == cursor->size && (!needs_lease || (flags & HAS_LEASE) != 0);
}

static enum stn_code read_state(const struct stn_journal *journal, struct stn_agent_record *record, struct stn_err *err)
{
    struct stn_buf bytes = {0};
    enum stn_code code = stn_file_read(journal->path, STATE_MAX, &bytes, err);
    if (code != STN_OK) {
        stn_buf_fini(&bytes);
        return code == STN_LIMIT ? stn_err_set(err, STN_CORRUPT, "%s: too long to be the agent's record", journal->path)
                                 : code;
    }
    bool is_ours = bytes.size > MAGIC_SIZE + STN_DIGEST_SIZE && memcmp(bytes.data, MAGIC, MAGIC_SIZE - 1) == 0;
    if (is_ours && bytes.data[MAGIC_SIZE - 1] != MAGIC[MAGIC_SIZE - 1]) {
        code = stn_err_set(err, STN_UNSUPPORTED, "%s: written by another version of the agent", journal->path);
    } else {
        size_t size = is_ours ? bytes.size - STN_DIGEST_SIZE : 0;
        struct stn_digest digest = stn_digest_of(bytes.data, size);
        struct stn_cursor cursor = stn_buf_cursor(bytes.data, size);
        bool ok = is_ours && memcmp(bytes.data + size, digest.bytes, sizeof digest.bytes) == 0 &&
                  stn_buf_take(&cursor, MAGIC_SIZE) != NULL && take(&cursor, record);
        code = ok ? STN_OK : stn_err_set(err, STN_CORRUPT, "%s: the agent's record is damaged", journal->path);
    }
    stn_buf_fini(&bytes);
    return code;
}

/* ---- spent leases ---- */

static uint64_t name_of(const struct stn_msg_lease *lease)
{
    uint8_t numbers[16];
    struct stn_digest_state state;
    stn_buf_put_u64(numbers, lease->lease);
    stn_buf_put_u64(numbers + 8, lease->version);
    stn_digest_init(&state);
    stn_digest_add(&state, numbers, sizeof numbers);
    stn_digest_add(&state, lease->adapter.digest.bytes, sizeof lease->adapter.digest.bytes);
    stn_digest_add(&state, lease->task, strnlen(lease->task, sizeof lease->task));
    struct stn_digest digest = stn_digest_end(&state);
    return stn_buf_get_u64(digest.bytes);
}

/* The last ones alone are looked at: a device may live long. A line that a power cut left short is the last one, and its lease never began to leave. */
static enum stn_code read_spent(struct stn_journal *journal, struct stn_err *err)
{
    struct stn_file_map text = {0};
    if (!stn_file_exists(journal->spent_path)) {
        return STN_OK;
    }
    enum stn_code code = stn_file_map(&text, journal->spent_path, STN_FILE_USE_RANDOM, err);
    size_t n = text.size / SPENT_LINE;
    journal->n_spent = n < STN_JOURNAL_SPENT ? 0 : n - STN_JOURNAL_SPENT;
    for (size_t at = (size_t)journal->n_spent * SPENT_LINE; code == STN_OK && at + SPENT_LINE <= text.size;
         at += SPENT_LINE) {
        uint8_t bytes[8];
        char line[SPENT_LINE];
        memcpy(line, text.data + at, SPENT_LINE - 1);
        line[SPENT_LINE - 1] = '\0';
        if (!stn_hex_get(bytes, sizeof bytes, line)) {
            code = stn_err_set(err, STN_CORRUPT, "%s: line %zu is no lease: sterna-agent forget starts over",
                               journal->spent_path, at / SPENT_LINE + 1);
            break;
        }
        journal->spent[journal->n_spent++ % STN_JOURNAL_SPENT] = stn_buf_get_u64(bytes);
    }
    stn_file_unmap(&text);
    return code;
}

static enum stn_code spend(struct stn_journal *journal, const struct stn_msg_lease *lease, struct stn_err *err)
{
    uint8_t bytes[8];
    char line[SPENT_LINE + 1];
    int fd = -1;
    uint64_t name = name_of(lease);
    stn_buf_put_u64(bytes, name);
    stn_hex_put(line, bytes, sizeof bytes);
    line[SPENT_LINE - 1] = '\n';
    enum stn_code code = stn_file_open(&fd, journal->spent_path, STN_FILE_WRITE, STN_FILE_SECRET, err);
    if (code == STN_OK) { /* by its number, so that half a line is written over */
        code = stn_file_pwrite(fd, journal->spent_path, line, SPENT_LINE, journal->n_spent * SPENT_LINE, err);
    }
    code = code == STN_OK ? stn_file_sync(fd, journal->spent_path, err) : code;
    stn_file_close(fd);
    if (code == STN_OK) {
        journal->spent[journal->n_spent++ % STN_JOURNAL_SPENT] = name;
    }
    return code;
}

bool stn_journal_is_spent(const struct stn_journal *journal, const struct stn_msg_lease *lease)
{
    uint64_t name = name_of(lease);
    uint64_t n = journal->n_spent < STN_JOURNAL_SPENT ? journal->n_spent : STN_JOURNAL_SPENT;
    for (uint64_t i = 0; i < n; i++) {
        if (journal->spent[i] == name) {
            return true;
        }
    }
    return false;
}

/* ---- both ---- */

enum stn_code stn_journal_open(struct stn_journal *journal, const struct stn_place *place,
                               struct stn_agent_record *ret_record, struct stn_err *err)
{
    *journal = (struct stn_journal){0};
    stn_place_path(place, "agent.state", journal->path);
    stn_place_path(place, "spent", journal->spent_path);
    *ret_record = (struct stn_agent_record){0};
    enum stn_code code = read_spent(journal, err);
    if (code != STN_OK) {
        return code == STN_CORRUPT ? STN_IO : code; /* without it nobody knows what may be sent */
    }
    if (!stn_file_exists(journal->path)) {
        return STN_OK;
    }
    code = read_state(journal, ret_record, err);
    if (code == STN_CORRUPT || code == STN_UNSUPPORTED) {
        char aside[STN_FILE_PATH_MAX];
        *ret_record = (struct stn_agent_record){0};
        stn_place_path(place, "agent.state.broken", aside);
        enum stn_code moved = stn_file_rename(journal->path, aside, NULL);
        stn_err_ignore(moved); /* the next save replaces it */
    }
    return code;
}

enum stn_code stn_journal_save(struct stn_journal *journal, const struct stn_agent_record *record, struct stn_err *err)
{
    struct stn_buf bytes = {0};
    enum stn_code code = STN_OK;
    if (record->phase >= STN_AGENT_UPLOADING && !stn_journal_is_spent(journal, &record->lease)) {
        code = spend(journal, &record->lease, err);
    }
    code = code == STN_OK ? put(&bytes, record, err) : code;
    code = code == STN_OK ? stn_file_replace(journal->path, bytes.data, bytes.size, STN_FILE_SECRET, err) : code;
    stn_buf_fini(&bytes);
    return code;
}
