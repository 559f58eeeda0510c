#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "compute/model/tokenizer_parts.h"

/* In a template's texts, beside the names of special tokens. */
#define BOS "\1" /* the model's first token, if it wants one */
#define EOT "\2" /* the token that ends a turn */

enum role {
    SYSTEM,
    USER,
    ASSISTANT,
    N_ROLES
};

static const char *const roles[N_ROLES] = {"system", "user", "assistant"};

/* Sources: the chat templates that the models' publishers ship. */
static const struct template {
    const char *name;
    const char *sign;  /* what a template in a file has and the rows before have not */
    const char *begin; /* of the conversation */
    struct {
        const char *before, *end, *tail; /* of a turn: the end belongs to what was said, the tail does not */
    } turns[N_ROLES];
    const char *after_system; /* before the user's turn that follows the system's, if another */
    const char *prompt;       /* the opening of the assistant's turn */
    bool trims;               /* contents lose the blanks around them */
} templates[] = {
    {"chatml",
     "<|im_start|>",
     BOS,
     {{"<|im_start|>system\n", "<|im_end|>", "\n"},
      {"<|im_start|>user\n", "<|im_end|>", "\n"},
      {"<|im_start|>assistant\n", "<|im_end|>", "\n"}},
     NULL,
     "<|im_start|>assistant\n",
     false},
    {"llama-3",
     "<|start_header_id|>",
     BOS,
     {{"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>", ""},
      {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>", ""},
      {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>", ""}},
     NULL,
     "<|start_header_id|>assistant<|end_header_id|>\n\n",
     true},
    {"llama-2",
     "[INST]",
     "",
     {{BOS "[INST] <<SYS>>\n", "", "\n<</SYS>>\n\n"}, {BOS "[INST] ", "", " [/INST]"}, {" ", " " EOT, ""}},
     "",
     "",
     true},
    {"falcon",
     "<|assistant|>",
     BOS,
     {{"<|system|>\n", "", "\n"}, {"<|user|>\n", "", "\n"}, {"<|assistant|>\n", EOT, "\n"}},
     NULL,
     "<|assistant|>\n",
     false},
    {"bitnet",
     "<|eot_id|>",
     BOS,
     {{"System: ", EOT, ""}, {"User: ", EOT, ""}, {"Assistant: ", EOT, ""}},
     NULL,
     "Assistant: ",
     true},
};

#define N_TEMPLATES (sizeof templates / sizeof *templates)

static const struct template *find(const char *name)
{
    for (size_t i = 0; i < N_TEMPLATES; i++) {
        if (strcmp(templates[i].name, name) == 0) {
            return &templates[i];
        }
    }
    return NULL;
}

/* By the file's template, else by the special tokens it would need, else by what its family is known to use. */
void stn_tokenizer_chat_detect(struct stn_tokenizer *t, const struct stn_gguf *gguf)
{
    struct stn_gguf_str text = {0};
    bool has = stn_gguf_str(gguf, "tokenizer.chat_template", &text, NULL) == STN_OK;
    t->chat = t->model == &stn_tokenizer_spm ? "llama-2" : "bitnet";
    for (size_t i = 0; i < N_TEMPLATES; i++) {
        const char *sign = templates[i].sign;
        if (has ? memmem(text.p, text.size, sign, strlen(sign)) != NULL
                : stn_tokenizer_special(t, sign) >= 0) {
            t->chat = templates[i].name;
            return;
        }
    }
}

const char *stn_tokenizer_chat_template(const struct stn_tokenizer *t)
{
    return t->chat;
}

static enum stn_code find_named(const struct template **ret, const char *name, struct stn_err *err)
{
    *ret = find(name);
    return *ret != NULL ? STN_OK
                        : stn_err_set(err, STN_NOT_FOUND, "no chat template %.40s: chatml, llama-2, llama-3, bitnet or falcon",
                                      name);
}

enum stn_code stn_tokenizer_chat_use_template(struct stn_tokenizer *t, const char *name, struct stn_err *err)
{
    const struct template *template;
    enum stn_code code = find_named(&template, name, err);
    if (code == STN_OK) {
        t->chat = template->name;
    }
    return code;
}

/* Text waits until a special token ends it, so that words form across the joints of a template, as they did when the
 * model was trained; who says which byte waits beside it. */
struct render {
    const struct stn_tokenizer *t;
    struct stn_tokenizer_list *list;
    struct stn_buf text, who;
};

static enum stn_code no_memory(struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "no memory for a conversation");
}

static enum stn_code flush(struct render *r, struct stn_err *err)
{
    if (r->text.failed || r->who.failed) {
        return no_memory(err);
    }
    size_t first = r->list->n, size = r->text.size;
    enum stn_code code =
        size == 0 ? STN_OK
                  : stn_tokenizer_encode(r->t, r->list, (const char *)r->text.data, size, 0, err);
    /* a token is the assistant's when its last byte is */
    size_t lead = r->t->model == &stn_tokenizer_spm && r->t->adds_space, at = 0;
    for (size_t i = first; i < r->list->n && code == STN_OK; i++) {
        at += r->t->entries[r->list->ids[i]].size;
        size_t last = at > lead ? at - lead - 1 : 0;
        r->list->mask[i] = r->who.data[last < size ? last : size - 1];
    }
    stn_buf_clear(&r->text);
    stn_buf_clear(&r->who);
    return code;
}

static void put(struct render *r, const char *p, size_t size, uint8_t mask)
{
    uint8_t *who = stn_buf_extend(&r->who, size);
    (void)stn_buf_add(&r->text, p, size);
    if (who != NULL && size > 0) {
        memset(who, mask, size);
    }
}

static enum stn_code put_token(struct render *r, int32_t id, uint8_t mask, struct stn_err *err)
{
    enum stn_code code = flush(r, err);
    if (code == STN_OK && id >= 0 && !stn_tokenizer_list_add(r->list, id, mask)) {
        code = no_memory(err);
    }
    return code;
}

/* A text of the template: special tokens by name, and the two that go by their use. */
static enum stn_code put_fixed(struct render *r, const char *text, uint8_t mask, struct stn_err *err)
{
    for (size_t left = strlen(text), taken; left > 0; text += taken, left -= taken) {
        enum stn_code code = STN_OK;
        int32_t id = stn_tokenizer_special_at(r->t, text, left, STN_TOKENIZER_SPECIAL);
        taken = id >= 0 ? r->t->entries[id].size : 1;
        if (id >= 0) {
            code = put_token(r, id, mask, err);
        } else if (text[0] == BOS[0]) {
            code = put_token(r, r->t->adds_bos ? r->t->bos : -1, mask, err);
        } else if (text[0] == EOT[0]) {
            code = put_token(r, r->t->eot, mask, err);
        } else {
            put(r, text, 1, mask);
        }
        if (code != STN_OK) {
            return code;
        }
    }
    return STN_OK;
}

/* What ends a turn must be a token that generation stops at: the end of turn, where the vocabulary has none by
 * that name. */
static enum stn_code put_end(struct render *r, const char *end, uint8_t mask, struct stn_err *err)
{
    if (end[0] == '<' && stn_tokenizer_special(r->t, end) < 0) {
        end = EOT;
    }
    return put_fixed(r, end, mask, err);
}

static void put_content(struct render *r, const char *content, bool trims, uint8_t mask)
{
    size_t size = strlen(content);
    while (trims && size > 0 && memchr(" \t\r\n", content[0], 4) != NULL) {
        content++;
        size--;
    }
    while (trims && size > 0 && memchr(" \t\r\n", content[size - 1], 4) != NULL) {
        size--;
    }
    put(r, content, size, mask);
}

static enum stn_code put_all(struct render *r, const struct template *template,
                             const struct stn_tokenizer_message *messages, size_t n, bool prompt,
                             struct stn_err *err)
{
    enum stn_code code = put_fixed(r, template->begin, 0, err);
    size_t before = N_ROLES, role = 0;
    for (size_t i = 0; i < n && code == STN_OK; i++, before = role) {
        for (role = 0; role < N_ROLES && strcmp(messages[i].role, roles[role]) != 0;) {
            role++;
        }
        if (role == N_ROLES) {
            return stn_err_set(err, STN_INVALID, "role %.40s: only system, user and assistant can speak",
                               messages[i].role);
        }
        uint8_t mask = role == ASSISTANT;
        bool follows = role == USER && before == SYSTEM && template->after_system != NULL;
        code = put_fixed(r, follows ? template->after_system : template->turns[role].before, 0, err);
        put_content(r, messages[i].content, template->trims, mask);
        if (code == STN_OK) {
            code = put_end(r, template->turns[role].end, mask, err);
        }
        if (code == STN_OK) {
            code = put_fixed(r, template->turns[role].tail, 0, err);
        }
    }
    if (code == STN_OK && prompt) {
        code = put_fixed(r, template->prompt, 0, err);
    }
    return code == STN_OK ? flush(r, err) : code;
}

enum stn_code stn_tokenizer_chat(const struct stn_tokenizer *t, struct stn_tokenizer_list *list,
                                 const char *name, const struct stn_tokenizer_message *messages, size_t n,
                                 bool prompt, struct stn_err *err)
{
    const struct template *template;
    enum stn_code code = find_named(&template, name == NULL ? t->chat : name, err);
    if (code != STN_OK) {
        return code;
    }
    struct render r = {.t = t, .list = list, .text.limit = STN_TOKENIZER_TEXT};
    size_t n_before = list->n;
    code = put_all(&r, template, messages, n, prompt, err);
    if (code != STN_OK) {
        list->n = n_before;
    }
    stn_buf_fini(&r.text);
    stn_buf_fini(&r.who);
    return code;
}
