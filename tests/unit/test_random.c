#include "tests/lib/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "compute/model/arch.h"
#include "compute/model/random.h"
#include "compute/model/tokenizer.h"
#include "crypto/digest.h"

static struct stn_err err;
static char path[64];
static struct stn_gguf *vocab;

static void start(void)
{
    char home[512];
    (void)snprintf(path, sizeof path, "/tmp/test_random_%d.gguf", (int)getpid());
    (void)snprintf(home, sizeof home, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_msg(stn_gguf_open(&vocab, home, &err) == STN_OK, "%s", err.text);
}

static void end(void)
{
    stn_gguf_close(vocab);
    (void)unlink(path);
}

static struct stn_digest write_tiny(enum stn_quant_type type, uint64_t seed)
{
    const struct stn_random_kind kind = {.arch = "bitnet", .type = type, .table = STN_QUANT_F16};
    struct stn_gguf *gguf = NULL;
    ck_assert_msg(stn_random_write(stn_random_shape("tiny"), &kind, vocab, seed, path, NULL, NULL, &err) == STN_OK,
                  "%s", err.text);
    ck_assert_msg(stn_gguf_open(&gguf, path, &err) == STN_OK, "%s", err.text);
    struct stn_digest digest = stn_digest_of(gguf->data, gguf->size);
    stn_gguf_close(gguf);
    return digest;
}

START_TEST(a_seed_names_a_file)
{
    struct stn_digest one = write_tiny(STN_QUANT_TQ2_0, 1), again = write_tiny(STN_QUANT_TQ2_0, 1);
    struct stn_digest two = write_tiny(STN_QUANT_TQ2_0, 2), other = write_tiny(STN_QUANT_TQ1_0, 1);
    ck_assert(stn_digest_equal(&one, &again));
    ck_assert(!stn_digest_equal(&one, &two) && !stn_digest_equal(&one, &other));
}
END_TEST

START_TEST(the_model_is_whole_and_its_weights_have_the_statistics_of_the_reference)
{
    static const enum stn_quant_type types[] = {STN_QUANT_TQ1_0, STN_QUANT_TQ2_0};
    for (size_t k = 0; k < 2; k++) {
        struct stn_gguf *gguf = NULL;
        struct stn_arch *arch = NULL;
        struct stn_tokenizer *tokenizer = NULL;
        (void)write_tiny(types[k], 7);
        ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), STN_OK);
        ck_assert_msg(stn_arch_new(&arch, gguf, &err) == STN_OK, "%s", err.text);
        ck_assert_msg(stn_tokenizer_new(&tokenizer, gguf, &err) == STN_OK, "%s", err.text);
        ck_assert_uint_eq(stn_tokenizer_n_vocab(tokenizer), arch->n_vocab);
        const struct stn_gguf_tensor *t = arch->layers[3].linears[STN_ARCH_DOWN].weight;
        static int8_t q[768 * 256];
        static uint16_t d[768];
        ck_assert_int_eq(t->type, types[k]);
        ck_assert(stn_quant_unpack(types[k], q, d, t->data, 768 * 256));
        double zeroes = 0, sum = 0;
        for (size_t i = 0; i < 768 * 256; i++) {
            zeroes += q[i] == 0;
            sum += q[i];
        }
        ck_assert_double_eq_tol(zeroes / (768 * 256), 0.31009, 0.005);
        ck_assert_double_eq_tol(sum / (768 * 256), 0, 0.01);
        ck_assert_float_eq_tol(stn_quant_f16(d[0]), 0.79788f / sqrtf(768), 2e-5f);
        ck_assert_uint_eq(d[0], d[767]);
        static float x[256 * 1024];
        ck_assert(stn_quant_to_f32(arch->token_embd->type, x, arch->token_embd->data, 256 * 1024));
        double squares = 0;
        for (size_t i = 0; i < 256 * 1024; i++) {
            squares += (double)x[i] * (double)x[i];
        }
        ck_assert_double_eq_tol(sqrt(squares / (256 * 1024)), 0.02, 0.0003);
        stn_tokenizer_free(tokenizer);
        stn_arch_free(arch);
        stn_gguf_close(gguf);
    }
}
END_TEST

static bool stop_half_way(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    return done < total / 2;
}

START_TEST(what_is_stopped_leaves_no_file)
{
    const struct stn_random_kind kind = {.arch = "bitnet", .type = STN_QUANT_TQ2_0, .table = STN_QUANT_F16};
    ck_assert_int_eq(stn_random_write(stn_random_shape("tiny"), &kind, vocab, 1, path, stop_half_way, NULL,
                                      &err),
                     STN_CANCELLED);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_ptr_null(stn_random_shape("huge"));
    ck_assert_uint_eq(stn_random_shape("13b")->n_ff, 13824);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("random");
    TCase *t = tcase_create("random");
    tcase_add_checked_fixture(t, start, end);
    tcase_add_test(t, a_seed_names_a_file);
    tcase_add_test(t, the_model_is_whole_and_its_weights_have_the_statistics_of_the_reference);
    tcase_add_test(t, what_is_stopped_leaves_no_file);
    suite_add_tcase(s, t);
    return s;
}
