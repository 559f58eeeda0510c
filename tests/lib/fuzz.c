/* The main of a fuzz target in an ordinary build: a bounded, seeded run. Every file of the corpus folders given
 * as arguments is tried as it is, cut short, with bits flipped, and with pieces of another file in it: so many times
 * as STERNA_FUZZ_RUNS says, or -runs=N of a target that takes its time. With -text, for doors that read a language, every
 * other time it is words that become other words. With
 * clang's libFuzzer (-Dfuzz=true) this file is left out and the target runs for as long as one likes. */
#include "tests/lib/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

#define N_FILES 64
#define FILE_LIMIT ((size_t)4 << 20)

static struct stn_buf files[N_FILES];
static size_t n_files;

static void read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || n_files == N_FILES) {
        if (f != NULL) {
            (void)fclose(f);
        }
        return;
    }
    struct stn_buf *buf = &files[n_files++];
    for (size_t n = 1; n > 0 && buf->size < FILE_LIMIT;) {
        uint8_t *to = stn_buf_extend(buf, 65536);
        n = to == NULL ? 0 : fread(to, 1, 65536, f);
        buf->size -= 65536 - n;
    }
    (void)fclose(f);
}

static void read_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        read_file(path);
        return;
    }
    struct dirent **entries = NULL;
    (void)closedir(dir);
    int n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        struct stn_buf name = {0};
        if (entries[i]->d_name[0] != '.') {
            (void)stn_buf_printf(&name, "%s/%s", path, entries[i]->d_name);
            read_file((const char *)name.data);
        }
        stn_buf_fini(&name);
        free(entries[i]);
    }
    free(entries);
}

/* A copy of exactly its size, so that the sanitizer sees a read one byte past it. */
static void try_bytes(const uint8_t *data, size_t size)
{
    uint8_t *exact = stn_mem_copy(data, size);
    if (exact != NULL) {
        (void)LLVMFuzzerTestOneInput(exact, size);
        stn_mem_free(exact);
    }
}

static void mutate(struct stn_rng *rng, struct stn_buf *buf)
{
    static const uint64_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, 0xffffffff, UINT64_MAX, INT64_MAX};
    uint64_t n_changes = 1 + stn_rng_below(rng, 8);
    for (uint64_t i = 0; i < n_changes && buf->size > 0; i++) {
        size_t at = (size_t)stn_rng_below(rng, buf->size);
        /* headers are where the lengths are: look there half of the time */
        at = stn_rng_below(rng, 2) == 0 && buf->size > 256 ? at % 256 : at;
        uint64_t edge = edges[stn_rng_below(rng, sizeof edges / sizeof *edges)];
        size_t width = (size_t)1 << stn_rng_below(rng, 4);
        const struct stn_buf *other = &files[stn_rng_below(rng, n_files)];
        switch (stn_rng_below(rng, 5)) {
        case 0:
            buf->data[at] ^= (uint8_t)(1u << stn_rng_below(rng, 8));
            break;
        case 1:
            buf->data[at] = (uint8_t)stn_rng_u64(rng);
            break;
        case 2:
            memcpy(buf->data + at, &edge, width < buf->size - at ? width : buf->size - at);
            break;
        case 3:
            buf->size = at;
            break;
        default:
            if (other->size > 0) {
                size_t from = (size_t)stn_rng_below(rng, other->size);
                size_t n = other->size - from < buf->size - at ? other->size - from : buf->size - at;
                memmove(buf->data + at, other->data + from, n < 64 ? n : 64);
            }
        }
    }
}

/* The next word of a text: a string in quotes, or what stands between blanks and the signs of JSON, INI and URLs. Returns its size. */
static size_t next_word(const struct stn_buf *text, size_t from, size_t *ret_at)
{
    static const char between[] = " \t\r\n{}[],:=&?/";
    size_t at = from, n = 1;
    while (at < text->size && memchr(between, text->data[at], sizeof between - 1) != NULL) {
        at++;
    }
    if (at == text->size) {
        return 0;
    }
    *ret_at = at;
    if (text->data[at] == '"') {
        const uint8_t *end = memchr(text->data + at + 1, '"', text->size - at - 1);
        return end == NULL ? 1 : (size_t)(end - (text->data + at)) + 1;
    }
    while (at + n < text->size && memchr(between, text->data[at + n], sizeof between - 1) == NULL) {
        n++;
    }
    return n;
}

