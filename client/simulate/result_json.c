#include "client/simulate/result_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *score(const struct stn_lab_score *s)
{
    return json_pack("{s:f, s:f}", "loss", s->loss, "accuracy", s->accuracy);
}

static json_t *round_of(const struct stn_result_round *r)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:i, s:i, s:I, s:I, s:f}", "round", (json_int_t)r->round, "train_loss",
                     r->train_loss, "eval_loss", r->eval_loss, "eval_accuracy", r->eval_accuracy, "clients",
                     (int)r->n_clients, "lost", (int)r->n_lost, "bytes_up", (json_int_t)r->bytes_up, "bytes_down",
                     (json_int_t)r->bytes_down, "virtual_s", (double)r->virtual_ms / 1000);
}

static json_t *object(const struct stn_result *result)
{
    char digest[STN_DIGEST_TEXT];
    json_t *rounds = json_array();
    for (size_t i = 0; i < result->n_rounds; i++) {
        (void)json_array_append_new(rounds, round_of(&result->rounds[i]));
    }
    stn_digest_put_text(&result->adapter, digest);
    json_t *o = json_pack("{s:s, s:I, s:o, s:o, s:o, s:s, s:I, s:f, s:s, s:s, s:I, s:I, s:I, s:b, s:i, s:b}", "model",
                          result->model, "clients", (json_int_t)result->n_clients, "rounds", rounds, "base",
                          score(&result->base), "federated", score(&result->federated), "adapter_digest", digest, "seed",
                          (json_int_t)result->seed, "wall_s", result->wall_s, "backend", result->backend, "kernel",
                          result->kernel, "values", (json_int_t)result->n_values, "examples",
                          (json_int_t)result->n_examples, "tests", (json_int_t)result->n_test, "secure", result->secure, "n_min", (int)result->n_min,
                          "stopped", result->stopped);
    if (o != NULL && result->has_compare) {
        (void)json_object_set_new(o, "local", score(&result->local));
        (void)json_object_set_new(o, "central", score(&result->central));
    }
    return o;
}

enum stn_code stn_result_json_text(const struct stn_result *result, struct stn_buf *ret, struct stn_err *err)
{
    json_t *o = object(result);
    char *text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT);
    json_decref(o);
    bool fits = text != NULL && stn_buf_add_str(ret, text);
    free(text);
    return fits ? STN_OK : stn_err_set(err, STN_MEMORY, "no memory for the result as JSON");
}
