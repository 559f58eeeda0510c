#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "compute/model/tokenizer.h"
#include "compute/train/dataset.h"

static struct stn_gguf *gguf;
static struct stn_tokenizer *tokenizer;
static struct stn_dataset *dataset;
static struct stn_err err;

static void open_vocabulary(const char *path)
{
    ck_assert_msg(stn_gguf_open(&gguf, path, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_tokenizer_new(&tokenizer, gguf, &err) == STN_OK, "%s", err.text);
}

static void setup(void)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    open_vocabulary(path);
}

static void clean(void)
{
    stn_dataset_free(dataset);
    stn_tokenizer_free(tokenizer);
    stn_gguf_close(gguf);
    dataset = NULL;
}

static void make(size_t context, enum stn_dataset_loss loss, bool skip_bad)
{
    const struct stn_dataset_config config = {.context = context, .loss = loss, .skip_bad = skip_bad};
    stn_dataset_free(dataset);
    ck_assert_int_eq(stn_dataset_new(&dataset, &config, &err), STN_OK);
}

static void add(const char *line)
{
    ck_assert_msg(stn_dataset_add_line(dataset, tokenizer, line, strlen(line), 1, &err) == STN_OK, "%s", err.text);
}

/* The text of example i: what carries loss between < and >, the end as $. */
static const char *shown(size_t i)
{
    static struct stn_buf buf;
    const struct stn_dataset_example *example = &dataset->examples[i];
    stn_buf_clear(&buf);
    bool open = false;
    for (size_t k = example->first_token; k < example->first_token + example->n_tokens; k++) {
        bool target = (dataset->marks[k] & STN_DATASET_TARGET) != 0;
        if (target != open) {
            (void)stn_buf_add_str(&buf, target ? "<" : ">");
            open = target;
        }
        if (dataset->tokens[k] == stn_tokenizer_eos(tokenizer)) {
            (void)stn_buf_add_str(&buf, "$");
        } else if (!stn_tokenizer_is_special(tokenizer, dataset->tokens[k])) {
            struct stn_gguf_str piece = stn_tokenizer_piece(tokenizer, dataset->tokens[k]);
            (void)stn_buf_add(&buf, piece.p, piece.size);
        }
    }
    (void)stn_buf_add_str(&buf, open ? ">" : "");
    (void)stn_buf_add_u8(&buf, 0);
    return (const char *)buf.data;
}

START_TEST(a_pair_carries_loss_on_the_completion_and_its_end)
{
    make(64, STN_DATASET_COMPLETION, false);
    add("{\"prompt\": \"lamp on ->\", \"completion\": \" on lamp\"}");
    ck_assert_str_eq(shown(0), "lamp on -><\x20on lamp$>");
    ck_assert(dataset->examples[0].has_answer);
    ck_assert_uint_eq(dataset->counts.n_targets, dataset->examples[0].n_targets);
}
END_TEST

START_TEST(a_text_carries_loss_on_all_but_its_first_token)
{
    make(64, STN_DATASET_COMPLETION, false);
    add("{\"text\": \"a b c\"}");
    ck_assert_uint_eq(dataset->examples[0].n_targets, dataset->examples[0].n_tokens - 1);
    ck_assert(!dataset->examples[0].has_answer);
    ck_assert_int_eq(dataset->tokens[dataset->examples[0].n_tokens - 1], stn_tokenizer_eos(tokenizer));
}
END_TEST

START_TEST(loss_on_all_takes_the_prompt_in_and_still_knows_the_answer)
{
    make(64, STN_DATASET_ALL, false);
    add("{\"prompt\": \"lamp on ->\", \"completion\": \" on lamp\"}");
    const struct stn_dataset_example *example = &dataset->examples[0];
    ck_assert_uint_eq(example->n_targets, example->n_tokens - 1);
    unsigned n_answer = 0;
    for (size_t i = 0; i < example->n_tokens; i++) {
        n_answer += (dataset->marks[i] & STN_DATASET_ANSWER) != 0;
    }
    ck_assert_uint_gt(n_answer, 0);
    ck_assert_uint_lt(n_answer, example->n_targets);
}
END_TEST

