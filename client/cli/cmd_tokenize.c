#include "client/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/cli/session.h"
#include "io/file.h"

struct options {
    const char *model, *prompt, *file;
    bool decode, bos, special;
};

static const struct options defaults;

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "whose vocabulary", .required = true},
    {"prompt", 'p', STN_OPTION_STR, AT(prompt), "TEXT", "the text (standard input)"},
    {"file", 'f', STN_OPTION_STR, AT(file), "FILE", "the text is a file's, to its last byte"},
    {"decode", 0, STN_OPTION_FLAG, AT(decode), NULL, "the text is token ids: print what they say"},
    {"bos", 0, STN_OPTION_FLAG, AT(bos), NULL, "begin as the model wants a text to begin"},
    {"special", 0, STN_OPTION_FLAG, AT(special), NULL, "names of special tokens become them, and are printed"},
    {0},
};

static enum stn_code read_input(const struct options *o, struct stn_buf *buf, struct stn_err *err)
{
    if (o->prompt != NULL) {
        return stn_buf_add_str(buf, o->prompt) ? STN_OK : stn_err_set(err, STN_MEMORY, "no memory for the text");
    }
    if (o->file != NULL) {
        return stn_file_read(o->file, STN_TOKENIZER_TEXT, buf, err);
    }
    buf->limit = STN_TOKENIZER_TEXT + BUFSIZ;
    for (size_t n = BUFSIZ; n == BUFSIZ;) {
        uint8_t *to = stn_buf_extend(buf, BUFSIZ);
        if (to == NULL) {
            return stn_err_set(err, STN_LIMIT, "a text of more than %zu bytes", STN_TOKENIZER_TEXT);
        }
        n = fread(to, 1, BUFSIZ, stdin);
        buf->size -= BUFSIZ - n;
    }
    return ferror(stdin) == 0 ? STN_OK : stn_err_set(err, STN_IO, "standard input cannot be read");
}

/* Ids by blanks, commas or lines: "1 2,3", and as JSON writes them, "[1, 2, 3]". */
static enum stn_code read_ids(const struct stn_buf *text, struct stn_tokenizer_list *list, struct stn_err *err)
{
    for (size_t at = 0; at < text->size;) {
        char word[16] = "";
        size_t n = 0;
        while (at < text->size && memchr(" \t\r\n,[]", text->data[at], 8) != NULL) {
            at++;
        }
        while (at < text->size && memchr(" \t\r\n,[]", text->data[at], 8) == NULL) {
            if (n + 1 < sizeof word) {
                word[n] = (char)text->data[at];
            }
            n++;
            at++;
        }
        uint64_t id = 0;
        if (n == 0) {
            continue;
        }
        if (n >= sizeof word || !stn_str_u64(word, &id) || id > INT32_MAX) {
            return stn_err_set(err, STN_INVALID, "%s is no token id", word);
        }
        if (!stn_tokenizer_list_add(list, (int32_t)id, 0)) {
            return stn_err_set(err, STN_MEMORY, "no memory for the tokens");
        }
    }
    return STN_OK;
}

/* A token's bytes as JSON can say them: what is no UTF-8 becomes U+FFFD. */
static json_t *json_piece(const struct stn_tokenizer *tokenizer, int32_t id)
{
    struct stn_tokenizer_decoder decoder = {.show_special = true, .started = true};
    struct stn_buf buf = {0};
    json_t *piece = NULL;
    if (stn_tokenizer_decode(tokenizer, &decoder, id, &buf, NULL) == STN_OK && stn_tokenizer_decode_end(&decoder, &buf)) {
        piece = json_stringn(buf.size == 0 ? "" : (const char *)buf.data, buf.size);
    }
    stn_buf_fini(&buf);
    return piece;
}

