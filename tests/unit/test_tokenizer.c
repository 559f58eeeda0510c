#include "tests/lib/run.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "compute/model/gguf_write.h"
#include "compute/model/tokenizer.h"
#include "compute/model/tokenizer_unicode.h"

static struct stn_err err;

static struct stn_buf read_file(const char *path)
{
    struct stn_buf buf = {0};
    FILE *f = fopen(path, "rb");
    for (size_t n = 1; f != NULL && n > 0;) {
        uint8_t *to = stn_buf_extend(&buf, 65536);
        n = fread(to, 1, 65536, f);
        buf.size -= 65536 - n;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return buf;
}

static struct stn_tokenizer *open_at(const char *path)
{
    struct stn_gguf *gguf = NULL;
    struct stn_tokenizer *t = NULL;
    ck_assert_msg(stn_gguf_open(&gguf, path, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_tokenizer_new(&t, gguf, &err) == STN_OK, "%s", err.text);
    stn_gguf_close(gguf);
    return t;
}

static struct stn_tokenizer *home(void)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    return open_at(path);
}

/* A vocabulary beside the tree, or NULL, and a line that says so. */
static struct stn_tokenizer *shared(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/models/vocab-%s.gguf", STN_RUN_SHARED, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        (void)printf("skipped: no %s\n", path);
        return NULL;
    }
    (void)fclose(f);
    return open_at(path);
}

static struct stn_tokenizer_list encode(const struct stn_tokenizer *t, const char *text, size_t size,
                                        unsigned flags)
{
    struct stn_tokenizer_list list = {0};
    ck_assert_msg(stn_tokenizer_encode(t, &list, text, size, flags, &err) == STN_OK, "%s", err.text);
    return list;
}

static void assert_comes_back(const struct stn_tokenizer *t, const char *text, size_t size)
{
    struct stn_tokenizer_list list = {0};
    struct stn_tokenizer_decoder decoder = {0};
    struct stn_buf buf = {0};
    if (stn_tokenizer_encode(t, &list, text, size, 0, &err) != STN_OK) {
        /* Falcon's vocabulary lacks some control characters: it says so instead of losing them */
        ck_assert_int_eq(err.code, STN_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err.text, "no token for byte "));
        ck_assert(strstr(stn_tokenizer_pre(t), "falcon") != NULL && list.n == 0);
        stn_tokenizer_list_fini(&list);
        return;
    }
    for (size_t i = 0, before = 0; i < list.n; i++, before = buf.size) {
        ck_assert_int_eq(stn_tokenizer_decode(t, &decoder, list.ids[i], &buf, &err), STN_OK);
        /* whatever is held back */
        ck_assert(buf.size == before || stn_str_is_utf8((const char *)buf.data + before, buf.size - before));
    }
    ck_assert(stn_tokenizer_decode_end(&decoder, &buf));
    ck_assert_msg(buf.size == size && (size == 0 || memcmp(buf.data, text, size) == 0), "%.*s -> %.*s",
                  (int)size, text, (int)buf.size, (const char *)buf.data);
    stn_buf_fini(&buf);
    stn_tokenizer_list_fini(&list);
}

static const char *const vocabularies[] = {"gpt-2", "llama-3", "falcon", "llama-spm"};

