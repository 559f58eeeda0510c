#include "server/shell/kept.h"

#include <jansson.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "proto/codec.h"
#include "server/shell/outer.h"
#include "update/pack.h"
#include "update/round.h"

#define CONFIG_BYTES 65536
#define JSON_BYTES 65536

/* ---- writing ---- */

static enum stn_code put(const char *folder, const char *name, const void *p, size_t size, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_file_join(path, folder, name, err);
    return code == STN_OK ? stn_file_replace(path, p, size, STN_FILE_SECRET, err) : code;
}

static json_t *json_digest(const struct stn_digest *digest)
{
    char text[STN_DIGEST_TEXT];
    stn_digest_put_text(digest, text);
    return json_string(text);
}

static enum stn_code put_json(const char *folder, const struct stn_release_input *input,
                              const struct stn_release_output *output, struct stn_err *err)
{
    const struct stn_task_spec *spec = input->spec;
    const struct stn_outer_spec *outer = &spec->outer;
    json_t *root = json_pack("{ss sI ss sf sf sf sf sf sf so so sI so sI so sI sI}", "task", spec->name, "version",
                             (json_int_t)input->from->version + 1, "outer", stn_outer_names[outer->kind], "outer_rate",
                             outer->rate, "outer_momentum", outer->momentum, "outer_beta1", outer->beta1, "outer_beta2",
                             outer->beta2, "outer_eps", outer->eps, "clip_quantile", spec->clip_quantile, "base", json_digest(&spec->base.digest), "from_adapter",
                             json_digest(&input->from->adapter.digest), "from_adapter_size",
                             (json_int_t)input->from->adapter.size, "from_state",
                             json_digest(&input->from->state.digest), "from_state_size",
                             (json_int_t)input->from->state.size, "adapter", json_digest(&output->adapter.digest),
                             "n_included", (json_int_t)input->n_included, "tier", (json_int_t)input->tier);
    char *text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(root);
    if (text == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for release.json");
    }
    enum stn_code code = put(folder, "release.json", text, strlen(text), err);
    free(text);
    return code;
}

enum stn_code stn_kept_write(const char *folder, const struct stn_release_input *input,
                             const struct stn_release_output *output, struct stn_err *err)
{
    struct stn_buf bytes = {0};
    struct stn_msg msg = {.type = STN_MSG_ROUND_CONFIG, .round_config = *input->config};
    enum stn_code code = stn_codec_encode(&msg, &bytes, err);
    if (code == STN_OK) {
        code = stn_file_make_folder(folder, 0700, err);
    }
    if (code == STN_OK) {
        code = put(folder, "config", bytes.data, bytes.size, err);
    }
    stn_buf_fini(&bytes);
    return code == STN_OK ? put_json(folder, input, output, err) : code;
}

enum stn_code stn_kept_masks(const char *folder, const struct stn_mask *masks, size_t n, bool is_first,
                             struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf bytes = {0};
    int fd = -1;
    for (size_t i = 0; i < n; i++) {
        (void)stn_buf_add_u8(&bytes, masks[i].is_minus);
        (void)stn_buf_add(&bytes, masks[i].seed, sizeof masks[i].seed);
    }
    enum stn_code code = bytes.failed ? stn_err_set(err, STN_MEMORY, "no memory to keep %zu masks", n) : STN_OK;
    code = code == STN_OK ? stn_file_make_folder(folder, 0700, err) : code;
    code = code == STN_OK ? stn_file_join(path, folder, "masks", err) : code;
    code = code == STN_OK ? stn_file_open(&fd, path, STN_FILE_APPEND, STN_FILE_SECRET, err) : code;
    code = code == STN_OK && is_first ? stn_file_truncate(fd, path, 0, err) : code;
    code = code == STN_OK ? stn_file_append(fd, path, bytes.data, bytes.size, err) : code;
    code = code == STN_OK ? stn_file_sync(fd, path, err) : code;
    stn_file_close(fd);
    stn_buf_fini(&bytes);
    return code;
}

void stn_kept_remove(const char *folder)
{
    struct stn_err err;
    enum stn_code code = stn_file_remove_tree(folder, &err);
    if (code != STN_OK && code != STN_NOT_FOUND) {
        stn_log_err(STN_LOG_WARN, "kept_left", &err);
    }
}

/* ---- reading ---- */

struct recomputing {
    const char *folder;
    struct stn_task_spec spec;
    struct stn_msg_round_config config;
    struct stn_version_record from;
    struct stn_digest released;
    struct stn_encode_config encoding;
    uint32_t *sum;
    size_t length;
    uint32_t n, tier;
};

static enum stn_code read_config(struct recomputing *r, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf bytes = {0};
    struct stn_arena arena = {.limit = (size_t)1 << 20};
    struct stn_msg msg = {0};
    enum stn_code code = stn_file_join(path, r->folder, "config", err);
    code = code == STN_OK ? stn_file_read(path, CONFIG_BYTES, &bytes, err) : code;
    code = code == STN_OK ? stn_codec_decode(&msg, &arena, bytes.data, bytes.size, err) : code;
    if (code == STN_OK && msg.type != STN_MSG_ROUND_CONFIG) {
        code = stn_err_set(err, STN_CORRUPT, "%s: this is no round's config", path);
    }
    r->config = msg.round_config;
    stn_arena_fini(&arena);
    stn_buf_fini(&bytes);
    return code == STN_OK ? stn_round_encoding(&r->config, &r->encoding, err) : code;
}

