#include "tests/lib/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "compute/model/convert.h"
#include "compute/model/network.h"
#include "compute/model/tokenizer.h"
#include "io/file.h"

enum { E = 256, HEADS = 4, KV = 2, D = 64, FF = 300, V = 264, SIDE = 300 };

/* A checkpoint of one layer, its weights -1, 0, 1 by a hash of the name and place, times SCALE. */
static struct stn_err err;
static char folder[32], path[64];
static struct stn_buf header, data;
static const float scale = 0.375f;

static int weight(const char *name, size_t row, size_t col)
{
    return (int)(stn_rng_mix(strlen(name) * 7919 + (size_t)name[10] * 104729 + row * 1009 + col) % 3) - 1;
}

static bool is_master; /* weights are not ternary: what a run keeps, and rounds at each use */

/* What a checkpoint has besides: vectors by name. */
static struct {
    const char *name;
    size_t n;
} others[3];

static void open_folder(void)
{
    memset(others, 0, sizeof others);
    is_master = false;
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-convert-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/out.gguf", folder);
}

static void close_folder(void)
{
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
    stn_buf_fini(&header);
    stn_buf_fini(&data);
}

static void put_file(const char *name, const void *p, size_t size)
{
    char at[STN_FILE_PATH_MAX];
    ck_assert_int_eq(stn_file_join(at, folder, name, &err), STN_OK);
    ck_assert_int_eq(stn_file_replace(at, p, size, STN_FILE_MODE, &err), STN_OK);
}

static void add(const char *name, const char *type, size_t rows, size_t cols, const void *p, size_t size)
{
    (void)stn_buf_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":", header.size == 0 ? "{" : ",", name, type);
    (void)stn_buf_printf(&header, rows == 0 ? "[%zu]" : "[%zu,%zu]", rows == 0 ? cols : rows, cols);
    (void)stn_buf_printf(&header, ",\"data_offsets\":[%zu,%zu]}", data.size, data.size + size);
    (void)stn_buf_add(&data, p, size);
}

static void add_floats(const char *name, size_t rows, size_t cols)
{
    static float x[V * E];
    for (size_t i = 0; i < (rows == 0 ? 1 : rows) * cols; i++) {
        x[i] = rows == 0 ? 1.0f : (float)((int)(i % 127) - 63) / 64;
    }
    add(name, "F32", rows, cols, x, (rows == 0 ? 1 : rows) * cols * sizeof *x);
}

static void add_weight(const char *name, size_t rows, size_t cols, bool packed)
{
    static float x[SIDE * SIDE];
    static uint8_t q[SIDE * SIDE];
    if (!packed) {
        for (size_t i = 0; i < rows * cols; i++) {
            x[i] = scale * (float)weight(name, i / cols, i % cols);
            x[i] = is_master ? x[i] * (i % 2 == 0 ? 1.25f : 0.75f) : x[i];
        }
        add(name, "F32", rows, cols, x, rows * cols * sizeof *x);
        return;
    }
    const float inverse = 1 / scale;
    char beside[128];
    memset(q, 0, sizeof q);
    for (size_t i = 0; i < rows * cols; i++) { /* byte (r, c) holds rows r, r + rows / 4, ... */
        size_t row = i / cols, quarter = rows / 4;
        q[row % quarter * cols + i % cols] |= (uint8_t)((weight(name, row, i % cols) + 1) << 2 * (row / quarter));
    }
    add(name, "U8", rows / 4, cols, q, rows * cols / 4);
    (void)snprintf(beside, sizeof beside, "%s_scale", name);
    add(beside, "F32", 0, 1, &inverse, sizeof inverse);
}

static const struct {
    const char *name, *to;
    size_t rows, cols, turn;
} products[] = {{"model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", HEADS *D, E, D},
                {"model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", KV *D, E, D},
                {"model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight", KV *D, E, 0},
                {"model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight", E, HEADS *D, 0},
                {"model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", FF, E, 0},
                {"model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", FF, E, 0},
                {"model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", E, FF, 0}};
enum { N_PRODUCTS = sizeof products / sizeof *products };

