#include "client/shell/evidence.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "secagg/roster.h"

#define FORMAT "sterna evidence 1"
#define FILE_MAX ((size_t)64 << 10)

static json_t *hex(const uint8_t *p, size_t size)
{
    char text[2 * 64 + 1];
    stn_hex_put(text, p, size);
    return json_string(text);
}

static const char *kind_of(const struct stn_secagg_client_evidence *evidence)
{
    return evidence->of_rosters ? "rosters" : "survivors";
}

enum stn_code stn_evidence_keep(const struct stn_place *place, const struct stn_secagg_client_evidence *evidence,
                                const uint8_t key[static 32], char ret_path[static STN_FILE_PATH_MAX],
                                struct stn_err *err)
{
    char name[64], half[STN_DIGEST_SIZE + 1];
    json_t *statements = json_array();
    for (int i = 0; i < 2; i++) {
        (void)json_array_append_new(
            statements, json_pack("{so sI so}", "root", hex(evidence->statements[i].root.bytes, STN_DIGEST_SIZE), "n",
                                  (json_int_t)evidence->statements[i].n, "signature",
                                  hex(evidence->statements[i].signature, sizeof evidence->statements[i].signature)));
    }
    json_t *object = json_pack("{ss ss so so so so}", "format", FORMAT, "of", kind_of(evidence), "config",
                               hex(evidence->cfg.bytes, STN_DIGEST_SIZE), "roster",
                               hex(evidence->root.bytes, STN_DIGEST_SIZE), "key", hex(key, 32), "statements", statements);
    char *text = object == NULL ? NULL : json_dumps(object, JSON_INDENT(2));
    stn_hex_put(half, evidence->cfg.bytes, STN_DIGEST_SIZE / 2);
    (void)snprintf(name, sizeof name, "evidence/%s-%s.json", half, kind_of(evidence));
    stn_place_path(place, name, ret_path);
    enum stn_code code = text == NULL ? stn_err_set(err, STN_MEMORY, "no memory for %s", ret_path)
                                      : stn_file_replace(ret_path, text, strlen(text), STN_FILE_MODE, err);
    free(text);
    json_decref(object);
    return code;
}

static bool take(const json_t *object, const char *key, uint8_t *ret, size_t size)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL && stn_hex_get(ret, size, text);
}

static bool parse(const json_t *object, struct stn_secagg_client_evidence *ret)
{
    const char *format = json_string_value(json_object_get(object, "format"));
    const char *of = json_string_value(json_object_get(object, "of"));
    const json_t *statements = json_object_get(object, "statements");
    bool ok = format != NULL && strcmp(format, FORMAT) == 0 && of != NULL &&
              take(object, "config", ret->cfg.bytes, STN_DIGEST_SIZE) &&
              take(object, "roster", ret->root.bytes, STN_DIGEST_SIZE) && json_array_size(statements) == 2;
    ret->of_rosters = ok && strcmp(of, "rosters") == 0;
    ok = ok && (ret->of_rosters || strcmp(of, "survivors") == 0);
    for (size_t i = 0; i < 2 && ok; i++) {
        const json_t *one = json_array_get(statements, i);
        json_int_t n = json_integer_value(json_object_get(one, "n"));
        ok = n > 0 && n <= UINT32_MAX && take(one, "root", ret->statements[i].root.bytes, STN_DIGEST_SIZE) &&
             take(one, "signature", ret->statements[i].signature, sizeof ret->statements[i].signature);
        ret->statements[i].n = (uint32_t)n;
    }
    return ok;
}

enum stn_code stn_evidence_read(const char *path, struct stn_secagg_client_evidence *ret, struct stn_err *err)
{
    struct stn_buf text = {0};
    struct stn_secagg_client_evidence evidence = {0};
    enum stn_code code = stn_file_read(path, FILE_MAX, &text, err);
    if (code == STN_OK) {
        json_t *object = json_loadb((const char *)text.data, text.size, 0, NULL);
        code = parse(object, &evidence) ? STN_OK : stn_err_set(err, STN_CORRUPT, "%s: this is no evidence", path);
        json_decref(object);
    }
    stn_buf_fini(&text);
    if (code == STN_OK) {
        *ret = evidence;
    }
    return code;
}

static enum stn_code verify_one(const struct stn_secagg_client_evidence *evidence, int i, const uint8_t key[static 32],
                                struct stn_err *err)
{
    struct stn_derive_round round = {.cfg = evidence->cfg, .root = evidence->root};
    if (evidence->of_rosters) {
        round.root = evidence->statements[i].root;
        round.n = evidence->statements[i].n;
        return stn_roster_verify(evidence->statements[i].signature, &round, key, err);
    }
    struct stn_roster_survivors survivors = {.root = evidence->statements[i].root, .n = evidence->statements[i].n};
    return stn_roster_survivors_verify(evidence->statements[i].signature, STN_ROSTER_SURVIVORS, &round, &survivors, key,
                                       err);
}

enum stn_code stn_evidence_verify(const struct stn_secagg_client_evidence *evidence, const uint8_t key[static 32],
                                  struct stn_err *err)
{
    if (evidence->statements[0].n == evidence->statements[1].n &&
        stn_digest_equal(&evidence->statements[0].root, &evidence->statements[1].root)) {
        return stn_err_set(err, STN_DENIED, "the two statements say the same");
    }
    enum stn_code code = verify_one(evidence, 0, key, err);
    return code == STN_OK ? verify_one(evidence, 1, key, err) : code;
}