static enum stn_code print_json(const struct stn_tokenizer *tokenizer, const struct stn_tokenizer_list *list,
                                const struct stn_buf *text, struct stn_err *err)
{
    json_t *ids = json_array(), *pieces = json_array();
    for (size_t i = 0; i < list->n; i++) {
        (void)json_array_append_new(ids, json_integer(list->ids[i]));
        (void)json_array_append_new(pieces, json_piece(tokenizer, list->ids[i]));
    }
    json_t *object = json_pack("{sI so so}", "n_tokens", (json_int_t)list->n, "tokens", ids, "pieces", pieces);
    if (object != NULL && text != NULL) {
        (void)json_object_set_new(object, "text",
                                  json_stringn(text->size == 0 ? "" : (const char *)text->data, text->size));
    }
    return stn_session_take_json(object, err);
}

static enum stn_code decode(const struct options *o, const struct stn_command_line *line,
                            const struct stn_tokenizer *tokenizer, const struct stn_buf *input, struct stn_err *err)
{
    struct stn_tokenizer_list list = {0};
    struct stn_tokenizer_decoder decoder = {.show_special = o->special};
    struct stn_buf text = {0};
    enum stn_code code = read_ids(input, &list, err);
    for (size_t i = 0; i < list.n && code == STN_OK; i++) {
        code = stn_tokenizer_decode(tokenizer, &decoder, list.ids[i], &text, err);
    }
    if (code == STN_OK && !stn_tokenizer_decode_end(&decoder, &text)) {
        code = stn_err_set(err, STN_MEMORY, "no memory for the text");
    }
    if (code == STN_OK && line->json) {
        code = print_json(tokenizer, &list, &text, err);
    } else if (code == STN_OK) {
        (void)fwrite(text.data == NULL ? (const uint8_t *)"" : text.data, 1, text.size, stdout);
        (void)putchar('\n');
    }
    stn_buf_fini(&text);
    stn_tokenizer_list_fini(&list);
    return code;
}

static enum stn_code encode(const struct options *o, const struct stn_command_line *line,
                            const struct stn_tokenizer *tokenizer, const struct stn_buf *input, struct stn_err *err)
{
    struct stn_tokenizer_list list = {0};
    unsigned flags = (o->bos ? STN_TOKENIZER_BOS : 0u) | (o->special ? STN_TOKENIZER_SPECIAL : 0u);
    enum stn_code code = stn_tokenizer_encode(tokenizer, &list, input->data == NULL ? "" : (const char *)input->data,
                                              input->size, flags, err);
    if (code == STN_OK && line->json) {
        code = print_json(tokenizer, &list, NULL, err);
    }
    for (size_t i = 0; i < list.n && code == STN_OK && !line->json; i++) {
        (void)printf("%s%d", i == 0 ? "" : " ", list.ids[i]);
    }
    if (code == STN_OK && !line->json) {
        (void)putchar('\n');
    }
    stn_tokenizer_list_fini(&list);
    return code;
}

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    (void)line;
    return o->prompt == NULL || o->file == NULL ? STN_OK
                                                : stn_err_set(err, STN_INVALID, "--prompt and --file: one text at a time");
}

static enum stn_code tokenize(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct stn_gguf *gguf = NULL;
    struct stn_tokenizer *tokenizer = NULL;
    struct stn_buf input = {0};
    enum stn_code code = stn_gguf_open(&gguf, o->model, err);
    code = code != STN_OK ? code : stn_tokenizer_new(&tokenizer, gguf, err);
    code = code != STN_OK ? code : read_input(o, &input, err);
    code = code != STN_OK ? code : (o->decode ? decode : encode)(o, line, tokenizer, &input, err);
    stn_buf_fini(&input);
    stn_tokenizer_free(tokenizer);
    stn_gguf_close(gguf);
    return code;
}

const struct stn_command stn_cmd_tokenize = {
    .name = "tokenize", .args = "",
    .summary = "print the token ids of a text, or the text of token ids",
    .example = "sterna tokenize -m base.gguf -p \"turn on the light\"",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .check = check, .run = tokenize,
};