static void put_checkpoint(const char *architecture, const char *more, bool packed)
{
    static const char *const norms[] = {"model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight",
                                        "model.norm.weight"};
    struct stn_buf text = {0};
    uint8_t size[8];
    stn_buf_clear(&header);
    stn_buf_clear(&data);
    add_floats("model.embed_tokens.weight", V, E);
    for (size_t i = 0; i < 3; i++) {
        add_floats(norms[i], 0, E);
    }
    for (size_t i = 0; i < N_PRODUCTS; i++) {
        add_weight(products[i].name, products[i].rows, products[i].cols, packed);
    }
    for (size_t i = 0; i < 3 && others[i].name != NULL; i++) {
        add_floats(others[i].name, 0, others[i].n);
    }
    (void)stn_buf_add_str(&header, "}");
    stn_buf_put_u64(size, header.size);
    (void)stn_buf_add(&text, size, sizeof size);
    (void)stn_buf_add(&text, header.data, header.size);
    (void)stn_buf_add(&text, data.data, data.size);
    put_file("model.safetensors", text.data, text.size);
    stn_buf_clear(&text);
    (void)stn_buf_printf(&text, "{\"architectures\": [\"%s\"], \"hidden_size\": %d, \"num_hidden_layers\": 1, "
                                "\"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"intermediate_size\": %d, "
                                "\"vocab_size\": %d, \"rms_norm_eps\": 1e-6, \"rope_theta\": 500000, \"hidden_act\": \"%s\", "
                                "\"tie_word_embeddings\": true, \"eos_token_id\": 1%s}",
                         architecture, E, HEADS, KV, FF, V, strcmp(architecture, "BitNetForCausalLM") == 0 ? "relu2" : "silu",
                         more);
    put_file("config.json", text.data, text.size);
    stn_buf_fini(&text);
}

/* Byte-level BPE of the 256 bytes and two joins; more: other parts of the file. */
static void put_tokenizer_with(const char *more)
{
    struct stn_buf text = {0};
    (void)stn_buf_printf(&text, "{%s, \"added_tokens\": [{\"id\": 0, \"content\": \"<s>\", \"special\": true}, {\"id\": 1, \"content\": "
                                "\"</s>\", \"special\": true}], \"model\": {\"type\": "
                                "\"BPE\", \"merges\": [[\"l\", \"l\"], \"ll o\"], \"vocab\": {", more);
    for (int byte = 0, above = 256; byte < 256; byte++) {
        bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        (void)stn_buf_printf(&text, "\"\\u%04x\": %d, ", prints ? byte : above, byte + 2);
        above += !prints;
    }
    (void)stn_buf_printf(&text, "\"ll\": 258, \"llo\": 259}}}");
    put_file("tokenizer.json", text.data, text.size);
    stn_buf_fini(&text);
    const char *settings = "{\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"</s>\"}";
    put_file("tokenizer_config.json", settings, strlen(settings));
}

static void put_tokenizer(void)
{
    put_tokenizer_with("\"pre_tokenizer\": {\"type\": \"ByteLevel\"}");
}

static void check_products(const struct stn_gguf *gguf, bool turns, float factor)
{
    static float x[SIDE * SIDE];
    static int8_t q[SIDE * SIDE];
    static uint16_t d[SIDE * SIDE / 256];
    for (size_t p = 0; p < N_PRODUCTS; p++) {
        const struct stn_gguf_tensor *t = stn_gguf_tensor(gguf, products[p].to);
        size_t rows = products[p].rows, cols = products[p].cols;
        ck_assert_ptr_nonnull(t);
        ck_assert_uint_eq(t->ne[0], cols);
        ck_assert_uint_eq(t->ne[1], rows);
        if (t->type == STN_QUANT_F16) {
            ck_assert_uint_eq(cols % 256, FF % 256);
            ck_assert(stn_quant_to_f32(t->type, x, t->data, rows * cols));
        } else {
            ck_assert(stn_quant_unpack(t->type, q, d, t->data, rows * cols));
        }
        for (size_t i = 0; i < rows * cols; i++) {
            size_t row = i / cols, turn = turns ? products[p].turn : 0, in_head = turn == 0 ? 0 : row % turn;
            size_t from = turn == 0 ? row : row - in_head + in_head % 2 * (turn / 2) + in_head / 2;
            float want = factor * (float)weight(products[p].name, from, i % cols);
            float got = t->type == STN_QUANT_F16 ? x[i] : (float)q[i] * stn_quant_f16(d[i / 256]);
            ck_assert_msg(fabsf(want - got) <= 0, "%s[%zu]: %g, not %g", products[p].to, i, (double)got, (double)want);
        }
    }
}

