#include "tests/unit/adapters.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "compute/model/peft.h"
#include "compute/model/peft_pattern.h"
#include "compute/model/random.h"
#include "compute/model/safetensors.h"
#include "io/file.h"

/* A bitnet of one layer that keeps a scale beside every weight: y = s (W x + alpha / r B A x). */

enum { E = 256, FF = 256, RANK = 3 };

static struct stn_err err;
static char folder[32], peft[64];
static struct stn_gguf *gguf;
static struct stn_arch *arch;

static void start(void)
{
    const struct stn_random_shape shape = {.name = "scaled", .n_embd = E, .n_layers = 1, .n_heads = 4, .n_kv_heads = 2,
                                           .n_ff = FF};
    const struct stn_random_kind kind = {.arch = "bitnet", .type = STN_QUANT_F32, .table = STN_QUANT_F16, .scaled = true};
    char path[512];
    struct stn_gguf *vocab = NULL;
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-pattern-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(peft, sizeof peft, "%s/peft", folder);
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_msg(stn_gguf_open(&vocab, path, &err) == STN_OK, "%s", err.text);
    (void)snprintf(path, sizeof path, "%s/model.gguf", folder);
    ck_assert_msg(stn_random_write(&shape, &kind, vocab, 4, path, NULL, NULL, &err) == STN_OK, "%s", err.text);
    stn_gguf_close(vocab);
    ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), STN_OK);
    ck_assert_msg(stn_arch_new(&arch, gguf, &err) == STN_OK, "%s", err.text);
}

static void end(void)
{
    stn_arch_free(arch);
    stn_gguf_close(gguf);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}

static struct stn_adapter *fresh(float alpha, bool rslora)
{
    struct stn_adapter *adapter = new_adapter(arch, RANK, alpha);
    if (rslora) {
        ck_assert_int_eq(stn_adapter_set_u64(adapter, STN_ADAPTER_RSLORA, 1, &err), STN_OK);
    }
    return adapter;
}

START_TEST(an_adapter_of_a_model_with_scales_comes_back_bit_for_bit)
{
    for (int i = 0; i < 20; i++) {
        struct stn_adapter *out = fresh(0.37f + (float)i * 1.9f, i % 2 == 1), *in = NULL, *told = NULL;
        ck_assert_int_eq(stn_peft_export(out, NULL, peft, &err), STN_INVALID);
        ck_assert_ptr_nonnull(strstr(err.text, "-m MODEL"));
        ck_assert_msg(stn_peft_export(out, arch, peft, &err) == STN_OK, "%s", err.text);
        ck_assert_msg(stn_peft_import(&in, NULL, peft, &err) == STN_OK, "%s", err.text);
        ck_assert_msg(stn_peft_import(&told, arch, peft, &err) == STN_OK, "%s", err.text);
        ck_assert(is_same_adapter(out, in) && is_same_adapter(out, told));
        stn_adapter_free(told);
        stn_adapter_free(in);
        stn_adapter_free(out);
    }
}
END_TEST

/* The config as PEFT reads it: a product's alpha over r, or over its root. */
static double scaling(const json_t *config, const char *module)
{
    const json_t *own = json_object_get(json_object_get(config, "alpha_pattern"), module);
    double alpha = json_number_value(own != NULL ? own : json_object_get(config, "lora_alpha"));
    double r = json_number_value(json_object_get(config, "r"));
    return alpha / (json_is_true(json_object_get(config, "use_rslora")) ? sqrt(r) : r);
}

