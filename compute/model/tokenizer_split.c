#include "compute/model/tokenizer_split.h"

#include "base/str.h"
#include "compute/model/tokenizer_unicode.h"

#define LETTER STN_TOKENIZER_UNICODE_LETTER
#define NUMBER STN_TOKENIZER_UNICODE_NUMBER
#define SPACE STN_TOKENIZER_UNICODE_SPACE
#define PUNCT STN_TOKENIZER_UNICODE_PUNCT

#define NO_POINT 0x110000u

static bool is(const struct stn_tokenizer_split_point *p, size_t at, size_t to, unsigned kinds)
{
    return at < to && (p[at].kind & kinds) != 0;
}

/* [^\s\p{L}\p{N}] */
static bool is_other(const struct stn_tokenizer_split_point *p, size_t at, size_t to)
{
    return at < to && (p[at].kind & (LETTER | NUMBER | SPACE)) == 0;
}

static uint32_t code(const struct stn_tokenizer_split_point *p, size_t at, size_t to)
{
    return at < to ? p[at].code : NO_POINT;
}

static bool is_line_end(const struct stn_tokenizer_split_point *p, size_t at, size_t to)
{
    uint32_t c = code(p, at, to);
    return c == '\r' || c == '\n';
}

static size_t run_of(const struct stn_tokenizer_split_point *p, size_t at, size_t to, unsigned kinds)
{
    while (is(p, at, to, kinds)) {
        at++;
    }
    return at;
}

static size_t run_of_others(const struct stn_tokenizer_split_point *p, size_t at, size_t to)
{
    while (is_other(p, at, to)) {
        at++;
    }
    return at;
}

/* 's|'t|'re|'ve|'m|'ll|'d: behind it, or `from` where there is none. fold: capitals too. */
static size_t contraction(const struct stn_tokenizer_split_point *p, size_t from, size_t to, bool fold)
{
    static const char words[][3] = {"s", "t", "re", "ve", "m", "ll", "d"};
    for (size_t i = 0; code(p, from, to) == '\'' && i < sizeof words / sizeof *words; i++) {
        size_t n = 0;
        while (words[i][n] != 0) {
            uint32_t c = code(p, from + 1 + n, to);
            if (fold && c >= 'A' && c <= 'Z') {
                c += 'a' - 'A';
            }
            if (c != (uint32_t)words[i][n]) {
                break;
            }
            n++;
        }
        if (words[i][n] == 0) {
            return from + 1 + n;
        }
    }
    return from;
}

