#include "tests/lib/run.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/model/network.h"
#include "compute/model/random.h"
#include "compute/model/repack.h"
#include "io/file.h"

/* What a model's file does not say, and the one who opens it does. */

enum { T = 7, E = 256, FF = 320, V = 1024 };

static struct stn_err err;
static char folder[32], path[64], other[64];
static struct stn_gguf *vocab;
static bool scaled; /* the models that are written have scales beside their weights */

static void start(void)
{
    char home[512];
    scaled = false;
    (void)snprintf(folder, sizeof folder, "/tmp/stn_reading_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/model.gguf", folder);
    (void)snprintf(other, sizeof other, "%s/other.gguf", folder);
    (void)snprintf(home, sizeof home, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_msg(stn_gguf_open(&vocab, home, &err) == STN_OK, "%s", err.text);
}

static void end(void)
{
    stn_gguf_close(vocab);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}

static void write_model(const char *to, enum stn_quant_type type, bool arm)
{
    const struct stn_random_shape shape = {.name = "reading", .n_embd = E, .n_layers = 1, .n_heads = 4, .n_kv_heads = 2,
                                           .n_ff = FF};
    const struct stn_random_kind kind = {.arch = "bitnet", .type = type, .table = STN_QUANT_F32, .i2_s_arm = arm,
                                         .scaled = scaled};
    ck_assert_msg(stn_random_write(&shape, &kind, vocab, 3, to, NULL, NULL, &err) == STN_OK, "%s", err.text);
}

static void logits_of(const char *from, const struct stn_model_reading *reading, float logits[static T * V])
{
    static const int32_t tokens[T] = {0, 324, 841, 283, 263, 842, 16};
    const struct stn_network_config config = {.max_tokens = T, .max_targets = 1, .context = T, .n_threads = 1,
                                              .act_int8 = true};
    struct stn_model *model = NULL;
    struct stn_network *network = NULL;
    ck_assert_msg(stn_model_open_with(&model, from, reading, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_network_new(&network, model, NULL, &config, &err), STN_OK);
    ck_assert_int_eq(stn_network_logits(network, tokens, T, logits, &err), STN_OK);
    stn_network_free(network);
    stn_model_close(model);
}

START_TEST(i2_s_is_the_same_model_in_both_packings_and_in_blocks)
{
    static float want[T * V], x86[T * V], arm[T * V], wrong[T * V];
    write_model(path, STN_QUANT_F32, false);
    logits_of(path, &(struct stn_model_reading){0}, want);
    write_model(path, STN_QUANT_I2_S, false);
    logits_of(path, &(struct stn_model_reading){0}, x86);
    logits_of(path, &(struct stn_model_reading){.i2_s_arm = true}, wrong);
    write_model(path, STN_QUANT_I2_S, true);
    logits_of(path, &(struct stn_model_reading){.i2_s_arm = true}, arm);
    ck_assert_mem_eq(want, x86, sizeof want);
    ck_assert_mem_eq(want, arm, sizeof want);
    ck_assert_mem_ne(want, wrong, sizeof want);
}
END_TEST

/* Weights of a tensor of floats, changed in the file. */
static void change(const char *file, const char *name, void (*how)(float *x, size_t n, double of), double of)
{
    struct stn_gguf *gguf = NULL;
    static float x[E * FF];
    ck_assert_int_eq(stn_gguf_open(&gguf, file, &err), STN_OK);
    const struct stn_gguf_tensor *t = stn_gguf_tensor(gguf, name);
    size_t at = (size_t)(t->data - (const uint8_t *)gguf->data), n = t->size / sizeof *x;
    memcpy(x, t->data, t->size);
    stn_gguf_close(gguf);
    how(x, n, of);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, x, n * sizeof *x, (off_t)at), (ssize_t)(n * sizeof *x));
    (void)close(fd);
}

static double sum;

/* 0 becomes less than a third of the others, and they vary by a fifth: the nearest of three stays what it was. */
static void blur(float *x, size_t n, double of)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 8);
    sum = 0;
    for (size_t i = 0; i < n; i++) {
        double u = stn_rng_unit(&rng) - 0.5;
        x[i] = x[i] != 0 ? (float)((double)x[i] * (1 + 0.4 * u)) : (float)(0.3 * of * u);
        sum += fabs((double)x[i]);
    }
    sum /= (double)n;
}

static void resize(float *x, size_t n, double of)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = x[i] > 0 ? (float)of : x[i] < 0 ? -(float)of : 0;
    }
}

START_TEST(floats_that_are_not_ternary_become_so_only_when_asked)
{
    static float want[T * V], got[T * V];
    struct stn_model *model = NULL;
    write_model(path, STN_QUANT_F32, false);
    write_model(other, STN_QUANT_F32, false);
    change(path, "blk.0.ffn_down.weight", blur, 0.04);
    change(other, "blk.0.ffn_down.weight", resize, sum);
    ck_assert_int_eq(stn_model_open(&model, path, &err), STN_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "blk.0.ffn_down.weight"));
    ck_assert_ptr_nonnull(strstr(err.text, "--ternarise"));
    logits_of(path, &(struct stn_model_reading){.ternarise = true}, got);
    logits_of(other, &(struct stn_model_reading){0}, want);
    ck_assert_mem_eq(want, got, sizeof want);
}
END_TEST