START_TEST(a_checkpoint_becomes_a_model_with_the_same_weights)
{
    const bool packed = _i % 2 == 1;
    struct stn_model *model = NULL;
    struct stn_tokenizer *tokenizer = NULL;
    struct stn_tokenizer_list list = {0};
    put_tokenizer();
    put_checkpoint("LlamaForCausalLM", "", packed);
    ck_assert_msg(stn_convert_folder(folder, path, _i < 2 ? STN_QUANT_TQ2_0 : STN_QUANT_TQ1_0, false, NULL, NULL, &err) == STN_OK, "%s",
                  err.text);
    ck_assert_msg(stn_model_open(&model, path, &err) == STN_OK, "%s", err.text);
    const struct stn_arch *arch = stn_model_arch(model);
    ck_assert_str_eq(arch->name, "llama");
    ck_assert(arch->tied && arch->n_kv_heads == KV && arch->head_dim == D);
    ck_assert_float_eq_tol(arch->rope_base, 500000, 1);
    check_products(stn_model_gguf(model), true, scale);
    ck_assert_msg(stn_tokenizer_new(&tokenizer, stn_model_gguf(model), &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_tokenizer_encode(tokenizer, &list, "hello</s>", 9, STN_TOKENIZER_SPECIAL, &err), STN_OK);
    const int32_t want[] = {'h' + 2, 'e' + 2, 259, 1};
    ck_assert_uint_eq(list.n, 4);
    ck_assert_mem_eq(list.ids, want, sizeof want);
    ck_assert_int_eq(stn_tokenizer_bos(tokenizer), 0);
    ck_assert_int_eq(stn_tokenizer_eos(tokenizer), 1);
    stn_tokenizer_list_fini(&list);
    stn_tokenizer_free(tokenizer);
    stn_model_close(model);
}
END_TEST

/* As the 2B model is published: squared ReLU, sub-norms, and scales that multiply. */
START_TEST(a_checkpoint_with_sub_norms_and_scales_that_multiply_becomes_its_model)
{
    struct stn_model *model = NULL;
    put_tokenizer();
    others[0].name = "model.layers.0.self_attn.attn_sub_norm.weight";
    others[1].name = "model.layers.0.mlp.ffn_sub_norm.weight";
    others[0].n = E;
    others[1].n = FF;
    put_checkpoint("BitNetForCausalLM", ", \"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": "
                                        "\"autobitlinear\", \"quantization_mode\": \"offline\"}", true);
    ck_assert_msg(stn_convert_folder(folder, path, STN_QUANT_TQ2_0, false, NULL, NULL, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_model_open(&model, path, &err) == STN_OK, "%s", err.text);
    const struct stn_arch *arch = stn_model_arch(model);
    ck_assert_str_eq(arch->name, "bitnet-b1.58");
    ck_assert(arch->has_sub_norms && arch->activation == STN_ARCH_RELU2 && arch->rope == STN_ARCH_NEOX);
    check_products(stn_model_gguf(model), false, stn_quant_f16(stn_quant_to_f16(1 / scale)));
    stn_model_close(model);
}
END_TEST

#define MASTER "\"quantization_config\": {\"quant_method\": \"bitnet\", \"quantization_mode\": \"online\"}"

/* Plain floats would become another model. */
START_TEST(floats_become_ternary_where_that_is_the_model_or_is_asked_for)
{
    static const struct {
        const char *architecture, *more;
        bool ternarise, passes;
    } cases[] = {{"LlamaForCausalLM", "", false, false},
                 {"LlamaForCausalLM", ", \"quantization_config\": {\"quant_method\": \"fp8\"}", false, false},
                 {"LlamaForCausalLM", ", " MASTER, false, true},
                 {"LlamaForCausalLM", "", true, true},
                 {"BitNetForCausalLM", "", false, false},
                 {"BitNetForCausalLM", ", " MASTER, false, true},
                 {"BitnetForCausalLM", "", false, true}};
    put_tokenizer();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool is_llama = strncmp(cases[i].architecture, "Llama", 5) == 0, is_large = strncmp(cases[i].architecture, "Bitnet", 6) == 0;
        others[0].name = is_llama ? NULL : is_large ? "model.layers.0.self_attn.inner_attn_ln.weight" : "model.layers.0.self_attn.attn_sub_norm.weight";
        others[1].name = is_large ? "model.layers.0.mlp.ffn_layernorm.weight" : "model.layers.0.mlp.ffn_sub_norm.weight";
        others[0].n = E;
        others[1].n = FF;
        is_master = true;
        put_checkpoint(cases[i].architecture, cases[i].more, false);
        enum stn_code code = stn_convert_folder(folder, path, STN_QUANT_TQ2_0, cases[i].ternarise, NULL, NULL, &err);
        ck_assert_msg(code == (cases[i].passes ? STN_OK : STN_UNSUPPORTED), "%zu: %s", i, err.text);
        ck_assert(stn_file_exists(path) == cases[i].passes);
        ck_assert(cases[i].passes || strstr(err.text, "q_proj.weight is not ternary") != NULL);
        (void)remove(path);
    }
}
END_TEST

START_TEST(what_a_family_does_not_have_is_not_passed_over)
{
    static const char *const names[] = {"model.layers.0.self_attn.q_proj.bias", "model.layers.0.mlp.down_proj.rms_norm.weight",
                                        "model.layers.1.input_layernorm.weight", "model.layers.0.self_attn.q_proj.weight_scale"};
    put_tokenizer();
    others[0].n = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        others[0].name = names[i];
        put_checkpoint("LlamaForCausalLM", "", false);
        ck_assert_int_eq(stn_convert_folder(folder, path, STN_QUANT_TQ2_0, false, NULL, NULL, &err), STN_UNSUPPORTED);
        ck_assert_msg(strstr(err.text, names[i]) != NULL, "%s", err.text);
    }
    others[0].name = "model.layers.0.self_attn.rotary_emb.inv_freq";
    others[1].name = "lm_head.weight"; /* tied: it is not read */
    others[1].n = 1;
    put_checkpoint("LlamaForCausalLM", "", false);
    ck_assert_msg(stn_convert_folder(folder, path, STN_QUANT_TQ2_0, false, NULL, NULL, &err) == STN_OK, "%s", err.text);
}
END_TEST