START_TEST(the_published_tokens_come_out_for_the_published_texts)
{
    const char *name = vocabularies[_i];
    struct stn_tokenizer *t = shared(name);
    if (t == NULL) {
        return;
    }
    char path[512];
    (void)snprintf(path, sizeof path, "%s/vectors/tokenizer/%s.inp", STN_RUN_SHARED, name);
    struct stn_buf texts = read_file(path);
    (void)snprintf(path, sizeof path, "%s/vectors/tokenizer/%s.out", STN_RUN_SHARED, name);
    struct stn_buf lines = read_file(path);
    ck_assert(texts.size > 0 && lines.size > 0 && stn_buf_add_u8(&texts, 0) && stn_buf_add_u8(&lines, 0));
    const char *marker = "\n__ggml_vocab_test__\n";
    size_t n = 0;
    for (const char *text = (const char *)texts.data, *line = (const char *)lines.data; *text != 0; n++) {
        const char *end = strstr(text, marker), *line_end = strchr(line, '\n');
        ck_assert(end != NULL && line_end != NULL);
        struct stn_tokenizer_list list = encode(t, text, (size_t)(end - text), 0);
        struct stn_buf said = {0};
        for (size_t i = 0; i < list.n; i++) {
            ck_assert(stn_buf_printf(&said, " %d", list.ids[i]));
        }
        ck_assert_msg(said.size == (size_t)(line_end - line) &&
                          (said.size == 0 || memcmp(said.data, line, said.size) == 0),
                      "%s, text %zu \"%.*s\": %.*s, not %.*s", name, n, (int)(end - text), text, (int)said.size,
                      (const char *)said.data, (int)(line_end - line), line);
        assert_comes_back(t, text, (size_t)(end - text));
        stn_buf_fini(&said);
        stn_tokenizer_list_fini(&list);
        text = end + strlen(marker);
        line = line_end + 1;
    }
    ck_assert_uint_ge(n, 40);
    stn_buf_fini(&texts);
    stn_buf_fini(&lines);
    stn_tokenizer_free(t);
}
END_TEST

/* Falcon's vocabulary under the pre-tokenizer that its later models' files name. */
static struct stn_tokenizer *falcon_e(void)
{
    char path[512];
    struct stn_gguf *gguf = NULL, *named = NULL;
    struct stn_gguf_write *w = NULL;
    struct stn_tokenizer *t = shared("falcon");
    struct stn_buf buf = {0};
    if (t == NULL) {
        return NULL;
    }
    stn_tokenizer_free(t);
    (void)snprintf(path, sizeof path, "%s/models/vocab-falcon.gguf", STN_RUN_SHARED);
    ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_write_new(&w, &err), STN_OK);
    for (size_t i = 0; i < gguf->n_values; i++) {
        if (strcmp(gguf->values[i].key, "tokenizer.ggml.pre") != 0) {
            stn_gguf_write_value(w, &gguf->values[i]);
        }
    }
    stn_gguf_write_str(w, "tokenizer.ggml.pre", "falcon_e");
    ck_assert_int_eq(stn_gguf_write_begin_buf(w, &buf, &err), STN_OK);
    ck_assert_int_eq(stn_gguf_write_end(w, &err), STN_OK);
    ck_assert_msg(stn_gguf_parse(&named, buf.data, buf.size, "falcon_e", &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_tokenizer_new(&t, named, &err) == STN_OK, "%s", err.text);
    stn_gguf_close(named);
    stn_gguf_write_free(w);
    stn_gguf_close(gguf);
    stn_buf_fini(&buf);
    return t;
}

START_TEST(characters_of_every_class_split_as_another_program_splits_them)
{
    const char *name = _i < 4 ? vocabularies[_i] : "falcon_e";
    struct stn_tokenizer *t = _i < 4 ? shared(name) : falcon_e();
    if (t == NULL) {
        return;
    }
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tests/vectors/tokenizer-classes.json", STN_RUN_SOURCE);
    json_t *json = json_load_file(path, 0, NULL), *text;
    const json_t *lines = json_object_get(json, name);
    size_t n;
    ck_assert_uint_gt(json_array_size(lines), 100);
    json_array_foreach(json_object_get(json, "texts"), n, text)
    {
        const json_t *want = json_array_get(lines, n);
        struct stn_tokenizer_list list = encode(t, json_string_value(text), json_string_length(text), 0);
        bool same = list.n == json_array_size(want);
        for (size_t i = 0; i < list.n && same; i++) {
            same = list.ids[i] == json_integer_value(json_array_get(want, i));
        }
        ck_assert_msg(same, "%s, text %zu \"%s\"", name, n, json_string_value(text));
        stn_tokenizer_list_fini(&list);
    }
    json_decref(json);
    stn_tokenizer_free(t);
}
END_TEST