START_TEST(a_conversation_carries_loss_on_what_the_assistant_says_alone)
{
    make(256, STN_DATASET_COMPLETION, false);
    add("{\"messages\": [{\"role\": \"user\", \"content\": \"QQQQ\"}, {\"role\": \"assistant\", \"content\": \"AAAA\"},"
        " {\"role\": \"user\", \"content\": \"RRRR\"}, {\"role\": \"assistant\", \"content\": \"BBBB\"}]}");
    const char *text = shown(0), *open = strchr(text, '<'), *close = strchr(text, '>');
    ck_assert(open != NULL && close != NULL && strstr(text, "QQQQ") < open);
    ck_assert_msg(strstr(open, "AAAA") < close, "%s", text);
    ck_assert_msg(strstr(text, "RRRR") > close && strstr(text, "RRRR") < strchr(close, '<'), "%s", text);
    ck_assert_msg(strstr(strchr(close, '<'), "BBBB") != NULL, "%s", text);
}
END_TEST

START_TEST(nothing_behind_the_last_answer_is_kept)
{
    make(256, STN_DATASET_COMPLETION, false);
    add("{\"messages\": [{\"role\": \"user\", \"content\": \"QQQQ\"}, {\"role\": \"assistant\", \"content\": \"AAAA\"},"
        " {\"role\": \"user\", \"content\": \"RRRR\"}]}");
    ck_assert_ptr_null(strstr(shown(0), "RRRR"));
    ck_assert_uint_eq(dataset->counts.n_truncated, 0);
}
END_TEST

START_TEST(what_the_context_cuts_is_counted)
{
    make(8, STN_DATASET_COMPLETION, false);
    add("{\"text\": \"one two three four five six seven eight nine ten\"}");
    ck_assert_uint_eq(dataset->n_examples, 1);
    ck_assert_uint_eq(dataset->examples[0].n_tokens, 8);
    ck_assert(dataset->examples[0].is_truncated);
    ck_assert_uint_eq(dataset->counts.n_truncated, 1);
    uint64_t n_cut = dataset->counts.n_cut;
    make(64, STN_DATASET_COMPLETION, false);
    add("{\"text\": \"one two three four five six seven eight nine ten\"}");
    ck_assert_uint_eq(dataset->examples[0].n_tokens, 8 + n_cut);
    ck_assert_uint_eq(dataset->counts.n_truncated, 0);
}
END_TEST

START_TEST(a_cut_answer_is_no_answer_to_match)
{
    make(8, STN_DATASET_COMPLETION, false);
    add("{\"prompt\": \"a ->\", \"completion\": \" one two three four five six seven eight nine ten\"}");
    ck_assert_uint_eq(dataset->n_examples, 1);
    ck_assert(!dataset->examples[0].has_answer);
}
END_TEST

START_TEST(an_example_with_nothing_left_to_learn_is_counted_and_left_out)
{
    make(8, STN_DATASET_COMPLETION, false);
    add("{\"prompt\": \"one two three four five six seven eight nine ten ->\", \"completion\": \" x\"}");
    add("{\"prompt\": \"a\", \"completion\": \"\"}");
    add("{\"text\": \"\"}");
    ck_assert_uint_eq(dataset->n_examples, 0);
    ck_assert_uint_eq(dataset->counts.n_lines, 3);
    ck_assert_uint_eq(dataset->counts.n_empty, 3);
    ck_assert_uint_eq(dataset->counts.n_truncated, 1);
}
END_TEST

static char path[] = "/tmp/dataset-test-XXXXXX";

static void write_file(const char *text)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static const char broken[] = "{\"prompt\": \"a\", \"completion\": \" b\", \"home\": \"h1\"}\n\n"
                             "{\"prompt\": \"a\"}\n"
                             "{\"text\": \"a b\", \"home\": \"h2\"}\n"
                             "{\"text\": \n";