START_TEST(merged_weights_are_the_checkpoints_with_the_scale_in_them)
{
    static float w[FF * E], a[RANK * FF], b[FF * RANK];
    struct stn_adapter *out = fresh(7.5f, _i == 1);
    struct stn_safetensors *file = NULL;
    char path[STN_FILE_PATH_MAX], name[256];
    ck_assert_msg(stn_peft_export(out, arch, peft, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_file_join(path, peft, STN_PEFT_CONFIG, &err), STN_OK);
    json_t *config = json_load_file(path, 0, NULL);
    ck_assert(json_is_object(config));
    ck_assert_uint_eq(json_object_size(json_object_get(config, "alpha_pattern")), STN_ARCH_N_TARGETS);
    ck_assert_int_eq(stn_file_join(path, peft, STN_PEFT_WEIGHTS, &err), STN_OK);
    ck_assert_int_eq(stn_safetensors_open(&file, path, &err), STN_OK);
    for (enum stn_arch_target t = 0; t < STN_ARCH_N_TARGETS; t++) {
        size_t rows = stn_arch_out(arch, t), cols = stn_arch_in(arch, t);
        const float *our_a = values_of(out, t, false), *our_b = values_of(out, t, true);
        (void)snprintf(name, sizeof name, "layers.0.%s", stn_arch_module_name(t));
        double theirs = scaling(config, name), s = (double)stn_arch_scale(arch, 0, t);
        ck_assert_double_gt(fabs(s - 1), 1e-3);
        (void)snprintf(name, sizeof name, "base_model.model.model.layers.0.%s.lora_A.weight", stn_arch_module_name(t));
        ck_assert_int_eq(stn_safetensors_floats(stn_safetensors_find(file, name), 0, RANK * cols, a, &err), STN_OK);
        name[strlen(name) - strlen("A.weight")] = 'B';
        ck_assert_int_eq(stn_safetensors_floats(stn_safetensors_find(file, name), 0, rows * RANK, b, &err), STN_OK);
        ck_assert(stn_quant_to_f32(STN_QUANT_F32, w, arch->layers[0].linears[t].weight->data, rows * cols));
        for (size_t i = 0; i < rows * cols; i += 5) {
            double ours = 0, sum = 0;
            for (size_t k = 0; k < RANK; k++) {
                ours += (double)our_b[i / cols * RANK + k] * (double)our_a[k * cols + i % cols];
                sum += (double)b[i / cols * RANK + k] * (double)a[k * cols + i % cols];
            }
            ours = s * ((double)w[i] + 7.5 / RANK * ours); /* what the model's file computes */
            sum = s * (double)w[i] + theirs * sum;         /* the checkpoint's weight is s w */
            ck_assert_double_eq_tol(ours, sum, 1e-6);
        }
    }
    stn_safetensors_close(file);
    json_decref(config);
    stn_adapter_free(out);
}
END_TEST

static void put_config(const char *text)
{
    char path[STN_FILE_PATH_MAX];
    ck_assert_int_eq(stn_file_join(path, peft, STN_PEFT_CONFIG, &err), STN_OK);
    ck_assert_int_eq(stn_file_replace(path, text, strlen(text), STN_FILE_MODE, &err), STN_OK);
}

#define CONFIG "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"alpha_pattern\": "

START_TEST(alphas_of_single_products_are_taken_into_b)
{
    struct stn_adapter *out = fresh(6, false), *in = NULL;
    uint64_t is_scaled = 0;
    ck_assert_int_eq(stn_peft_export(out, arch, peft, &err), STN_OK);
    put_config(CONFIG "{\"layers.0.self_attn.v_proj\": 3, \"v_proj\": 9, \"mlp.up_proj\": 12, \"layers.10.mlp.gate_proj\": 5}}");
    ck_assert_msg(stn_peft_import(&in, arch, peft, &err) == STN_OK, "%s", err.text);
    const struct {
        enum stn_arch_target target;
        double alpha;
    } cases[] = {{STN_ARCH_V, 3}, {STN_ARCH_UP, 12}, {STN_ARCH_GATE, 6}, {STN_ARCH_Q, 6}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double factor = cases[i].alpha / 6 / (double)stn_arch_scale(arch, 0, cases[i].target);
        const float *was = values_of(out, cases[i].target, true), *is = values_of(in, cases[i].target, true);
        ck_assert_double_eq_tol((double)is[7], (double)was[7] * factor, 1e-6 * fabs((double)was[7]));
        ck_assert_mem_eq(values_of(out, cases[i].target, false), values_of(in, cases[i].target, false), RANK * sizeof(float));
    }
    ck_assert(stn_adapter_get_u64(in, STN_ADAPTER_SCALED, &is_scaled));
    stn_adapter_free(in);
    static const char *const refused[] = {CONFIG "{\".*v_proj\": 3}}", CONFIG "{\"^v_proj\": 3}}", CONFIG "{\"v_proj\": 0}}",
                                          CONFIG "{\"v_proj\": \"3\"}}", CONFIG "[1]}", CONFIG "{\"\": 3}}"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        put_config(refused[i]);
        ck_assert_int_eq(stn_peft_import(&in, arch, peft, &err), STN_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err.text, "alpha_pattern"));
    }
    stn_adapter_free(out);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("peft_pattern");
    TCase *t = tcase_create("peft_pattern");
    tcase_add_checked_fixture(t, start, end);
    tcase_add_test(t, an_adapter_of_a_model_with_scales_comes_back_bit_for_bit);
    tcase_add_loop_test(t, merged_weights_are_the_checkpoints_with_the_scale_in_them, 0, 2);
    tcase_add_test(t, alphas_of_single_products_are_taken_into_b);
    suite_add_tcase(s, t);
    return s;
}
