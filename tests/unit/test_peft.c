#include "tests/unit/adapters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "compute/model/gguf_write.h"
#include "compute/model/peft.h"
#include "compute/model/safetensors.h"
#include "io/file.h"

enum { E = 16, HEADS = 3, KV = 1, D = 8, FF = 24, V = 5, RANK = 3 };

static struct stn_err err;
static char folder[32];
static struct stn_buf model;
static struct stn_gguf *gguf;
static struct stn_arch *arch;

static void add(struct stn_gguf_write *w, const char *name, uint64_t cols, uint64_t rows)
{
    stn_gguf_write_tensor(w, name, STN_QUANT_F32, rows == 0 ? 1 : 2, (uint64_t[]){cols, rows});
}

/* A llama of one layer: a family that keeps q and k in pairs. All zero: only its shape is asked for. */
static void open_llama(void)
{
    static const struct {
        const char *name;
        uint64_t cols, rows;
    } tensors[] = {{"token_embd.weight", E, V},           {"output_norm.weight", E, 0},      {"output.weight", E, V},
                   {"blk.0.attn_norm.weight", E, 0},      {"blk.0.attn_q.weight", E, HEADS * D}, {"blk.0.attn_k.weight", E, KV * D},
                   {"blk.0.attn_v.weight", E, KV * D},    {"blk.0.attn_output.weight", HEADS * D, E},
                   {"blk.0.ffn_norm.weight", E, 0},       {"blk.0.ffn_gate.weight", E, FF},  {"blk.0.ffn_up.weight", E, FF},
                   {"blk.0.ffn_down.weight", FF, E}};
    static const char zeroes[4096];
    struct stn_gguf_write *w = NULL;
    ck_assert_int_eq(stn_gguf_write_new(&w, &err), STN_OK);
    stn_gguf_write_str(w, "general.architecture", "llama");
    stn_gguf_write_u32(w, "llama.block_count", 1);
    stn_gguf_write_u32(w, "llama.embedding_length", E);
    stn_gguf_write_u32(w, "llama.attention.head_count", HEADS);
    stn_gguf_write_u32(w, "llama.attention.head_count_kv", KV);
    stn_gguf_write_u32(w, "llama.attention.key_length", D);
    stn_gguf_write_u32(w, "llama.feed_forward_length", FF);
    stn_gguf_write_u32(w, "llama.context_length", 32);
    stn_gguf_write_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        add(w, tensors[i].name, tensors[i].cols, tensors[i].rows);
    }
    ck_assert_msg(stn_gguf_write_begin_buf(w, &model, &err) == STN_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        size_t size = (size_t)(tensors[i].cols * (tensors[i].rows == 0 ? 1 : tensors[i].rows)) * 4;
        ck_assert_int_eq(stn_gguf_write_data(w, zeroes, size, &err), STN_OK);
    }
    ck_assert_int_eq(stn_gguf_write_end(w, &err), STN_OK);
    stn_gguf_write_free(w);
    ck_assert_msg(stn_gguf_parse(&gguf, model.data, model.size, "llama", &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_arch_new(&arch, gguf, &err) == STN_OK, "%s", err.text);
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-peft-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void close_llama(void)
{
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
    stn_arch_free(arch);
    stn_gguf_close(gguf);
    stn_buf_fini(&model);
}

START_TEST(what_comes_back_is_the_same_adapter_bit_for_bit)
{
    struct stn_adapter *out = new_adapter(arch, RANK, 12.7f), *in = NULL, *told = NULL;
    ck_assert_int_eq(stn_adapter_set_str(out, "sterna.task", "lamps \"and\" \xc3\xa9", &err), STN_OK);
    ck_assert_int_eq(stn_adapter_set_u64(out, "sterna.version", UINT64_MAX, &err), STN_OK);
    ck_assert_msg(stn_peft_export(out, arch, folder, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_peft_import(&in, NULL, folder, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_peft_import(&told, arch, folder, &err) == STN_OK, "%s", err.text);
    ck_assert(is_same_adapter(out, in) && is_same_adapter(out, told));
    stn_adapter_free(told);
    stn_adapter_free(in);
    stn_adapter_free(out);
}
END_TEST

/* Rank-stabilised: PEFT's reader is told alpha and takes the root itself, a GGUF's finds it in alpha. */
START_TEST(a_rank_stabilised_scale_is_the_same_product_for_every_reader)
{
    for (uint64_t i = 0; i < 40; i++) {
        float meant = i == 0 ? 16 : (float)(stn_rng_mix(i) % 10007) * 0.0123f + 0.1f;
        struct stn_adapter *out = new_adapter(arch, RANK, (float)((double)meant * sqrt(RANK))), *in = NULL;
        struct stn_buf text = {0};
        char path[64], words[64];
        ck_assert_int_eq(stn_adapter_set_u64(out, STN_ADAPTER_RSLORA, 1, &err), STN_OK);
        ck_assert_msg(stn_peft_export(out, arch, folder, &err) == STN_OK, "%s", err.text);
        (void)snprintf(path, sizeof path, "%s/" STN_PEFT_CONFIG, folder);
        ck_assert_int_eq(stn_file_read(path, STN_PEFT_CONFIG_SIZE, &text, &err), STN_OK);
        ck_assert(stn_buf_add_u8(&text, 0));
        ck_assert_ptr_nonnull(strstr((const char *)text.data, "\"use_rslora\": true"));
        (void)snprintf(words, sizeof words, "\"lora_alpha\": ");
        const char *at = strstr((const char *)text.data, words);
        ck_assert_ptr_nonnull(at);
        ck_assert_double_eq_tol(strtod(at + strlen(words), NULL), (double)meant, 1e-6 * (double)meant);
        ck_assert(i > 0 || strncmp(at + strlen(words), "16,", 3) == 0);
        ck_assert_msg(stn_peft_import(&in, NULL, folder, &err) == STN_OK, "%s", err.text);
        ck_assert(is_same_adapter(out, in));
        stn_buf_fini(&text);
        stn_adapter_free(in);
        stn_adapter_free(out);
    }
}
END_TEST

START_TEST(rows_that_change_places_need_the_model)
{
    struct stn_adapter *out = new_adapter(arch, RANK, 4);
    ck_assert_int_eq(stn_peft_export(out, NULL, folder, &err), STN_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "-m MODEL"));
    stn_adapter_free(out);
}
END_TEST

/* The turn of one head at a position (RoFormer), of pairs (i, i + D/2) or (2i, 2i + 1). */
static void turn(double *x, size_t position, bool halves)
{
    for (size_t i = 0; i < D / 2; i++) {
        double angle = (double)position * pow(10000, -2.0 * (double)i / D);
        double *a = halves ? &x[i] : &x[2 * i], *b = halves ? &x[i + D / 2] : &x[2 * i + 1], was = *a;
        *a = was * cos(angle) - *b * sin(angle);
        *b = was * sin(angle) + *b * cos(angle);
    }
}

/* y = (W + s B A) x */
static void apply(const float *w, const float *a, const float *b, double s, size_t rows, const double *x, double *y)
{
    for (size_t r = 0; r < rows; r++) {
        y[r] = 0;
        for (size_t c = 0; c < E; c++) {
            double sum = (double)w[r * E + c];
            for (size_t k = 0; k < RANK; k++) {
                sum += s * (double)b[r * RANK + k] * (double)a[k * E + c];
            }
            y[r] += sum * x[c];
        }
    }
}

static void read_matrix(const struct stn_safetensors *file, const char *name, size_t n, float *ret)
{
    const struct stn_safetensors_array *array = stn_safetensors_find(file, name);
    ck_assert_msg(array != NULL && array->n_values == n, "%s", name);
    ck_assert_int_eq(stn_safetensors_floats(array, 0, n, ret, &err), STN_OK);
}

/* A checkpoint's weight, its rows in halves, and the same as a conversion to GGUF leaves it: reshaped (heads, 2, D/2, in) with
 * the middle axes swapped. */
static void make_weights(float *halves, float *pairs, size_t heads, uint64_t seed)
{
    struct stn_rng rng;
    stn_rng_init(&rng, seed);
    for (size_t i = 0; i < heads * D * E; i++) {
        halves[i] = (float)stn_rng_normal(&rng);
    }
    for (size_t h = 0; h < heads; h++) {
        for (size_t side = 0; side < 2; side++) {
            for (size_t i = 0; i < D / 2; i++) {
                memcpy(pairs + (h * D + i * 2 + side) * E, halves + (h * D + side * (D / 2) + i) * E, E * sizeof *pairs);
            }
        }
    }
}

START_TEST(merged_weights_are_the_models_in_the_checkpoints_own_order_of_rows)
{
    static float wq[2][HEADS * D * E], wk[2][KV * D * E], a[2][RANK * E], b[HEADS * D * RANK + KV * D * RANK];
    float *bq = b, *bk = b + HEADS * D * RANK;
    struct stn_adapter *out = new_adapter(arch, RANK, 7);
    struct stn_safetensors *file = NULL;
    char path[STN_FILE_PATH_MAX];
    double x[2][E], q[2][HEADS * D], k[2][KV * D], s = 7.0 / RANK;
    make_weights(wq[0], wq[1], HEADS, 1);
    make_weights(wk[0], wk[1], KV, 2);
    for (size_t i = 0; i < E; i++) {
        x[0][i] = sin((double)i);
        x[1][i] = cos((double)i * 1.7);
    }
    ck_assert_int_eq(stn_peft_export(out, arch, folder, &err), STN_OK);
    ck_assert_int_eq(stn_file_join(path, folder, STN_PEFT_WEIGHTS, &err), STN_OK);
    ck_assert_int_eq(stn_safetensors_open(&file, path, &err), STN_OK);
    read_matrix(file, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", RANK * E, a[0]);
    read_matrix(file, "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", RANK * E, a[1]);
    read_matrix(file, "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", HEADS * D * RANK, bq);
    read_matrix(file, "base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight", KV * D * RANK, bk);
    apply(wq[0], a[0], bq, s, HEADS * D, x[0], q[0]);
    apply(wk[0], a[1], bk, s, KV * D, x[1], k[0]);
    apply(wq[1], values_of(out, STN_ARCH_Q, false), values_of(out, STN_ARCH_Q, true), s, HEADS * D, x[0], q[1]);
    apply(wk[1], values_of(out, STN_ARCH_K, false), values_of(out, STN_ARCH_K, true), s, KV * D, x[1], k[1]);
    for (size_t h = 0; h < HEADS; h++) {
        double score[2] = {0, 0};
        for (int side = 0; side < 2; side++) {
            double key[D];
            memcpy(key, k[side], sizeof key);
            turn(q[side] + h * D, 9, side == 0);
            turn(key, 4, side == 0);
            for (size_t i = 0; i < D; i++) {
                score[side] += q[side][h * D + i] * key[i];
            }
        }
        ck_assert_double_eq_tol(score[0], score[1], 1e-9 * (1 + fabs(score[0])));
        ck_assert(fabs(score[0]) > 1e-3);
    }
    ck_assert_ptr_null(stn_safetensors_find(file, "base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias"));
    stn_safetensors_close(file);
    stn_adapter_free(out);
}
END_TEST

static void put_file(const char *name, const void *p, size_t size)
{
    char path[STN_FILE_PATH_MAX];
    ck_assert_int_eq(stn_file_join(path, folder, name, &err), STN_OK);
    ck_assert_int_eq(stn_file_replace(path, p, size, STN_FILE_MODE, &err), STN_OK);
}

START_TEST(a_config_that_asks_for_more_is_refused_by_its_word)
{
    static const struct {
        const char *config, *word;
        enum stn_code code;
    } cases[] = {
        {"{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 7, \"use_dora\": true}", "use_dora", STN_UNSUPPORTED},
        {"{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 7, \"bias\": \"all\"}", "bias", STN_UNSUPPORTED},
        {"{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 7, \"rank_pattern\": {\"q_proj\": 2}}", "rank_pattern", STN_UNSUPPORTED},
        {"{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 7, \"modules_to_save\": [\"lm_head\"]}", "modules_to_save", STN_UNSUPPORTED},
        {"{\"peft_type\": \"IA3\", \"r\": 3}", "IA3", STN_UNSUPPORTED},
        {"{\"peft_type\": \"LORA\", \"r\": 0, \"lora_alpha\": 7}", "r is 0", STN_INVALID},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 7}", "rank 4", STN_INVALID},
        {"{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": -1}", "lora_alpha", STN_INVALID},
        {"[]", "no JSON object", STN_CORRUPT},
    };
    struct stn_adapter *out = new_adapter(arch, RANK, 7), *in = NULL;
    ck_assert_int_eq(stn_peft_export(out, arch, folder, &err), STN_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_file(STN_PEFT_CONFIG, cases[i].config, strlen(cases[i].config));
        ck_assert_int_eq(stn_peft_import(&in, arch, folder, &err), cases[i].code);
        ck_assert_msg(strstr(err.text, cases[i].word) != NULL, "%s", err.text);
    }
    const char *stabilised = "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 7, \"use_rslora\": true}";
    put_file(STN_PEFT_CONFIG, stabilised, strlen(stabilised));
    ck_assert_int_eq(stn_peft_import(&in, arch, folder, &err), STN_OK);
    ck_assert_float_eq_tol(in->alpha, 7 * sqrtf(3), 1e-5f);
    stn_adapter_free(in);
    stn_adapter_free(out);
}
END_TEST

static enum stn_code parse(const char *header, size_t n_data)
{
    static uint8_t bytes[4096];
    struct stn_safetensors *file = NULL;
    size_t n = strlen(header);
    stn_buf_put_u64(bytes, n);
    memcpy(bytes + 8, header, n);
    enum stn_code code = stn_safetensors_parse(&file, bytes, 8 + n + n_data, "made up", &err);
    stn_safetensors_close(code == STN_OK ? file : NULL);
    return code;
}

#define ARRAY(name, shape, from, to) "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

START_TEST(a_header_that_lies_is_refused)
{
    ck_assert_int_eq(parse("{" ARRAY("a", "[2,2]", "0", "16") "}", 16), STN_OK);
    ck_assert_int_eq(parse("{" ARRAY("b", "[2]", "8", "16") "," ARRAY("a", "[2]", "0", "8") "}  ", 16), STN_OK);
    ck_assert_int_eq(parse("{}", 0), STN_OK);
    ck_assert_int_eq(parse("{" ARRAY("a", "[2,2]", "0", "16") "}", 15), STN_CORRUPT);
    ck_assert_int_eq(parse("{" ARRAY("a", "[2,2]", "0", "16") "}", 17), STN_CORRUPT);
    ck_assert_int_eq(parse("{" ARRAY("a", "[3,2]", "0", "16") "}", 16), STN_CORRUPT);
    ck_assert_int_eq(parse("{" ARRAY("a", "[-4]", "0", "16") "}", 16), STN_CORRUPT);
    ck_assert_int_eq(parse("{" ARRAY("a", "[4]", "16", "0") "}", 16), STN_CORRUPT);
    ck_assert_int_eq(parse("{" ARRAY("a", "[4611686018427387904,4]", "0", "0") "}", 0), STN_CORRUPT);
    ck_assert_int_eq(parse("{" ARRAY("a", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4), STN_CORRUPT);
    ck_assert_int_eq(parse("{" ARRAY("a", "[2]", "0", "8") "," ARRAY("b", "[2]", "4", "12") "}", 12), STN_CORRUPT);
    ck_assert_int_eq(parse("{" ARRAY("a", "[2]", "0", "8") "," ARRAY("b", "[2]", "12", "20") "}", 20), STN_CORRUPT);
    ck_assert_int_eq(parse("{" ARRAY("a", "[2]", "0", "8") "," ARRAY("a", "[2]", "8", "16") "}", 16), STN_CORRUPT);
    ck_assert_int_eq(parse("{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1), STN_UNSUPPORTED);
    ck_assert_int_eq(parse("{\"__metadata__\":{\"a\":1}}", 0), STN_CORRUPT);
    ck_assert_int_eq(parse("[]", 0), STN_CORRUPT);
    uint8_t large[16] = {0, 0, 0, 3, 0, 0, 0, 0, '{', '}'};
    struct stn_safetensors *file = NULL;
    ck_assert_int_eq(stn_safetensors_parse(&file, large, sizeof large, "large", &err), STN_CORRUPT);
    ck_assert_int_eq(stn_safetensors_parse(&file, large, 3, "short", &err), STN_CORRUPT);
}
END_TEST

START_TEST(halves_and_doubles_are_read_as_floats)
{
    const char *header = "{\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
                         "\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[4,6]},"
                         "\"d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[6,14]},"
                         "\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[14,15]}}";
    static const uint16_t halves[3] = {0x3c00, 0xc100, 0x4049};
    const double twice = -0.125;
    uint8_t bytes[512];
    size_t n = strlen(header);
    float x[2];
    struct stn_safetensors *file = NULL;
    stn_buf_put_u64(bytes, n);
    memcpy(bytes + 8, header, n);
    memcpy(bytes + 8 + n, halves, sizeof halves);
    memcpy(bytes + 8 + n + 6, &twice, sizeof twice);
    ck_assert_msg(stn_safetensors_parse(&file, bytes, 8 + n + 15, "made up", &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_safetensors_floats(stn_safetensors_find(file, "h"), 0, 2, x, &err), STN_OK);
    ck_assert_float_eq(x[0], 1.0f);
    ck_assert_float_eq(x[1], -2.5f);
    ck_assert_int_eq(stn_safetensors_floats(stn_safetensors_find(file, "b"), 0, 1, x, &err), STN_OK);
    ck_assert_float_eq(x[0], 3.140625f);
    ck_assert_int_eq(stn_safetensors_floats(stn_safetensors_find(file, "d"), 0, 1, x, &err), STN_OK);
    ck_assert_float_eq(x[0], -0.125f);
    ck_assert_int_eq(stn_safetensors_floats(stn_safetensors_find(file, "d"), 0, 2, x, &err), STN_INVALID);
    ck_assert_int_eq(stn_safetensors_floats(stn_safetensors_find(file, "u"), 0, 1, x, &err), STN_UNSUPPORTED);
    stn_safetensors_close(file);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("peft");
    TCase *t = tcase_create("peft");
    tcase_add_checked_fixture(t, open_llama, close_llama);
    tcase_add_test(t, what_comes_back_is_the_same_adapter_bit_for_bit);
    tcase_add_test(t, a_rank_stabilised_scale_is_the_same_product_for_every_reader);
    tcase_add_test(t, rows_that_change_places_need_the_model);
    tcase_add_test(t, merged_weights_are_the_models_in_the_checkpoints_own_order_of_rows);
    tcase_add_test(t, a_config_that_asks_for_more_is_refused_by_its_word);
    tcase_add_test(t, a_header_that_lies_is_refused);
    tcase_add_test(t, halves_and_doubles_are_read_as_floats);
    suite_add_tcase(s, t);
    return s;
}