/* \s+(?!\S)|\s+ : all blanks at the end, else all but the last, which goes with what follows it. */
static size_t blanks(const struct stn_tokenizer_split_point *p, size_t from, size_t to)
{
    size_t end = run_of(p, from, to, SPACE);
    return end < to && end - from > 1 ? end - 1 : end;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t step_gpt2(const struct stn_tokenizer_split_point *p, size_t from, size_t to)
{
    size_t end = contraction(p, from, to, false);
    if (end > from) {
        return end;
    }
    size_t start = from + (code(p, from, to) == ' ');
    if (is(p, start, to, LETTER)) {
        return run_of(p, start, to, LETTER);
    }
    if (is(p, start, to, NUMBER)) {
        return run_of(p, start, to, NUMBER);
    }
    if (is_other(p, start, to)) {
        return run_of_others(p, start, to);
    }
    return blanks(p, from, to);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t step_llama3(const struct stn_tokenizer_split_point *p, size_t from, size_t to)
{
    size_t end = contraction(p, from, to, true);
    if (end > from) {
        return end;
    }
    bool may_lead = !is_line_end(p, from, to) && !is(p, from, to, LETTER | NUMBER);
    size_t start = from + may_lead;
    if (is(p, start, to, LETTER)) {
        return run_of(p, start, to, LETTER);
    }
    if (is(p, from, to, NUMBER)) {
        return run_of(p, from, to - from > 3 ? from + 3 : to, NUMBER);
    }
    start = from + (code(p, from, to) == ' ');
    if (is_other(p, start, to)) {
        end = run_of_others(p, start, to);
        while (is_line_end(p, end, to)) {
            end++;
        }
        return end;
    }
    end = run_of(p, from, to, SPACE);
    for (size_t at = end; at > from; at--) {
        if (is_line_end(p, at - 1, to)) {
            return at;
        }
    }
    return blanks(p, from, to);
}

static bool is_mark(const struct stn_tokenizer_split_point *p, size_t at, size_t to, bool backtick)
{
    uint32_t c = code(p, at, to);
    return is(p, at, to, PUNCT) || c == '$' || c == '+' || c == '<' || c == '=' || c == '>' || c == '^' ||
           c == '~' || c == '|' || (backtick && c == '`');
}

/* Matches of a class of characters and what lies between them. */
static size_t marks(const struct stn_tokenizer_split_point *p, size_t from, size_t to, bool backtick)
{
    bool in = is_mark(p, from, to, backtick);
    size_t end = from + 1;
    while (end < to && is_mark(p, end, to, backtick) == in) {
        end++;
    }
    return end;
}

/* [\p{P}\$\+<=>\^~\|`]+ */
static size_t step_marks(const struct stn_tokenizer_split_point *p, size_t from, size_t to)
{
    return marks(p, from, to, true);
}

/* [\p{P}\$\+<=>\^~\|]+ */
static size_t step_marks_without_backtick(const struct stn_tokenizer_split_point *p, size_t from, size_t to)
{
    return marks(p, from, to, false);
}

/* \p{N}+ */
static size_t step_numbers(const struct stn_tokenizer_split_point *p, size_t from, size_t to)
{
    bool in = is(p, from, to, NUMBER);
    size_t end = from + 1;
    while (end < to && is(p, end, to, NUMBER) == in) {
        end++;
    }
    return end;
}

static bool three_digits(const struct stn_tokenizer_split_point *p, size_t at, size_t to)
{
    for (size_t i = at; i < at + 3; i++) {
        uint32_t c = code(p, i, to);
        if (c < '0' || c > '9') {
            return false;
        }
    }
    return true;
}

/* [0-9][0-9][0-9] */
static size_t step_three_digits(const struct stn_tokenizer_split_point *p, size_t from, size_t to)
{
    if (three_digits(p, from, to)) {
        return from + 3;
    }
    size_t end = from + 1;
    while (end < to && !three_digits(p, end, to)) {
        end++;
    }
    return end;
}

/* [0-9] */
static size_t step_digit(const struct stn_tokenizer_split_point *p, size_t from, size_t to)
{
    size_t end = from + 1;
    if (code(p, from, to) >= '0' && code(p, from, to) <= '9') {
        return end;
    }
    while (end < to && (code(p, end, to) < '0' || code(p, end, to) > '9')) {
        end++;
    }
    return end;
}

static const struct stn_tokenizer_split splits[] = {
    {"gpt-2", false, false, {step_gpt2}},
    {"llama-bpe", true, true, {step_llama3}},
    {"llama3", true, true, {step_llama3}},
    {"llama-v3", true, true, {step_llama3}},
    {"falcon3", true, true, {step_llama3}},
    {"falcon", false, false, {step_marks, step_gpt2, step_three_digits}},
    {"falcon_e", false, false, {step_marks, step_gpt2, step_digit}},
    {"default", false, false, {step_marks_without_backtick, step_gpt2, step_numbers, step_three_digits}},
};

const struct stn_tokenizer_split *stn_tokenizer_split_named(struct stn_gguf_str name)
{
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        if (stn_gguf_is(name, splits[i].name)) {
            return &splits[i];
        }
    }
    return NULL;
}

size_t stn_tokenizer_split_points(struct stn_tokenizer_split_point *points, const char *text, size_t size)
{
    size_t n = 0;
    for (size_t at = 0; at < size; n++) {
        uint32_t c = (uint8_t)text[at];
        size_t taken = c < 0x80 ? 1 : stn_str_utf8(text + at, size - at, &c);
        if (taken == 0) {
            taken = 1;
            c = NO_POINT;
        }
        points[n] = (struct stn_tokenizer_split_point){(uint32_t)at, c, stn_tokenizer_unicode_class(c)};
        at += taken;
    }
    points[n] = (struct stn_tokenizer_split_point){(uint32_t)size, NO_POINT, 0};
    return n;
}
