#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "compute/model/arch.h"

static struct stn_err err;

static struct stn_gguf *home(void)
{
    struct stn_gguf *gguf = NULL;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_msg(stn_gguf_open(&gguf, path, &err) == STN_OK, "%s", err.text);
    return gguf;
}

START_TEST(the_demo_model_is_found_whole)
{
    struct stn_gguf *gguf = home();
    struct stn_arch *arch = NULL;
    ck_assert_msg(stn_arch_new(&arch, gguf, &err) == STN_OK, "%s", err.text);
    ck_assert_str_eq(arch->name, "bitnet");
    ck_assert_uint_eq(arch->n_layers, 4);
    ck_assert_uint_eq(arch->n_embd, 256);
    ck_assert_uint_eq(arch->n_heads, 8);
    ck_assert_uint_eq(arch->n_kv_heads, 4);
    ck_assert_uint_eq(arch->head_dim, 32);
    ck_assert_uint_eq(arch->n_ff, 768);
    ck_assert_uint_eq(arch->n_vocab, 1024);
    ck_assert_uint_eq(arch->context, 1024);
    ck_assert_float_eq(arch->rms_eps, 1e-5f);
    ck_assert_float_eq(arch->rope_base, 10000);
    ck_assert(arch->tied && arch->output == arch->token_embd && arch->has_sub_norms);
    ck_assert(arch->rope == STN_ARCH_NEOX && arch->activation == STN_ARCH_SWIGLU);
    ck_assert_uint_eq(arch->layers[3].linears[STN_ARCH_DOWN].in, 768);
    ck_assert_uint_eq(arch->layers[3].linears[STN_ARCH_K].out, 128);
    ck_assert_str_eq(arch->layers[3].linears[STN_ARCH_K].weight->name, "blk.3.attn_k.weight");
    ck_assert_str_eq(arch->layers[2].ffn_sub_norm->name, "blk.2.ffn_sub_norm.weight");
    ck_assert_uint_eq(stn_arch_n_ternary(arch), 4 * (256 * 256 * 2 + 256 * 128 * 2 + 3 * 256 * 768));
    uint64_t n = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        n += gguf->tensors[i].ne[0] * gguf->tensors[i].ne[1];
    }
    ck_assert_uint_eq(stn_arch_n_params(arch), n);
    stn_arch_free(arch);
    stn_gguf_close(gguf);
}
END_TEST

/* The demo model's file with the first `from` replaced by `to`, and what it answers. */
static enum stn_code changed(const char *from, const char *to, size_t size)
{
    struct stn_gguf *gguf = home(), *other = NULL;
    struct stn_arch *arch = NULL;
    uint8_t *copy = stn_mem_copy(gguf->data, gguf->size);
    uint8_t *at = memmem(copy, gguf->size, from, strlen(from));
    ck_assert_ptr_nonnull(at);
    memcpy(at, to, size);
    err.text[0] = 0;
    enum stn_code code = stn_gguf_parse(&other, copy, gguf->size, "m", &err);
    if (code == STN_OK) {
        code = stn_arch_new(&arch, other, &err);
        stn_arch_free(arch);
    }
    stn_gguf_close(other);
    stn_gguf_close(gguf);
    stn_mem_free(copy);
    return code;
}

START_TEST(what_is_missing_or_misshaped_is_named)
{
    ck_assert_int_eq(changed("blk.2.ffn_up.weight", "blk.2.ffn_oh.weight", 19), STN_NOT_FOUND);
    ck_assert_str_eq(err.text, "m: no tensor blk.2.ffn_up.weight, which bitnet models have");
    ck_assert_int_eq(changed("bitnet.block_count\4\0\0\0\4", "bitnet.block_count\4\0\0\0\3", 23), STN_UNSUPPORTED);
    ck_assert_str_eq(err.text, "m: tensor blk.3.attn_norm.weight has no place in a bitnet model");
    ck_assert_int_eq(changed("bitnet.feed_forward_length", "bitnet.feed_forward_length\4\0\0\0\0\2", 32),
                     STN_CORRUPT);
    ck_assert_str_eq(err.text, "m: tensor blk.0.ffn_sub_norm.weight is 1 x 768, not 1 x 512");
    ck_assert_int_eq(changed("bitnet.attention.head_count\4", "bitnet.attention.head_count\4\0\0\0\0", 32),
                     STN_LIMIT);
    ck_assert_int_eq(changed("bitnet.rope.dimension_count", "bitnet.rope.dimension_count\4\0\0\0\20", 32),
                     STN_UNSUPPORTED);
    ck_assert_int_eq(changed("bitnet", "betnet", 6), STN_UNSUPPORTED);
    ck_assert_str_eq(err.text, "m: architecture betnet is not supported");
    ck_assert_int_eq(changed("bitnet.context_length", "bitnet.context_langth", 21), STN_NOT_FOUND);
    ck_assert_str_eq(err.text, "m: no key bitnet.context_length");
}
END_TEST

START_TEST(targets_are_named_by_words)
{
    char text[STN_ARCH_TARGETS_TEXT];
    uint32_t mask = 0;
    ck_assert_int_eq(stn_arch_targets("all", &mask, &err), STN_OK);
    ck_assert_uint_eq(mask, 127);
    ck_assert_int_eq(stn_arch_targets("q,v,down", &mask, &err), STN_OK);
    ck_assert_uint_eq(mask, 1 | 4 | 64);
    ck_assert_int_eq(stn_arch_targets("q,k,v,o,gate,up,down", &mask, &err), STN_OK);
    ck_assert_uint_eq(mask, 127);
    ck_assert_str_eq(stn_arch_targets_text(mask, text), "q,k,v,o,gate,up,down");
    ck_assert_str_eq(stn_arch_targets_text(1u << 1 | 1u << 6, text), "k,down");
    ck_assert_int_eq(stn_arch_targets("q,", &mask, &err), STN_INVALID);
    ck_assert_int_eq(stn_arch_targets("", &mask, &err), STN_INVALID);
    ck_assert_int_eq(stn_arch_targets("q,w", &mask, &err), STN_INVALID);
    ck_assert_str_eq(err.text, "w is no target: all, or some of q,k,v,o,gate,up,down");
    ck_assert_uint_eq(mask, 127);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("arch");
    TCase *t = tcase_create("arch");
    tcase_add_test(t, the_demo_model_is_found_whole);
    tcase_add_test(t, what_is_missing_or_misshaped_is_named);
    tcase_add_test(t, targets_are_named_by_words);
    suite_add_tcase(s, t);
    return s;
}