/* Any word of it; 0: it has none. */
static size_t draw_word(struct stn_rng *rng, const struct stn_buf *text, size_t *ret_at)
{
    size_t at = 0, size = 0;
    uint64_t n_words = 0;
    for (size_t from = 0; (size = next_word(text, from, &at)) > 0; from = at + size) {
        n_words++;
    }
    at = 0;
    for (uint64_t k = n_words == 0 ? 0 : 1 + stn_rng_below(rng, n_words); k > 0; k--) {
        size = next_word(text, at + size, &at);
    }
    *ret_at = at;
    return size;
}

/* A word becomes one of another text, or one that is seldom thought of. */
static void change_word(struct stn_rng *rng, struct stn_buf *buf)
{
    static const char *const odd[] = {"", "0", "-1", "1", "0.5", "1e999", "18446744073709551616", "9223372036854775807", "4294967296", "2147483648",
                                      "null", "true", "[]", "{}", "\"\"", "\"\\u0000\"", "[[[[[[[[]]]]]]]]", "\"..\"", "no", "nan", "\"%s%n\""};
    const struct stn_buf *other = &files[stn_rng_below(rng, n_files)];
    struct stn_buf made = {0};
    size_t at = 0, with_at = 0, n = draw_word(rng, buf, &at);
    if (n == 0) {
        return;
    }
    (void)stn_buf_add(&made, buf->data, at);
    if (stn_rng_below(rng, 2) == 0) {
        (void)stn_buf_add_str(&made, odd[stn_rng_below(rng, sizeof odd / sizeof *odd)]);
    } else if (stn_rng_below(rng, 16) == 0) {
        for (int i = 0; i < 3000; i++) {
            (void)stn_buf_add_u8(&made, 'a');
        }
    } else {
        size_t m = draw_word(rng, other, &with_at);
        (void)stn_buf_add(&made, other->data + with_at, m);
    }
    (void)stn_buf_add(&made, buf->data + at + n, buf->size - at - n);
    stn_buf_fini(buf);
    *buf = made;
}

static void change_words(struct stn_rng *rng, struct stn_buf *buf)
{
    for (uint64_t n = 1 + stn_rng_below(rng, 3); n > 0; n--) {
        change_word(rng, buf);
    }
}

int main(int argc, char **argv)
{
    bool is_text = false;
    uint64_t n_runs = 2000, seed = 1;
    const char *text = getenv("STERNA_FUZZ_RUNS");
    if (text != NULL && !stn_str_u64(text, &n_runs)) {
        (void)fprintf(stderr, "error: STERNA_FUZZ_RUNS is no number: %s\n", text);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        bool is_option = stn_str_starts(argv[i], "-runs=");
        if (is_option && text == NULL && !stn_str_u64(argv[i] + 6, &n_runs)) {
            (void)fprintf(stderr, "error: no number: %s\n", argv[i]);
            return 2;
        }
        is_text = is_text || strcmp(argv[i], "-text") == 0;
        if (!is_option && strcmp(argv[i], "-text") != 0) {
            read_folder(argv[i]);
        }
    }
    if (n_files == 0) {
        n_files = 1; /* an empty input to grow from */
    }
    struct stn_rng rng;
    stn_rng_init(&rng, seed);
    for (size_t i = 0; i < n_files; i++) {
        try_bytes(files[i].data, files[i].size);
    }
    for (uint64_t run = 0; run < n_runs; run++) {
        struct stn_buf buf = {0};
        const struct stn_buf *from = &files[stn_rng_below(&rng, n_files)];
        (void)stn_buf_add(&buf, from->data, from->size);
        if (from->size == 0) {
            uint8_t *to = stn_buf_extend(&buf, 1 + (size_t)stn_rng_below(&rng, 64));
            for (size_t i = 0; to != NULL && i < buf.size; i++) {
                to[i] = (uint8_t)stn_rng_u64(&rng);
            }
        }
        (is_text && run % 2 == 0 ? change_words : mutate)(&rng, &buf);
        try_bytes(buf.data, buf.size);
        stn_buf_fini(&buf);
    }
    (void)printf("100%%: Checks: 1, Failures: 0, Errors: 0 (%llu inputs)\n",
                 (unsigned long long)(n_runs + n_files));
    for (size_t i = 0; i < n_files; i++) {
        stn_buf_fini(&files[i]);
    }
    return 0;
}