static void assert_random_texts_come_back(const struct stn_tokenizer *t)
{
    static const char *const pieces[] = {" ",  "\n", "\r\n", "\t", "a",   "The", " the", "'ll", "123", "7",
                                         "\xe2\x96\x81", "ä", "é", "世界", "🦙", "!", "...", "<s>", "<|end|>", "\xc2\xa0"};
    struct stn_rng rng;
    stn_rng_init(&rng, 5);
    for (int round = 0; round < 300; round++) {
        struct stn_buf buf = {0};
        size_t n = (size_t)stn_rng_below(&rng, 40);
        for (size_t i = 0; i < n; i++) {
            if (stn_rng_below(&rng, 3) == 0) {
                char utf8[4];
                uint32_t point = (uint32_t)stn_rng_below(&rng, stn_rng_below(&rng, 2) == 0 ? 0x800 : 0x110000);
                point = point >= 0xd800 && point < 0xe000 ? 'x' : point;
                ck_assert(stn_buf_add(&buf, utf8, stn_str_utf8_put(utf8, point)));
            } else {
                ck_assert(stn_buf_add_str(&buf, pieces[stn_rng_below(&rng, sizeof pieces / sizeof *pieces)]));
            }
        }
        assert_comes_back(t, buf.data == NULL ? "" : (const char *)buf.data, buf.size);
        stn_buf_fini(&buf);
    }
}

START_TEST(any_utf8_comes_back_from_the_demo_model)
{
    struct stn_tokenizer *t = home();
    assert_random_texts_come_back(t);
    stn_tokenizer_free(t);
}
END_TEST

START_TEST(any_utf8_comes_back_from_the_published_vocabularies)
{
    struct stn_tokenizer *t = shared(vocabularies[_i]);
    if (t != NULL) {
        assert_random_texts_come_back(t);
    }
    stn_tokenizer_free(t);
}
END_TEST