static enum stn_code take_json(struct recomputing *r, json_t *root, const char *path, struct stn_err *err)
{
    const char *task, *base, *adapter, *state, *released;
    json_int_t version, adapter_size, state_size, tier;
    const char *outer;
    struct stn_task_spec *spec = &r->spec;
    if (json_unpack(root, "{ss sI ss sF sF sF sF sF sF ss ss sI ss sI ss sI}", "task", &task, "version", &version, "outer",
                    &outer, "outer_rate", &spec->outer.rate, "outer_momentum", &spec->outer.momentum, "outer_beta1",
                    &spec->outer.beta1, "outer_beta2", &spec->outer.beta2, "outer_eps", &spec->outer.eps, "clip_quantile",
                    &spec->clip_quantile, "base", &base, "from_adapter", &adapter, "from_adapter_size", &adapter_size,
                    "from_state", &state, "from_state_size", &state_size, "adapter", &released, "tier", &tier) != 0 ||
        !stn_str_copy(spec->name, sizeof spec->name, task) || !stn_digest_get_text(&spec->base.digest, base) ||
        !stn_digest_get_text(&r->from.adapter.digest, adapter) || !stn_digest_get_text(&r->from.state.digest, state) ||
        !stn_digest_get_text(&r->released, released)) {
        return stn_err_set(err, STN_CORRUPT, "%s: not the release.json of a round", path);
    }
    while (spec->outer.kind < STN_OUTER_KINDS && strcmp(outer, stn_outer_names[spec->outer.kind]) != 0) {
        spec->outer.kind++;
    }
    if (spec->outer.kind == STN_OUTER_KINDS) {
        return stn_err_set(err, STN_CORRUPT, "%s: no optimiser is called %.40s", path, outer);
    }
    if (tier < 0 || tier > STN_MSG_HALVINGS) {
        return stn_err_set(err, STN_CORRUPT, "%s: no tier is %lld", path, (long long)tier);
    }
    r->tier = (uint32_t)tier;
    r->from.version = (uint64_t)version - 1;
    r->from.adapter.size = (uint64_t)adapter_size;
    r->from.state.size = (uint64_t)state_size;
    return STN_OK;
}

static enum stn_code read_json(struct recomputing *r, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf bytes = {0};
    enum stn_code code = stn_file_join(path, r->folder, "release.json", err);
    code = code == STN_OK ? stn_file_read(path, JSON_BYTES, &bytes, err) : code;
    if (code == STN_OK) {
        json_t *root = json_loadb((const char *)bytes.data, bytes.size, 0, NULL);
        code = take_json(r, root, path, err);
        json_decref(root);
    }
    stn_buf_fini(&bytes);
    return code;
}

static enum stn_code add_update(void *user, const char *name, struct stn_err *err)
{
    struct recomputing *r = user;
    struct stn_id device;
    char path[STN_FILE_PATH_MAX];
    struct stn_file_map map = {0};
    if (!stn_hex_get(device.bytes, sizeof device.bytes, name)) {
        return STN_OK; /* config, release.json */
    }
    enum stn_code code = stn_file_join(path, r->folder, name, err);
    code = code == STN_OK ? stn_file_map(&map, path, STN_FILE_USE_ONCE, err) : code;
    if (code == STN_OK && map.size != stn_round_upload_size(&r->encoding)) {
        code = stn_err_set(err, STN_CORRUPT, "%s: %zu bytes, an update of this round has %llu", path, map.size,
                           (unsigned long long)stn_round_upload_size(&r->encoding));
    }
    if (code == STN_OK) {
        stn_pack_add(r->sum, map.data, r->length, r->encoding.bits);
        r->n++;
    }
    stn_file_unmap(&map);
    return code;
}

/* Of a secure round: what came off its sum comes off this one. */
static enum stn_code take_masks(struct recomputing *r, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_file_map map = {0};
    enum stn_code code = stn_file_join(path, r->folder, "masks", err);
    code = code == STN_OK ? stn_file_map(&map, path, STN_FILE_USE_ONCE, err) : code;
    for (size_t at = 0; code == STN_OK && at + 1 + STN_MASK_SEED <= map.size; at += 1 + STN_MASK_SEED) {
        struct stn_mask mask = {.is_minus = map.data[at] == 1};
        memcpy(mask.seed, map.data + at + 1, sizeof mask.seed);
        stn_mask_apply(r->sum, r->length, 0, &mask, 1);
    }
    stn_file_unmap(&map);
    return code;
}

enum stn_code stn_kept_recompute(const char *folder, const struct stn_blob_store *blobs, struct stn_release_output *ret,
                                 struct stn_digest *ret_released, struct stn_err *err)
{
    struct recomputing r = {.folder = folder};
    enum stn_code code = read_config(&r, err);
    code = code == STN_OK ? read_json(&r, err) : code;
    if (code != STN_OK) {
        return code;
    }
    r.length = stn_encode_length(&r.encoding);
    r.sum = stn_mem_new(r.length, sizeof *r.sum);
    if (r.sum == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a sum of %zu elements", r.length);
    }
    code = stn_file_list(folder, add_update, &r, err);
    code = code == STN_OK && r.config.secure ? take_masks(&r, err) : code;
    if (code == STN_OK) {
        const struct stn_release_input input = {
            .spec = &r.spec, .config = &r.config, .from = &r.from, .sum = r.sum, .n_included = r.n, .tier = r.tier};
        code = stn_release_next(blobs, &input, ret, err);
    }
    stn_mem_free(r.sum);
    if (code == STN_OK) {
        *ret_released = r.released;
    }
    return code;
}
