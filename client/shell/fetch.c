#include "client/shell/fetch.h"

#include <assert.h>
#include <string.h>

static void end(struct stn_fetch *fetch, enum stn_code code, const struct stn_err *err)
{
    stn_fetch_stop(fetch);
    fetch->told(fetch->user, code, err);
}

static void fail(struct stn_fetch *fetch, enum stn_code code, const char *what)
{
    char name[STN_DIGEST_TEXT];
    struct stn_err err;
    stn_digest_put_text(&fetch->blob.digest, name);
    (void)stn_err_set(&err, code, "%s of blob %.16s: %s", what, name, stn_err_name(code));
    end(fetch, code, &err);
}

/* A refusal that may pass is one to the core, too. */
static enum stn_code code_of(enum stn_code code, const struct stn_msg *reply)
{
    if (code != STN_OK) {
        return code;
    }
    return reply->type == STN_MSG_REFUSED ? (enum stn_code)reply->refused.code : STN_INVALID;
}

static void on_chunk(struct stn_dialog_ask *ask, enum stn_code code, const struct stn_msg *reply);

static void ask_more(struct stn_fetch *fetch)
{
    for (size_t i = 0; i < STN_FETCH_WINDOW; i++) {
        struct stn_fetch_slot *slot = &fetch->slots[i];
        fetch->next = stn_parts_next_missing(fetch->incoming.parts, fetch->next);
        if (slot->ask.is_asked || fetch->next >= stn_parts_n(fetch->incoming.parts)) {
            continue;
        }
        slot->fetch = fetch;
        slot->index = (uint32_t)fetch->next;
        slot->n = 0;
        while (slot->n < STN_MSG_CHUNKS && fetch->next < stn_parts_n(fetch->incoming.parts) &&
               !stn_parts_has(fetch->incoming.parts, fetch->next)) {
            slot->n++;
            fetch->next++;
        }
        slot->ask.told = on_chunk;
        fetch->n_out++;
        stn_dialog_ask(fetch->dialog, &slot->ask,
                       &(struct stn_msg){.type = STN_MSG_GET_CHUNK,
                                         .get_chunk = {.digest = fetch->blob.digest, .index = slot->index, .n = slot->n}},
                       slot->n * STN_FETCH_MS);
    }
}

static void go_on(struct stn_fetch *fetch)
{
    struct stn_err err = {0};
    ask_more(fetch);
    if (fetch->n_out == 0) {
        enum stn_code code = stn_blob_finish(&fetch->incoming, &err);
        end(fetch, code, &err);
    }
}

static enum stn_code take(struct stn_fetch *fetch, const struct stn_msg_chunk *chunk, uint32_t n, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    const uint8_t *at = chunk->data;
    for (uint32_t i = chunk->index; i < chunk->index + n && code == STN_OK; i++) {
        size_t size = stn_parts_chunk_size(fetch->incoming.parts, i);
        code = stn_blob_take_chunk(&fetch->incoming, i, at, size, err);
        at += size;
    }
    return code;
}

static void on_chunk(struct stn_dialog_ask *ask, enum stn_code code, const struct stn_msg *reply)
{
    struct stn_fetch_slot *slot = STN_LIST_OF(ask, struct stn_fetch_slot, ask);
    struct stn_fetch *fetch = slot->fetch;
    struct stn_err err = {0};
    fetch->n_out--;
    if (code != STN_OK || reply->type != STN_MSG_CHUNK_IS) {
        fail(fetch, code_of(code, reply), "a chunk");
        return;
    }
    const struct stn_msg_chunk *chunk = &reply->chunk;
    if (chunk->index != slot->index || chunk->size != stn_digest_run_size(fetch->blob.size, slot->index, slot->n) ||
        !stn_digest_equal(&chunk->digest, &fetch->blob.digest)) {
        fail(fetch, STN_INVALID, "a chunk");
        return;
    }
    code = take(fetch, chunk, slot->n, &err);
    if (code != STN_OK) {
        end(fetch, code, &err);
        return;
    }
    go_on(fetch);
}

static void on_leaves(struct stn_dialog_ask *ask, enum stn_code code, const struct stn_msg *reply)
{
    struct stn_fetch *fetch = STN_LIST_OF(ask, struct stn_fetch_slot, ask)->fetch;
    struct stn_err err = {0};
    if (code != STN_OK || reply->type != STN_MSG_LEAVES_ARE) {
        fail(fetch, code_of(code, reply), "the leaves");
        return;
    }
    const struct stn_msg_leaves *leaves = &reply->leaves;
    if (leaves->size != fetch->blob.size || !stn_digest_equal(&leaves->digest, &fetch->blob.digest)) {
        fail(fetch, STN_INVALID, "the leaves");
        return;
    }
    code = stn_blob_begin(&fetch->incoming, fetch->store, &fetch->blob.digest, leaves->size, leaves->leaves,
                          leaves->n_leaves, &err);
    if (code != STN_OK) {
        end(fetch, code, &err);
        return;
    }
    fetch->next = 0;
    go_on(fetch);
}

void stn_fetch_begin(struct stn_fetch *fetch, const struct stn_blob_ref *blob)
{
    assert(!fetch->is_busy);
    fetch->is_busy = true;
    fetch->blob = *blob;
    fetch->n_out = 0;
    if (stn_blob_has(fetch->store, &blob->digest)) {
        end(fetch, STN_OK, NULL);
        return;
    }
    fetch->slots[0].fetch = fetch;
    fetch->slots[0].ask.told = on_leaves;
    stn_dialog_ask(fetch->dialog, &fetch->slots[0].ask,
                   &(struct stn_msg){.type = STN_MSG_GET_LEAVES, .get_leaves = {.digest = blob->digest}}, STN_FETCH_MS);
}

void stn_fetch_stop(struct stn_fetch *fetch)
{
    if (!fetch->is_busy) {
        return;
    }
    for (size_t i = 0; i < STN_FETCH_WINDOW; i++) {
        stn_dialog_drop(&fetch->slots[i].ask);
    }
    fetch->n_out = 0;
    stn_blob_stop(&fetch->incoming);
    fetch->incoming = (struct stn_blob_incoming){0};
    fetch->is_busy = false;
}