START_TEST(what_is_ternary_stays_as_it_is_though_asked)
{
    static float want[T * V], got[T * V];
    write_model(path, STN_QUANT_BF16, false);
    logits_of(path, &(struct stn_model_reading){0}, want);
    logits_of(path, &(struct stn_model_reading){.ternarise = true}, got);
    ck_assert_mem_eq(want, got, sizeof want);
}
END_TEST

START_TEST(a_model_written_again_in_blocks_is_the_same_model)
{
    static const struct {
        enum stn_quant_type from, to;
        bool arm, scaled;
    } cases[] = {{STN_QUANT_I2_S, STN_QUANT_TQ2_0, true, false}, {STN_QUANT_TQ2_0, STN_QUANT_TQ1_0, false, true},
                 {STN_QUANT_F32, STN_QUANT_TQ2_0, false, true}, {STN_QUANT_TQ1_0, STN_QUANT_TQ2_0, false, false}};
    static float want[T * V], got[T * V];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct stn_model_reading reading = {.i2_s_arm = cases[i].arm};
        struct stn_gguf *gguf = NULL;
        scaled = cases[i].scaled;
        write_model(path, cases[i].from, cases[i].arm);
        logits_of(path, &reading, want);
        ck_assert_msg(stn_repack_file(path, &reading, other, cases[i].to, NULL, NULL, &err) == STN_OK, "%s", err.text);
        logits_of(other, &(struct stn_model_reading){0}, got);
        ck_assert_mem_eq(want, got, sizeof want);
        ck_assert_int_eq(stn_gguf_open(&gguf, other, &err), STN_OK);
        ck_assert_int_eq(stn_gguf_tensor(gguf, "blk.0.attn_q.weight")->type, cases[i].to);
        ck_assert_int_eq(stn_gguf_tensor(gguf, "blk.0.ffn_down.weight")->type, STN_QUANT_F16); /* 320 columns */
        ck_assert_int_eq(stn_gguf_tensor(gguf, "token_embd.weight")->type, STN_QUANT_F32);
        stn_gguf_close(gguf);
    }
    write_model(path, STN_QUANT_F32, false);
    change(path, "blk.0.ffn_up.weight", blur, 0.04);
    ck_assert_int_eq(unlink(other), 0);
    ck_assert_int_eq(stn_repack_file(path, &(struct stn_model_reading){0}, other, STN_QUANT_TQ2_0, NULL, NULL, &err),
                     STN_UNSUPPORTED);
    ck_assert(!stn_file_exists(other));
    ck_assert_int_eq(stn_repack_file(path, &(struct stn_model_reading){.ternarise = true}, other, STN_QUANT_TQ2_0, NULL, NULL,
                                     &err), STN_OK);
    logits_of(other, &(struct stn_model_reading){0}, got);
}
END_TEST

static void break_it(float *x, size_t n, double of)
{
    x[n / 2] = (float)of;
}

START_TEST(weights_that_are_no_numbers_are_refused_by_name)
{
    struct stn_model *model = NULL;
    write_model(path, STN_QUANT_F32, false);
    change(path, "blk.0.attn_k.weight", break_it, (double)NAN);
    ck_assert_int_eq(stn_model_open_with(&model, path, &(struct stn_model_reading){.ternarise = true}, &err), STN_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "blk.0.attn_k.weight"));
    write_model(path, STN_QUANT_I2_S, false);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    struct stn_gguf *gguf = NULL;
    ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), STN_OK);
    const struct stn_gguf_tensor *t = stn_gguf_tensor(gguf, "blk.0.attn_q.weight");
    off_t at = (off_t)(t->data - (const uint8_t *)gguf->data);
    stn_gguf_close(gguf);
    ck_assert_int_eq(pwrite(fd, "\xff", 1, at + 5), 1); /* the fourth digit */
    ck_assert_int_eq(stn_model_open(&model, path, &err), STN_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "blk.0.attn_q.weight"));
    const float none = NAN;
    ck_assert_int_eq(pwrite(fd, &none, sizeof none, at + E * E / 4), sizeof none);
    ck_assert_int_eq(stn_model_open(&model, path, &err), STN_CORRUPT);
    (void)close(fd);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("reading");
    TCase *t = tcase_create("reading");
    tcase_add_checked_fixture(t, start, end);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, i2_s_is_the_same_model_in_both_packings_and_in_blocks);
    tcase_add_test(t, floats_that_are_not_ternary_become_so_only_when_asked);
    tcase_add_test(t, what_is_ternary_stays_as_it_is_though_asked);
    tcase_add_test(t, a_model_written_again_in_blocks_is_the_same_model);
    tcase_add_test(t, weights_that_are_no_numbers_are_refused_by_name);
    suite_add_tcase(s, t);
    return s;
}