START_TEST(bytes_that_are_no_utf8_are_kept_by_the_tokens_and_marked_by_the_decoder)
{
    struct stn_tokenizer *t = home();
    static const char text[] = "a\xff\xe2\x82z";
    struct stn_tokenizer_list list = encode(t, text, 5, 0);
    struct stn_tokenizer_decoder decoder = {0};
    struct stn_buf raw = {0}, buf = {0};
    for (size_t i = 0; i < list.n; i++) {
        struct stn_gguf_str piece = stn_tokenizer_piece(t, list.ids[i]);
        ck_assert(stn_buf_add(&raw, piece.p, piece.size));
        ck_assert_int_eq(stn_tokenizer_decode(t, &decoder, list.ids[i], &buf, &err), STN_OK);
    }
    ck_assert(raw.size == 5 && memcmp(raw.data, text, 5) == 0);
    ck_assert(stn_tokenizer_decode_end(&decoder, &buf) && stn_buf_add_u8(&buf, 0));
    ck_assert_str_eq((char *)buf.data, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
    stn_buf_fini(&raw);
    stn_buf_fini(&buf);
    stn_tokenizer_list_fini(&list);
    stn_tokenizer_free(t);
}
END_TEST

START_TEST(special_tokens_are_made_only_where_asked_for)
{
    struct stn_tokenizer *t = home();
    const char *text = "hi<|end|>";
    struct stn_tokenizer_list plain = encode(t, text, 9, 0);
    struct stn_tokenizer_list special = encode(t, text, 9, STN_TOKENIZER_SPECIAL | STN_TOKENIZER_BOS);
    ck_assert_uint_gt(plain.n, special.n);
    for (size_t i = 0; i < plain.n; i++) {
        ck_assert(!stn_tokenizer_is_special(t, plain.ids[i]));
    }
    ck_assert_int_eq(special.ids[0], stn_tokenizer_bos(t));
    ck_assert_int_eq(special.ids[special.n - 1], stn_tokenizer_eos(t));
    ck_assert(stn_tokenizer_is_end(t, 1) && !stn_tokenizer_is_end(t, 0) && !stn_tokenizer_is_end(t, -1));
    ck_assert_int_eq(stn_tokenizer_special(t, "<|pad|>"), stn_tokenizer_pad(t));
    ck_assert_int_eq(stn_tokenizer_special(t, "<|pa"), -1);
    struct stn_buf buf = {0};
    for (int show = 0; show < 2; show++) {
        struct stn_tokenizer_decoder decoder = {.show_special = show};
        for (size_t i = 0; i < special.n; i++) {
            ck_assert_int_eq(stn_tokenizer_decode(t, &decoder, special.ids[i], &buf, &err), STN_OK);
        }
    }
    ck_assert(buf.size == 20 && memcmp(buf.data, "hi<|begin|>hi<|end|>", 20) == 0);
    ck_assert_int_eq(stn_tokenizer_decode(t, &(struct stn_tokenizer_decoder){0}, 1024, &buf, &err), STN_INVALID);
    ck_assert_str_eq(err.text, "token 1024 is not in the vocabulary of 1024");
    stn_buf_fini(&buf);
    stn_tokenizer_list_fini(&plain);
    stn_tokenizer_list_fini(&special);
    stn_tokenizer_free(t);
}
END_TEST

START_TEST(a_long_word_takes_no_longer_than_its_length_allows)
{
    enum { SIZE = 400000 };
    struct stn_tokenizer *t = home();
    char *text = stn_mem_new(SIZE, 1);
    struct stn_rng rng;
    stn_rng_init(&rng, 1);
    for (size_t i = 0; i < SIZE; i++) {
        text[i] = (char)('a' + stn_rng_below(&rng, 26));
    }
    assert_comes_back(t, text, SIZE); /* one word: quadratic work would run into the test's time limit */
    stn_mem_free(text);
    stn_tokenizer_free(t);
}
END_TEST

/* A vocabulary of few tokens in memory: words by blanks, their scores falling in that order; with all bytes before them
 * where bytes is set. What it answers; *ret is freed by the caller. */
static enum stn_code small(struct stn_tokenizer **ret, const char *model, const char *pre, bool bytes, const char *words,
                           const char *merges)
{
    struct stn_buf tokens = {0}, scores = {0}, types = {0}, joins = {0}, file = {0};
    uint64_t n = 0, n_joins = 0;
    char word[16];
    for (unsigned byte = 0; bytes && byte < 256; byte++, n++) {
        int size = snprintf(word, sizeof word, "<0x%02X>", byte);
        ck_assert(stn_buf_add_u64(&tokens, (uint64_t)size) && stn_buf_add(&tokens, word, (size_t)size));
        ck_assert(stn_buf_add_u32(&scores, 0) && stn_buf_add_u32(&types, 6));
    }
    for (const char *p = words; *p != 0; p += strcspn(p, " ") + (p[strcspn(p, " ")] != 0), n++) {
        float score = -(float)n;
        size_t size = strcspn(p, " ");
        ck_assert(stn_buf_add_u64(&tokens, size) && stn_buf_add(&tokens, p, size));
        ck_assert(stn_buf_add(&scores, &score, 4) && stn_buf_add_u32(&types, *p == '<' && size > 1 ? 4 : 1));
    }
    for (const char *p = merges; *p != 0; p += strcspn(p, ";") + (p[strcspn(p, ";")] != 0), n_joins++) {
        size_t size = strcspn(p, ";");
        ck_assert(stn_buf_add_u64(&joins, size) && stn_buf_add(&joins, p, size));
    }
    struct {
        const char *key;
        uint32_t kind;
        uint64_t n;
        struct stn_buf *items;
    } arrays[] = {{"tokenizer.ggml.tokens", STN_GGUF_STR, n, &tokens},
                  {"tokenizer.ggml.scores", STN_GGUF_F32, n, &scores},
                  {"tokenizer.ggml.token_type", STN_GGUF_I32, n, &types},
                  {"tokenizer.ggml.merges", STN_GGUF_STR, n_joins, &joins}};
    struct stn_gguf_write *w = NULL;
    ck_assert_int_eq(stn_gguf_write_new(&w, &err), STN_OK);
    stn_gguf_write_str(w, "tokenizer.ggml.model", model);
    stn_gguf_write_str(w, "tokenizer.ggml.pre", pre);
    stn_gguf_write_bool(w, "tokenizer.ggml.add_space_prefix", false);
    for (size_t i = 0; i < 4; i++) {
        struct stn_buf value = {0};
        ck_assert(stn_buf_add_u32(&value, arrays[i].kind) && stn_buf_add_u64(&value, arrays[i].n) &&
                  stn_buf_add(&value, arrays[i].items->data, arrays[i].items->size));
        stn_gguf_write_value(w, &(struct stn_gguf_value){arrays[i].key, STN_GGUF_ARRAY, value.data, value.size});
        stn_buf_fini(&value);
        stn_buf_fini(arrays[i].items);
    }
    ck_assert_int_eq(stn_gguf_write_begin_buf(w, &file, &err), STN_OK);
    stn_gguf_write_free(w);
    struct stn_gguf *gguf = NULL;
    ck_assert_msg(stn_gguf_parse(&gguf, file.data, file.size, "v", &err) == STN_OK, "%s", err.text);
    enum stn_code code = stn_tokenizer_new(ret, gguf, &err);
    stn_gguf_close(gguf);
    stn_buf_fini(&file);
    return code;
}

/* A text's tokens, each in brackets. */
static void assert_pieces(const struct stn_tokenizer *t, const char *text, const char *wanted)
{
    struct stn_tokenizer_list list = encode(t, text, strlen(text), 0);
    struct stn_buf said = {0};
    for (size_t i = 0; i < list.n; i++) {
        struct stn_gguf_str piece = stn_tokenizer_piece(t, list.ids[i]);
        ck_assert(stn_buf_printf(&said, "[%.*s]", (int)piece.size, piece.p));
    }
    ck_assert(stn_buf_add_u8(&said, 0));
    ck_assert_str_eq((char *)said.data, wanted);
    stn_buf_fini(&said);
    stn_tokenizer_list_fini(&list);
}

START_TEST(pieces_join_by_score_then_from_the_left_even_across_words)
{
    struct stn_tokenizer *t = NULL;
    ck_assert_msg(small(&t, "llama", "", true, "a b c \xe2\x96\x81 bc ab \xe2\x96\x81" "c b\xe2\x96\x81" "c <x>", "") ==
                      STN_OK, "%s", err.text);
    assert_pieces(t, "abc", "[a][bc]");   /* bc has the higher score */
    assert_pieces(t, "abab", "[ab][ab]");
    assert_pieces(t, "b c", "[b c]");     /* one token of two words */
    assert_pieces(t, "bc c", "[bc][ c]");
    assert_pieces(t, "a<x>z", "[a][<x>][z]"); /* a user's token in any text, and a byte */
    stn_tokenizer_free(t);
}
END_TEST

START_TEST(a_vocabulary_that_cannot_be_used_is_refused_by_name)
{
    struct stn_tokenizer *t = NULL;
    ck_assert_int_eq(small(&t, "llama", "", false, "a b", ""), STN_UNSUPPORTED);
    ck_assert_str_eq(err.text, "v: the vocabulary has no token for byte 0");
    ck_assert_int_eq(small(&t, "gpt2", "klingon", false, "a b", ""), STN_UNSUPPORTED);
    ck_assert_str_eq(err.text, "v: pre-tokenizer klingon is not supported");
    ck_assert_int_eq(small(&t, "bert", "", false, "a b", ""), STN_UNSUPPORTED);
    ck_assert_str_eq(err.text, "v: a vocabulary of kind bert, only gpt2 and llama are supported");
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(merges_join_by_rank_and_those_of_no_token_are_left_out)
{
    struct stn_tokenizer *t = NULL;
    ck_assert_msg(small(&t, "gpt2", "gpt-2", false, "a b c d bc ab abc", "b c;a b;a bc;c d;x y;nonsense; ") == STN_OK, "%s",
                  err.text);
    assert_pieces(t, "abc", "[abc]");
    assert_pieces(t, "abab", "[ab][ab]");
    assert_pieces(t, "cd", "[c][d]"); /* cd is no token */
    struct stn_tokenizer_list list = {0};
    ck_assert_int_eq(stn_tokenizer_encode(t, &list, "abz", 3, 0, &err), STN_UNSUPPORTED);
    ck_assert_str_eq(err.text, "the model's vocabulary has no token for byte 122");
    ck_assert_uint_eq(list.n, 0);
    stn_tokenizer_list_fini(&list);
    stn_tokenizer_free(t);
}
END_TEST

/* The tokens' names and bytes, those that carry loss in brackets. */
static struct stn_buf transcript(const struct stn_tokenizer *t, const char *name,
                                 const struct stn_tokenizer_message *messages, size_t n, bool prompt)
{
    struct stn_tokenizer_list list = {0};
    struct stn_buf buf = {0};
    ck_assert_msg(stn_tokenizer_chat(t, &list, name, messages, n, prompt, &err) == STN_OK, "%s", err.text);
    for (size_t i = 0; i < list.n; i++) {
        struct stn_gguf_str piece = stn_tokenizer_piece(t, list.ids[i]);
        bool opens = list.mask[i] != 0 && (i == 0 || list.mask[i - 1] == 0);
        bool closes = list.mask[i] != 0 && (i + 1 == list.n || list.mask[i + 1] == 0);
        ck_assert(stn_buf_printf(&buf, "%s%.*s%s", opens ? "[" : "", (int)piece.size, piece.p, closes ? "]" : ""));
    }
    stn_tokenizer_list_fini(&list);
    return buf;
}

static const struct stn_tokenizer_message talk[] = {{"system", "Be brief."},
                                                    {"user", "Hi <|eot_id|> "},
                                                    {"assistant", "Hello!"},
                                                    {"user", "Bye"},
                                                    {"assistant", "Bye."}};

START_TEST(conversations_follow_their_template_and_only_the_assistant_carries_loss)
{
    static const struct {
        const char *vocabulary, *name, *text;
    } cases[] = {
        {"llama-3", "llama-3",
         "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
         "<|start_header_id|>user<|end_header_id|>\n\nHi <|eot_id|><|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n[Hello!<|eot_id|>]"
         "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n[Bye.<|eot_id|>]"},
        {"llama-3", "bitnet",
         "<|begin_of_text|>System: Be brief.<|eot_id|>User: Hi <|eot_id|><|eot_id|>Assistant:[ Hello!<|eot_id|>]"
         "User: Bye<|eot_id|>Assistant:[ Bye.<|eot_id|>]"},
        {"llama-3", "falcon",
         "<|begin_of_text|><|system|>\nBe brief.\n<|user|>\nHi <|eot_id|> \n<|assistant|>\n[Hello!<|eot_id|>]\n"
         "<|user|>\nBye\n<|assistant|>\n[Bye.<|eot_id|>]\n"},
        {"llama-3", "chatml",
         "<|begin_of_text|><|im_start|>system\nBe brief.<|eot_id|>\n<|im_start|>user\nHi <|eot_id|> <|eot_id|>\n"
         "<|im_start|>assistant\n[Hello!<|eot_id|>]\n<|im_start|>user\nBye<|eot_id|>\n"
         "<|im_start|>assistant\n[Bye.<|eot_id|>]\n"},
        {"llama-spm", "llama-2",
         "<s> [INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi <|eot_id|> [/INST][ Hello! </s>]"
         "<s> [INST] Bye [/INST][ Bye. </s>]"},
    };
    struct stn_tokenizer *t = shared(cases[_i].vocabulary);
    if (t == NULL) {
        return;
    }
    struct stn_buf buf = transcript(t, cases[_i].name, talk, 5, false);
    ck_assert(stn_buf_add_u8(&buf, 0));
    ck_assert_str_eq((char *)buf.data, cases[_i].text);
    stn_buf_fini(&buf);
    stn_tokenizer_free(t);
}
END_TEST

START_TEST(a_content_never_becomes_a_special_token)
{
    struct stn_tokenizer *t = home();
    const struct stn_tokenizer_message message = {"user", "<|end|><|begin|>"};
    struct stn_tokenizer_list list = {0};
    ck_assert_str_eq(stn_tokenizer_chat_template(t), "bitnet");
    ck_assert_int_eq(stn_tokenizer_chat(t, &list, NULL, &message, 1, true, &err), STN_OK);
    size_t n_special = 0;
    for (size_t i = 0; i < list.n; i++) {
        n_special += stn_tokenizer_is_special(t, list.ids[i]);
        ck_assert_uint_eq(list.mask[i], 0);
    }
    ck_assert_uint_eq(n_special, 2); /* the first, and the end of the turn */
    size_t n = list.n;
    const struct stn_tokenizer_message other = {"tool", ""};
    ck_assert_int_eq(stn_tokenizer_chat(t, &list, NULL, &other, 1, true, &err), STN_INVALID);
    ck_assert_int_eq(stn_tokenizer_chat(t, &list, "none", &message, 1, true, &err), STN_NOT_FOUND);
    ck_assert_uint_eq(list.n, n);
    struct stn_tokenizer_list named = {0};
    ck_assert_int_eq(stn_tokenizer_chat_use_template(t, "none", &err), STN_NOT_FOUND);
    ck_assert_str_eq(stn_tokenizer_chat_template(t), "bitnet");
    ck_assert_int_eq(stn_tokenizer_chat_use_template(t, "chatml", &err), STN_OK);
    ck_assert_str_eq(stn_tokenizer_chat_template(t), "chatml");
    list.n = 0;
    ck_assert_int_eq(stn_tokenizer_chat(t, &list, NULL, &message, 1, true, &err), STN_OK);
    ck_assert_int_eq(stn_tokenizer_chat(t, &named, "chatml", &message, 1, true, &err), STN_OK);
    ck_assert(list.n == named.n && memcmp(list.ids, named.ids, list.n * sizeof *list.ids) == 0);
    stn_tokenizer_list_fini(&named);
    stn_tokenizer_list_fini(&list);
    stn_tokenizer_free(t);
}
END_TEST

START_TEST(characters_have_their_classes)
{
    static const struct {
        uint32_t point;
        uint8_t kind;
    } cases[] = {{'a', 1}, {'9', 2}, {' ', 4}, {'!', 8}, {'$', 0}, {0xe9, 1}, {0x4e16, 1}, {0xbd, 2}, {0x2167, 2},
                 {0xa0, 4}, {0x85, 4}, {0x1c, 0}, {0x200b, 0}, {0x3000, 4}, {0xbf, 8}, {0x3002, 8}, {0x1f999, 0},
                 {0x300, 0}, {0x10ffff, 0}, {0x110000, 0}, {0x20000, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(stn_tokenizer_unicode_class(cases[i].point) == cases[i].kind, "U+%04X", cases[i].point);
    }
}
END_TEST

START_TEST(every_allocation_may_fail_without_harm)
{
    char path[512];
    struct stn_gguf *gguf = NULL;
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), STN_OK);
    for (uint64_t n = 1; n < 40; n++) {
        struct stn_tokenizer *t = NULL;
        struct stn_tokenizer_list list = {0};
        stn_mem_fail_from(n);
        enum stn_code code = stn_tokenizer_new(&t, gguf, &err);
        if (code == STN_OK) {
            code = stn_tokenizer_chat(t, &list, NULL, talk, 5, true, &err);
        }
        stn_mem_fail_from(0);
        ck_assert(code == STN_OK || code == STN_MEMORY);
        stn_tokenizer_list_fini(&list);
        stn_tokenizer_free(t);
    }
    stn_gguf_close(gguf);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("tokenizer");
    TCase *t = tcase_create("tokenizer");
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, the_published_tokens_come_out_for_the_published_texts, 0, 4);
    tcase_add_loop_test(t, characters_of_every_class_split_as_another_program_splits_them, 0, 5);
    tcase_add_test(t, any_utf8_comes_back_from_the_demo_model);
    tcase_add_loop_test(t, any_utf8_comes_back_from_the_published_vocabularies, 0, 4);
    tcase_add_test(t, bytes_that_are_no_utf8_are_kept_by_the_tokens_and_marked_by_the_decoder);
    tcase_add_test(t, special_tokens_are_made_only_where_asked_for);
    tcase_add_test(t, a_long_word_takes_no_longer_than_its_length_allows);
    tcase_add_loop_test(t, conversations_follow_their_template_and_only_the_assistant_carries_loss, 0, 5);
    tcase_add_test(t, a_content_never_becomes_a_special_token);
    tcase_add_test(t, pieces_join_by_score_then_from_the_left_even_across_words);
    tcase_add_test(t, merges_join_by_rank_and_those_of_no_token_are_left_out);
    tcase_add_test(t, a_vocabulary_that_cannot_be_used_is_refused_by_name);
    tcase_add_test(t, characters_have_their_classes);
    tcase_add_test(t, every_allocation_may_fail_without_harm);
    suite_add_tcase(s, t);
    return s;
}
