#include "client/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "base/str.h"
#include "client/cli/session.h"
#include "client/shell/evidence.h"
#include "client/shell/owner.h"

struct options {
    const char *dir, *config;
};

static const struct options defaults = {0};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"dir", 0, STN_OPTION_STR, AT(dir), "DIR", "the agent's folder ($XDG_STATE_HOME/sterna)"},
    {"config", 'c', STN_OPTION_STR, AT(config), "FILE",
     "its agent.conf, with the pinned key (DIR/agent.conf or $XDG_CONFIG_HOME/sterna/agent.conf)"},
    {0},
};

/* What is shown, and what came of it. */
struct show {
    char folder[STN_FILE_PATH_MAX]; /* with the evidence */
    const uint8_t *key;
    json_t *pieces; /* NULL: as text */
    unsigned n, n_bad;
};

static enum stn_code read_owner(const struct options *o, struct stn_owner *ret, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = STN_OK;
    if (o->config != NULL) {
        code = stn_str_copy(path, sizeof path, o->config)
                   ? STN_OK
                   : stn_err_set(err, STN_LIMIT, "%.80s...: the path is too long", o->config);
    } else {
        code = o->dir != NULL ? stn_file_join(path, o->dir, "agent.conf", err) : stn_owner_default_config(path, err);
    }
    return code == STN_OK ? stn_owner_read(ret, path, err) : code;
}

static json_t *json_of(const char *name, const struct stn_secagg_client_evidence *evidence, bool is_verified)
{
    char cfg[65], roster[65], root[65], signature[129];
    json_t *statements = json_array();
    stn_hex_put(cfg, evidence->cfg.bytes, STN_DIGEST_SIZE);
    stn_hex_put(roster, evidence->root.bytes, STN_DIGEST_SIZE);
    for (int i = 0; i < 2; i++) {
        stn_hex_put(root, evidence->statements[i].root.bytes, STN_DIGEST_SIZE);
        stn_hex_put(signature, evidence->statements[i].signature, sizeof evidence->statements[i].signature);
        (void)json_array_append_new(statements, json_pack("{ss sI ss}", "root", root, "n",
                                                          (json_int_t)evidence->statements[i].n, "signature", signature));
    }
    return json_pack("{ss ss ss ss so sb}", "file", name, "of", evidence->of_rosters ? "rosters" : "survivors", "config", cfg,
                     "roster", roster, "statements", statements, "verified", is_verified);
}

static void print(const char *name, const struct stn_secagg_client_evidence *evidence, const struct stn_err *why)
{
    char hex[129];
    stn_hex_put(hex, evidence->cfg.bytes, STN_DIGEST_SIZE);
    (void)printf("%s\n  two %s of the round with config %s\n", name, evidence->of_rosters ? "rosters" : "sets of survivors",
                 hex);
    for (int i = 0; i < 2; i++) {
        stn_hex_put(hex, evidence->statements[i].root.bytes, STN_DIGEST_SIZE);
        (void)printf("  %u devices  root %s\n", (unsigned)evidence->statements[i].n, hex);
        stn_hex_put(hex, evidence->statements[i].signature, sizeof evidence->statements[i].signature);
        (void)printf("             signature %s\n", hex);
    }
    if (why == NULL) {
        (void)printf("  both are signed by the coordinator's pinned key, and they cannot both be\n");
    } else {
        (void)printf("  NOT verified: %s\n", why->text);
    }
}

static enum stn_code show(void *user, const char *name, struct stn_err *err)
{
    struct show *show = user;
    char path[STN_FILE_PATH_MAX];
    struct stn_secagg_client_evidence evidence = {0};
    struct stn_err why;
    enum stn_code code = stn_file_join(path, show->folder, name, err);
    if (code != STN_OK) {
        return code;
    }
    code = stn_evidence_read(path, &evidence, &why);
    code = code == STN_OK ? stn_evidence_verify(&evidence, show->key, &why) : code;
    show->n++;
    show->n_bad += code != STN_OK;
    if (show->pieces != NULL) {
        return json_array_append_new(show->pieces, json_of(name, &evidence, code == STN_OK)) == 0
                   ? STN_OK
                   : stn_err_set(err, STN_MEMORY, "no memory for JSON");
    }
    print(name, &evidence, code == STN_OK ? NULL : &why);
    return STN_OK;
}

static enum stn_code show_all(const struct options *o, const struct stn_owner *owner, bool is_json, struct stn_err *err)
{
    char key[65];
    struct show all = {.key = owner->key, .pieces = is_json ? json_array() : NULL};
    enum stn_code code = stn_file_join(all.folder, o->dir != NULL ? o->dir : owner->folder, "evidence", err);
    if (code == STN_OK && stn_file_exists(all.folder)) {
        code = stn_file_list(all.folder, show, &all, err);
    }
    if (code != STN_OK) {
        json_decref(all.pieces);
        return code;
    }
    if (is_json) {
        stn_hex_put(key, owner->key, sizeof owner->key);
        code = stn_session_take_json(json_pack("{ss so}", "key", key, "evidence", all.pieces), err);
    } else if (all.n == 0) {
        (void)printf("no evidence: nothing that the coordinator signed for this device contradicts itself\n");
    }
    if (code == STN_OK && all.n_bad > 0) {
        code = stn_err_set(err, STN_DENIED, "%s: %u of %u files do not hold two statements that the pinned key has signed",
                           all.folder, all.n_bad, all.n);
    }
    return code;
}

static enum stn_code log_evidence(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct stn_owner *owner = stn_mem_new(1, sizeof *owner);
    if (owner == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for agent.conf");
    }
    enum stn_code code = read_owner(o, owner, err);
    code = code == STN_OK ? show_all(o, owner, line->json, err) : code;
    stn_mem_free(owner);
    return code;
}

const struct stn_command stn_cmd_log_evidence = {
    .name = "log evidence", .args = "",
    .summary = "what this device has against its coordinator: two signed statements that cannot both be",
    .example = "sterna log evidence --dir ~/.local/state/sterna", .options = options, .defaults = &defaults,
    .size = sizeof(struct options), .run = log_evidence,
};