#define BYTES "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": "
#define SPLIT "{\"type\": \"Split\", \"behavior\": \"Isolated\", \"invert\": false, \"pattern\": {\"Regex\": \""
#define SEQUENCE(list) "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [" list "]}"
#define LLAMA "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|" \
              "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

START_TEST(a_pre_tokenizer_is_known_to_the_letter_or_refused)
{
    static const struct {
        const char *part, *pre; /* pre NULL: refused */
        bool adds_bos;
    } cases[] = {
        {"\"pre_tokenizer\": {\"type\": \"ByteLevel\"}", "gpt-2", false},
        {SEQUENCE(SPLIT LLAMA "\"}}, " BYTES "false}") ", \"post_processor\": {\"type\": \"Sequence\", \"processors\": "
         "[{\"type\": \"ByteLevel\"}, {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}]}]}",
         "llama-bpe", true},
        {SEQUENCE("{\"type\": \"Punctuation\", \"behavior\": \"Contiguous\"}, " BYTES "true}, {\"type\": \"Digits\", "
                  "\"individual_digits\": false}, " SPLIT "[0-9][0-9][0-9]\"}}"), "falcon", false},
        {SEQUENCE("{\"type\": \"Punctuation\", \"behavior\": \"Contiguous\"}, " BYTES "true}, {\"type\": \"Digits\", "
                  "\"individual_digits\": true}"), "falcon_e", false},
        {SEQUENCE(SPLIT "\\\\p{N}{1,3}\"}}, " BYTES "false}"), NULL, false},
        {"\"pre_tokenizer\": " BYTES "false}", NULL, false},
        {"\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}", NULL, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stn_gguf *gguf = NULL;
        struct stn_tokenizer *tokenizer = NULL;
        put_tokenizer_with(cases[i].part);
        put_file("chat_template.jinja", "{{ '<|eot_id|>' }}", 18);
        put_checkpoint("LlamaForCausalLM", "", false);
        enum stn_code code = stn_convert_folder(folder, path, STN_QUANT_TQ2_0, false, NULL, NULL, &err);
        ck_assert_msg(code == (cases[i].pre == NULL ? STN_UNSUPPORTED : STN_OK), "%zu: %s", i, err.text);
        if (code == STN_OK) {
            ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), STN_OK);
            ck_assert_msg(stn_tokenizer_new(&tokenizer, gguf, &err) == STN_OK, "%s", err.text);
            ck_assert_str_eq(stn_tokenizer_pre(tokenizer), cases[i].pre);
            ck_assert(stn_tokenizer_adds_bos(tokenizer) == cases[i].adds_bos);
            ck_assert_str_eq(stn_tokenizer_chat_template(tokenizer), "bitnet");
            stn_tokenizer_free(tokenizer);
            stn_gguf_close(gguf);
        }
    }
}
END_TEST