START_TEST(a_broken_line_is_an_error_with_its_number)
{
    const struct stn_dataset_config config = {.context = 64};
    write_file(broken);
    ck_assert_int_eq(stn_dataset_open(&dataset, path, tokenizer, &config, &err), STN_INVALID);
    (void)unlink(path);
    char says[128];
    (void)snprintf(says, sizeof says, "%s: line 3: \"completion\" is missing, expected a string", path);
    ck_assert_str_eq(err.text, says);
}
END_TEST

START_TEST(skipping_counts_what_is_broken_and_keeps_the_first_reason)
{
    const struct stn_dataset_config config = {.context = 64, .skip_bad = true};
    write_file(broken);
    ck_assert_int_eq(stn_dataset_open(&dataset, path, tokenizer, &config, &err), STN_OK);
    (void)unlink(path);
    ck_assert_uint_eq(dataset->n_examples, 2);
    ck_assert_uint_eq(dataset->counts.n_skipped, 2);
    ck_assert_str_eq(dataset->counts.first_bad.text, "line 3: \"completion\" is missing, expected a string");
    ck_assert_uint_eq(dataset->examples[1].line, 4);
    ck_assert_str_eq(stn_dataset_field(dataset, 0, "home"), "h1");
    ck_assert_str_eq(stn_dataset_field(dataset, 1, "home"), "h2");
    ck_assert_ptr_null(stn_dataset_field(dataset, 1, "prompt"));
}
END_TEST

START_TEST(a_file_without_examples_is_refused)
{
    const struct stn_dataset_config config = {.context = 64, .skip_bad = true};
    write_file("{}\n");
    ck_assert_int_eq(stn_dataset_open(&dataset, path, tokenizer, &config, &err), STN_INVALID);
    (void)unlink(path);
    ck_assert_ptr_nonnull(strstr(err.text, "no example to learn from in 1 lines (0 empty, 1 broken: line 1: "));
}
END_TEST

static void add_many(size_t n)
{
    make(64, STN_DATASET_COMPLETION, false);
    for (size_t i = 0; i < n; i++) {
        char line[128];
        (void)snprintf(line, sizeof line, "{\"prompt\": \"p%zu\", \"completion\": \"c%zu\", \"n\": %zu}", i, i, i);
        add(line);
    }
}

START_TEST(a_subset_has_copies_in_the_order_of_its_indices)
{
    static const size_t indices[] = {5, 1, 5};
    struct stn_dataset *part = NULL;
    add_many(8);
    ck_assert_int_eq(stn_dataset_subset(&part, dataset, indices, 3, &err), STN_OK);
    struct stn_dataset *whole = dataset;
    dataset = part;
    ck_assert_uint_eq(part->n_examples, 3);
    ck_assert_str_eq(shown(0), "p5<c5$>");
    ck_assert_str_eq(shown(1), "p1<c1$>");
    ck_assert_str_eq(shown(2), "p5<c5$>");
    ck_assert_str_eq(stn_dataset_field(part, 1, "n"), "1");
    ck_assert_uint_eq(part->counts.n_tokens, part->held[1].size / sizeof *part->tokens);
    stn_dataset_free(whole);
}
END_TEST

