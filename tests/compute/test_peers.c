#include "tests/lib/run.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "compute/model/network.h"
#include "compute/model/random.h"

/* Random models of every family and format, made here by seed, against logits that another program computed from the same
 * files (and adapters), recorded once: tests/vectors/logits-*.json. Where that program computes as we do (floats, or int8 by
 * token), logits agree to the last digits of f32. Elsewhere it rounds what products read otherwise: blocks of 256 have
 * their own scale under TQ2_0, TQ1_0, Q4_K and Q6_K, blocks of 32 under Q8_0, and F16 and BF16 round to theirs; ours has one
 * scale a token, as the models were trained. There whole vectors are compared, and the best token where the second is
 * further off than the differences are. */

#define ROOM 64
#define TOP 8

static const struct vector {
    const char *name;
    double tolerance; /* of a logit, as a share of a row's root mean square; what the other's rounding leaves */
} vectors[] = {
    {"bitnet-i2s", 1e-5},     {"llama-i2s", 1e-5},     {"bitnet-scales", 2e-5}, {"llama", 2e-5},       {"bitnet-b158", 2e-5},
    {"bitnet-25", 2e-5},      {"bitnet-tq2-q6k", 0.12}, {"llama-tq1-q4k", 0.12}, {"llama-f16-q8", 0.02}, {"bitnet-bf16", 0.03},
};

static struct stn_err err;

static uint32_t number(const json_t *json, const char *key)
{
    return (uint32_t)json_number_value(json_object_get(json, key));
}

static const char *word(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

static double at(const json_t *json, const char *key, size_t row)
{
    return json_number_value(json_array_get(json_object_get(json, key), row));
}

static struct stn_model *make_model(const json_t *json)
{
    char path[64] = "/tmp/stn_peers_XXXXXX", vocab[512];
    const struct stn_random_shape shape = {.name = "tiny", .n_embd = number(json, "embd"), .n_layers = number(json, "layers"),
                                           .n_heads = number(json, "heads"), .n_kv_heads = number(json, "kv_heads"),
                                           .n_ff = number(json, "ff")};
    const struct stn_random_kind kind = {.arch = word(json, "arch"), .type = stn_quant_named(word(json, "type"))->type,
                                         .table = stn_quant_named(word(json, "table"))->type,
                                         .scaled = json_is_true(json_object_get(json, "scales"))};
    struct stn_gguf *gguf = NULL;
    struct stn_model *model = NULL;
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    (void)snprintf(vocab, sizeof vocab, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_msg(stn_gguf_open(&gguf, vocab, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_random_write(&shape, &kind, gguf, number(json, "seed"), path, NULL, NULL, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_model_open(&model, path, &err) == STN_OK, "%s", err.text);
    stn_gguf_close(gguf);
    ck_assert_int_eq(unlink(path), 0);
    return model;
}

/* (n, n_vocab), to be freed. */
static float *compute(const struct stn_model *model, const json_t *json, const int32_t *tokens, size_t n)
{
    struct stn_adapter *adapter = NULL;
    struct stn_network *network = NULL;
    const struct stn_network_config config = {.max_tokens = n, .max_targets = 1, .context = n, .n_threads = 1,
                                              .act_int8 = strcmp(word(json, "activations"), "int8") == 0};
    if (number(json, "rank") > 0) {
        ck_assert_int_eq(stn_adapter_new(&adapter, stn_model_arch(model), number(json, "rank"), (float)number(json, "alpha"),
                                         STN_ARCH_ALL, &err), STN_OK);
        stn_adapter_init_hash(adapter, number(json, "adapter_seed"));
    }
    float *logits = stn_mem_new(n * stn_model_arch(model)->n_vocab, sizeof *logits);
    ck_assert_msg(stn_network_new(&network, model, adapter, &config, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_network_logits(network, tokens, n, logits, &err), STN_OK);
    stn_network_free(network);
    stn_adapter_free(adapter);
    return logits;
}

static size_t best_of(const float *z, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = z[i] > z[best] ? i : best;
    }
    return best;
}

/* One row: its norm and its largest values. True where the best token is clear and ours too. */
static bool compare_row(const json_t *json, size_t t, const float *z, size_t n_vocab, double tolerance, size_t *n_clear)
{
    const json_t *tokens = json_array_get(json_object_get(json, "top_tokens"), t);
    const json_t *values = json_array_get(json_object_get(json, "top_logits"), t);
    double squares = 0, norm = at(json, "norm", t), most = tolerance * norm / sqrt((double)n_vocab);
    for (size_t i = 0; i < n_vocab; i++) {
        squares += (double)z[i] * (double)z[i];
    }
    ck_assert_msg(fabs(sqrt(squares) - norm) <= tolerance * norm, "row %zu: norm %g, theirs %g", t, sqrt(squares), norm);
    for (size_t k = 0; k < TOP; k++) {
        double want = json_number_value(json_array_get(values, k));
        double got = (double)z[json_integer_value(json_array_get(tokens, k))];
        ck_assert_msg(fabs(got - want) <= most, "row %zu, logit %zu: %.7g, theirs %.7g", t, k, got, want);
    }
    bool is_clear = json_number_value(json_array_get(values, 0)) - json_number_value(json_array_get(values, 1)) > most;
    *n_clear += is_clear;
    return is_clear && (json_int_t)best_of(z, n_vocab) == json_integer_value(json_array_get(tokens, 0));
}

/* How far the directions of a whole row are apart. */
static double cosine(const json_t *json, const float *z, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    ck_assert_uint_eq(json_array_size(json_object_get(json, "last")), n);
    for (size_t i = 0; i < n; i++) {
        double a = at(json, "last", i), b = (double)z[i];
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    return ab / sqrt(aa * bb);
}

START_TEST(logits_are_those_that_another_program_computes)
{
    const struct vector *v = &vectors[_i];
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tests/vectors/logits-%s.json", STN_RUN_SOURCE, v->name);
    json_t *json = json_load_file(path, 0, NULL);
    ck_assert_msg(json_is_object(json), "%s", path);
    const json_t *list = json_object_get(json, "tokens");
    int32_t tokens[ROOM];
    size_t n = json_array_size(list), n_clear = 0, n_same = 0;
    ck_assert_uint_le(n, ROOM);
    for (size_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    struct stn_model *model = make_model(json);
    size_t n_vocab = stn_model_arch(model)->n_vocab;
    float *logits = compute(model, json, tokens, n);
    for (size_t t = 0; t < n; t++) {
        n_same += compare_row(json, t, logits + t * n_vocab, n_vocab, v->tolerance, &n_clear);
    }
    double same = cosine(json, logits + (n - 1) * n_vocab, n_vocab);
    ck_assert_msg(same > (v->tolerance < 1e-3 ? 1 - 1e-8 : 0.999), "cosine %.9f", same);
    ck_assert_msg(n_same * 100 >= n_clear * 95 && n_clear * 2 >= n, "%zu of %zu best tokens", n_same, n_clear);
    stn_mem_free(logits);
    stn_model_close(model);
    json_decref(json);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("peers");
    TCase *t = tcase_create("peers");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, logits_are_those_that_another_program_computes, 0, (int)(sizeof vectors / sizeof vectors[0]));
    suite_add_tcase(s, t);
    return s;
}