START_TEST(slow_frequencies_of_a_longer_context_are_divided)
{
    struct stn_gguf *gguf = NULL;
    struct stn_arch *arch = NULL;
    put_tokenizer();
    put_checkpoint("LlamaForCausalLM", ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
                                       "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}", false);
    ck_assert_msg(stn_convert_folder(folder, path, STN_QUANT_TQ2_0, false, NULL, NULL, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), STN_OK);
    ck_assert_msg(stn_arch_new(&arch, gguf, &err) == STN_OK, "%s", err.text);
    ck_assert_double_eq_tol(stn_arch_frequency(arch, 0), 1, 1e-12);
    ck_assert_double_eq_tol(stn_arch_frequency(arch, D / 2 - 1), pow(500000, -2.0 * (D / 2 - 1) / D) / 8, 1e-12);
    stn_arch_free(arch);
    stn_gguf_close(gguf);
}
END_TEST

START_TEST(what_is_beyond_us_or_missing_is_named)
{
    put_tokenizer();
    put_checkpoint("GPT2LMHeadModel", "", false);
    ck_assert_int_eq(stn_convert_folder(folder, path, STN_QUANT_TQ2_0, false, NULL, NULL, &err), STN_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "GPT2LMHeadModel"));
    put_checkpoint("LlamaForCausalLM", ", \"rope_scaling\": {\"type\": \"yarn\"}", false);
    ck_assert_int_eq(stn_convert_folder(folder, path, STN_QUANT_TQ2_0, false, NULL, NULL, &err), STN_UNSUPPORTED);
    put_checkpoint("BitnetForCausalLM", "", false);
    ck_assert_int_eq(stn_convert_folder(folder, path, STN_QUANT_TQ2_0, false, NULL, NULL, &err), STN_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "inner_attn_ln"));
    put_checkpoint("LlamaForCausalLM", ", \"head_dim\": 32", false);
    ck_assert_int_eq(stn_convert_folder(folder, path, STN_QUANT_TQ2_0, false, NULL, NULL, &err), STN_NOT_FOUND);
    ck_assert(!stn_file_exists(path));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("convert");
    TCase *t = tcase_create("convert");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, open_folder, close_folder);
    tcase_add_loop_test(t, a_checkpoint_becomes_a_model_with_the_same_weights, 0, 4);
    tcase_add_test(t, a_checkpoint_with_sub_norms_and_scales_that_multiply_becomes_its_model);
    tcase_add_test(t, floats_become_ternary_where_that_is_the_model_or_is_asked_for);
    tcase_add_test(t, what_a_family_does_not_have_is_not_passed_over);
    tcase_add_test(t, a_pre_tokenizer_is_known_to_the_letter_or_refused);
    tcase_add_test(t, slow_frequencies_of_a_longer_context_are_divided);
    tcase_add_test(t, what_is_beyond_us_or_missing_is_named);
    suite_add_tcase(s, t);
    return s;
}