START_TEST(a_split_is_seeded_whole_and_without_overlap)
{
    struct stn_dataset *kept[3], *held[3];
    add_many(40);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(stn_dataset_split(&kept[i], &held[i], dataset, 0.1, i == 2 ? 8 : 7, &err), STN_OK);
        ck_assert_uint_eq(held[i]->n_examples, 4);
        ck_assert_uint_eq(kept[i]->n_examples, 36);
    }
    struct stn_digest digests[3];
    bool seen[40] = {false};
    for (size_t i = 0; i < 3; i++) {
        digests[i] = stn_dataset_digest(held[i]);
    }
    ck_assert(stn_digest_equal(&digests[0], &digests[1]));
    ck_assert(!stn_digest_equal(&digests[0], &digests[2]));
    for (size_t i = 0; i < 40; i++) {
        const char *n = i < 4 ? stn_dataset_field(held[0], i, "n") : stn_dataset_field(kept[0], i - 4, "n");
        seen[atoi(n)] = true;
    }
    for (size_t i = 0; i < 40; i++) {
        ck_assert(seen[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        stn_dataset_free(kept[i]);
        stn_dataset_free(held[i]);
    }
}
END_TEST

START_TEST(the_digest_names_tokens_and_marks)
{
    struct stn_digest digests[3];
    for (int i = 0; i < 3; i++) {
        make(64, i == 1 ? STN_DATASET_ALL : STN_DATASET_COMPLETION, false);
        add(i == 2 ? "{\"prompt\": \"a\", \"completion\": \"c\"}" : "{\"prompt\": \"a\", \"completion\": \"b\"}");
        digests[i] = stn_dataset_digest(dataset);
    }
    ck_assert(!stn_digest_equal(&digests[0], &digests[1]));
    ck_assert(!stn_digest_equal(&digests[0], &digests[2]));
}
END_TEST

START_TEST(every_allocation_may_fail_and_leaves_the_dataset_whole)
{
    add_many(3);
    struct stn_digest before = stn_dataset_digest(dataset);
    enum stn_code code = STN_MEMORY;
    uint64_t n = 0;
    while (code == STN_MEMORY) {
        stn_mem_fail_from(++n);
        code = stn_dataset_add_pair(dataset, tokenizer, "prompt of some length", "completion", &err);
        stn_mem_fail_from(0);
        if (code == STN_MEMORY) {
            struct stn_digest after = stn_dataset_digest(dataset);
            ck_assert(stn_digest_equal(&before, &after) && dataset->counts.n_lines == 3);
        }
    }
    ck_assert_int_eq(code, STN_OK);
    ck_assert_uint_gt(n, 1);
    ck_assert_uint_eq(dataset->n_examples, 4);
}
END_TEST

START_TEST(with_sentencepiece_a_completion_goes_on_where_its_prompt_ended)
{
    char name[1024];
    (void)snprintf(name, sizeof name, "%s/models/vocab-llama-spm.gguf", STN_RUN_SHARED);
    if (access(name, R_OK) != 0) {
        (void)printf("skipped: %s is not there\n", name);
        return;
    }
    stn_tokenizer_free(tokenizer);
    stn_gguf_close(gguf);
    open_vocabulary(name);
    make(64, STN_DATASET_COMPLETION, false);
    add("{\"prompt\": \"Paris is\", \"completion\": \" large\"}");
    add("{\"prompt\": \"par\", \"completion\": \"is\"}");
    add("{\"prompt\": \"a\", \"completion\": \"  b\"}");
    ck_assert_str_eq(shown(0), " Paris is< large$>");
    ck_assert_str_eq(shown(1), " par<is$>");
    ck_assert_str_eq(shown(2), " a<  b$>");
    ck_assert_int_eq(dataset->tokens[0], stn_tokenizer_bos(tokenizer));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("dataset");
    TCase *t = tcase_create("dataset");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, setup, clean);
    tcase_add_test(t, a_pair_carries_loss_on_the_completion_and_its_end);
    tcase_add_test(t, a_text_carries_loss_on_all_but_its_first_token);
    tcase_add_test(t, loss_on_all_takes_the_prompt_in_and_still_knows_the_answer);
    tcase_add_test(t, a_conversation_carries_loss_on_what_the_assistant_says_alone);
    tcase_add_test(t, nothing_behind_the_last_answer_is_kept);
    tcase_add_test(t, what_the_context_cuts_is_counted);
    tcase_add_test(t, a_cut_answer_is_no_answer_to_match);
    tcase_add_test(t, an_example_with_nothing_left_to_learn_is_counted_and_left_out);
    tcase_add_test(t, a_broken_line_is_an_error_with_its_number);
    tcase_add_test(t, skipping_counts_what_is_broken_and_keeps_the_first_reason);
    tcase_add_test(t, a_file_without_examples_is_refused);
    tcase_add_test(t, a_subset_has_copies_in_the_order_of_its_indices);
    tcase_add_test(t, a_split_is_seeded_whole_and_without_overlap);
    tcase_add_test(t, the_digest_names_tokens_and_marks);
    tcase_add_test(t, every_allocation_may_fail_and_leaves_the_dataset_whole);
    tcase_add_test(t, with_sentencepiece_a_completion_goes_on_where_its_prompt_ended);
    return s;
}
