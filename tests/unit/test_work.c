#include "tests/lib/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/shell/delta.h"
#include "client/shell/job.h"
#include "client/shell/work.h"
#include "compute/model/adapter.h"
#include "compute/model/fit.h"
#include "compute/model/network.h"
#include "crypto/entropy.h"
#include "update/pack.h"
#include "update/round.h"
#ifdef WORK_ON_VULKAN
#include "tests/compute/gpu.h"
#endif

#define N_LINES 24

static char folder[64];
static struct stn_work work;
static struct stn_err err;

static void path_of(const char *name, char ret[static STN_FILE_PATH_MAX])
{
    (void)snprintf(ret, STN_FILE_PATH_MAX, "%s/%s", folder, name);
}

/* An adapter for home-base: as training begins, and of no effect; or that and a delta. */
static void save_adapter(const char *name, const struct stn_delta *delta)
{
    char path[STN_FILE_PATH_MAX], model_path[STN_FILE_PATH_MAX];
    struct stn_model *model = NULL;
    struct stn_adapter *adapter = NULL;
    (void)snprintf(model_path, sizeof model_path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_msg(stn_model_open(&model, model_path, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_adapter_new(&adapter, stn_model_arch(model), 4, 8, STN_ARCH_ALL, &err), STN_OK);
    stn_adapter_init(adapter, 1);
    for (size_t i = 0; delta != NULL && i < adapter->n_values; i++) {
        adapter->values[i] += delta->values[i];
    }
    path_of(name, path);
    ck_assert_int_eq(stn_adapter_file_save(adapter, path, &err), STN_OK);
    stn_adapter_free(adapter);
    stn_model_close(model);
}

static void begin(enum stn_work_kind kind, const char *adapter, const char *out)
{
    stn_work_fini(&work);
    memset(&work, 0, sizeof work);
    work.kind = kind;
    work.n_threads = 1;
    work.device.bytes[0] = 7;
    (void)snprintf(work.base, sizeof work.base, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    path_of(adapter, work.adapter);
    path_of("data.jsonl", work.data);
    path_of("a.delta", work.delta);
    path_of(out, work.out);
    work.lease = (struct stn_msg_lease){.lease = 5, .version = 0, .n_min = 5, .seed = 3, .expires_after_ms = 1000,
                                        .base = {.size = 1}, .adapter = {.size = 1}};
    (void)stn_str_copy(work.lease.task, sizeof work.lease.task, "home");
    work.lease.train = (struct stn_train_spec){.rank = 4, .alpha = 8, .targets = 127, .local_steps = 2,
                                               .batch_examples = 4, .batch_tokens = 256, .ctx = 64, .lr = 3e-3, .clip = 1};
}

static void setup(void)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf lines = {0};
    (void)snprintf(folder, sizeof folder, "/tmp/stn-work-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(stn_entropy_start(&err), STN_OK);
    for (int i = 0; i < N_LINES; i++) {
        (void)stn_buf_printf(&lines, "{\"prompt\": \"turn the lamp in room %d on ->\", \"completion\": \" on lamp room\"}\n", i);
    }
    path_of("data.jsonl", path);
    ck_assert_int_eq(stn_file_replace(path, lines.data, lines.size, 0600, &err), STN_OK);
    stn_buf_fini(&lines);
    save_adapter("first.gguf", NULL);
}

static void teardown(void)
{
    stn_work_fini(&work);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}

static void run(void)
{
    stn_work_run(&work.job);
}

static void must_run(void)
{
    run();
    ck_assert_msg(work.code == STN_OK, "%s", work.err.text);
}

static bool is_same(const char *a, const char *b)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf left = {0}, right = {0};
    path_of(a, path);
    ck_assert_int_eq(stn_file_read(path, 1 << 26, &left, &err), STN_OK);
    path_of(b, path);
    ck_assert_int_eq(stn_file_read(path, 1 << 26, &right, &err), STN_OK);
    bool same = left.size == right.size && memcmp(left.data, right.data, left.size) == 0;
    stn_buf_fini(&left);
    stn_buf_fini(&right);
    return same;
}

START_TEST(the_same_lease_makes_the_same_delta_whatever_the_threads)
{
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    must_run();
    ck_assert_uint_eq(work.n_samples, N_LINES - 2); /* without the tenth that is held out */
    ck_assert_double_gt(work.loss, 0);
    begin(STN_WORK_TRAIN, "first.gguf", "b.delta");
    work.n_threads = 2;
    must_run();
    ck_assert(is_same("a.delta", "b.delta"));
    begin(STN_WORK_TRAIN, "first.gguf", "c.delta");
    work.device.bytes[0] = 8;
    must_run();
    ck_assert(!is_same("a.delta", "c.delta"));
}
END_TEST

START_TEST(a_delta_that_is_there_is_not_made_again)
{
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    must_run();
    begin(STN_WORK_TRAIN, "gone.gguf", "a.delta"); /* nothing to train with, and nothing to train */
    must_run();
    ck_assert_uint_eq(work.n_samples, N_LINES - 2);
}
END_TEST

START_TEST(what_is_cancelled_leaves_nothing)
{
    char path[STN_FILE_PATH_MAX];
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    atomic_store(&work.job.cancelled, true);
    run();
    ck_assert_int_eq(work.code, STN_CANCELLED);
    path_of("a.delta", path);
    ck_assert(!stn_file_exists(path));
}
END_TEST

START_TEST(the_owners_memory_is_the_limit)
{
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    work.memory = 1 << 16;
    run();
    ck_assert_int_eq(work.code, STN_LIMIT);
    ck_assert_ptr_nonnull(strstr(work.err.text, "the owner allows"));
}
END_TEST

START_TEST(broken_data_are_named)
{
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    ck_assert_int_eq(stn_file_replace(work.data, "{\"prompt\": 1}\n", 14, 0600, &err), STN_OK);
    run();
    ck_assert_int_eq(work.code, STN_INVALID);
    ck_assert_ptr_nonnull(strstr(work.err.text, "data.jsonl"));
}
END_TEST

/* The fewest bytes in which the lease is trained: weights that are streamed, and the smallest training beside them. With
 * weights that stay it takes more. */
static size_t least_memory(void)
{
    struct stn_model *model = NULL;
    struct stn_adapter *adapter = NULL;
    struct stn_fit fit;
    char path[STN_FILE_PATH_MAX];
    const struct stn_trainer_config config = stn_job_trainer_config(&work.lease.train, STN_BACKWARD_INT8, 1);
    const struct stn_network_config shape = stn_trainer_shape(&config);
    path_of("first.gguf", path);
    ck_assert_int_eq(stn_model_open(&model, work.base, &err), STN_OK);
    ck_assert_int_eq(stn_adapter_file_load(&adapter, stn_model_arch(model), path, &err), STN_OK);
    size_t whole = stn_model_size(model);
    ck_assert_int_eq(stn_model_stream(model, &err), STN_OK);
    size_t streamed = stn_model_size(model);
    ck_assert_uint_lt(streamed, whole);
    ck_assert_int_eq(stn_fit_find(&fit, model, adapter, &shape, config.context, 0, &err), STN_OK);
    ck_assert_uint_eq(fit.rows, 0);
    stn_adapter_free(adapter);
    stn_model_close(model);
    return streamed + fit.memory.activations + fit.memory.adapter + fit.memory.scratch;
}

START_TEST(where_the_weights_do_not_fit_they_are_streamed)
{
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    work.lease.train.batch_tokens = work.lease.train.ctx; /* one pass a step: no fewer */
    size_t least = least_memory();
    must_run();
    begin(STN_WORK_TRAIN, "first.gguf", "b.delta");
    work.lease.train.batch_tokens = work.lease.train.ctx;
    work.memory = least;
    must_run();
    ck_assert(is_same("a.delta", "b.delta"));
    begin(STN_WORK_TRAIN, "first.gguf", "c.delta");
    work.memory = least - 1;
    run();
    ck_assert_int_eq(work.code, STN_LIMIT);
    ck_assert_ptr_nonnull(strstr(work.err.text, "the owner allows"));
}
END_TEST

START_TEST(where_the_gpu_fails_the_processor_trains_and_says_so)
{
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    must_run();
    ck_assert_int_eq(work.fell_back.code, STN_OK);
    /* no driver at all: one that is loaded leaves memory behind, in a module that is gone when leaks are looked for */
    ck_assert_int_eq(setenv("VK_DRIVER_FILES", "/nonexistent", 1), 0);
    ck_assert_int_eq(setenv("VK_ICD_FILENAMES", "/nonexistent", 1), 0);
    begin(STN_WORK_TRAIN, "first.gguf", "b.delta");
    work.backend = "vulkan";
    must_run();
    ck_assert_int_ne(work.fell_back.code, STN_OK);
    ck_assert(is_same("a.delta", "b.delta"));
}
END_TEST

#ifdef WORK_ON_VULKAN
static const struct {
    const char *words, *why;
} faults[] = {
    {"lost=1", "the device was lost during a step"},        /* its first gradients */
    {"lost=4", "the device was lost during a step"},        /* its last AdamW */
    {"broken=2", "the device was lost during a step"},
    {"late=1", "the device was silent for 120 s"},
    {"oom=1", "no memory for "},
    {"oom=3", "no memory for "},
    {"memory=2", "no memory for "},
    {"staged,lost=7", "the device was lost during a copy"}, /* weights on their way */
};

static void train_on_vulkan(const char *words, const char *out)
{
    ck_assert_int_eq(setenv("STERNA_VULKAN", words, 1), 0);
    begin(STN_WORK_TRAIN, "first.gguf", out);
    work.backend = "vulkan";
    must_run();
}

/* The round never knows. */
START_TEST(what_a_lost_device_began_the_processor_ends)
{
    char out[32];
    begin(STN_WORK_TRAIN, "first.gguf", "cpu.delta");
    must_run();
    train_on_vulkan("", "gpu.delta");
    ck_assert_msg(work.fell_back.code == STN_OK, "%s", work.fell_back.text);
    ck_assert(!is_same("cpu.delta", "gpu.delta")); /* by their last bits */
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        (void)snprintf(out, sizeof out, "%zu.delta", i);
        train_on_vulkan(faults[i].words, out);
        ck_assert_msg(strstr(work.fell_back.text, faults[i].why) != NULL, "%s: %s", faults[i].words, work.fell_back.text);
        ck_assert(is_same("cpu.delta", out));
    }
}
END_TEST
#endif

START_TEST(a_packed_vector_holds_the_delta)
{
    struct stn_delta delta = {0};
    struct stn_encode_config encoding;
    struct stn_encode_totals totals;
    struct stn_digest digest;
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    must_run();
    uint64_t n_samples = work.n_samples;
    ck_assert_int_eq(stn_delta_read(&delta, work.out, &work.lease, &err), STN_OK);
    begin(STN_WORK_ENCODE, "first.gguf", "");
    work.n_samples = n_samples;
    work.config = (struct stn_msg_round_config){.n_values = delta.n_values, .bits = 24, .n_max = 6, .n_min = 5,
                                                .clip_norm = 100, .weight_max = 10, .seed = {9}};
    must_run();
    ck_assert_int_eq(stn_round_encoding(&work.config, &encoding, &err), STN_OK);
    ck_assert_uint_eq(work.size, stn_round_upload_size(&encoding));
    digest = stn_digest_blob(work.packed, work.size);
    ck_assert(stn_digest_equal(&digest, &work.digest));
    uint32_t *sum = stn_mem_new(stn_encode_length(&encoding), sizeof *sum);
    float *mean = stn_mem_new(delta.n_values, sizeof *mean);
    stn_pack_add(sum, work.packed, stn_encode_length(&encoding), encoding.bits);
    ck_assert_int_eq(stn_encode_decode(&encoding, sum, 1, mean, &totals, &err), STN_OK);
    for (size_t i = 0; i < delta.n_values; i++) {
        ck_assert_double_lt(fabs((double)mean[i] - (double)delta.values[i]), 10 * encoding.step);
    }
    ck_assert_uint_eq(totals.n_tokens, delta.info.n_tokens);
    work.n_samples++; /* not what the coordinator was told */
    run();
    ck_assert_int_eq(work.code, STN_INVALID);
    stn_mem_free(sum);
    stn_mem_free(mean);
    stn_mem_free(delta.values);
}
END_TEST

START_TEST(a_delta_in_memory_needs_no_file_and_serves_its_own_lease_alone)
{
    char path[STN_FILE_PATH_MAX];
    for (int is_other = 0; is_other < 2; is_other++) {
        begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
        must_run();
        struct stn_delta made = work.made;
        ck_assert(stn_delta_is_of(&made, &work.lease));
        work.made = (struct stn_delta){0};
        path_of("a.delta", path);
        ck_assert_int_eq(stn_file_remove(path, &err), STN_OK);
        begin(STN_WORK_ENCODE, "first.gguf", "");
        work.made = made;
        work.n_samples = made.info.n_samples;
        work.config = (struct stn_msg_round_config){.n_values = made.n_values, .bits = 24, .n_max = 6, .n_min = 5,
                                                    .clip_norm = 100, .weight_max = 10, .seed = {9}};
        work.lease.expires_after_ms++; /* given again */
        work.lease.version += (uint64_t)is_other;
        run();
        ck_assert_int_eq(work.code, is_other ? STN_NOT_FOUND : STN_OK);
        ck_assert_ptr_null(work.made.values);
    }
}
END_TEST

START_TEST(a_large_delta_does_not_wait_in_memory)
{
    struct stn_delta delta = {.values = stn_mem_new(4, sizeof(float)), .n_values = STN_WORK_KEPT / sizeof(float) + 1};
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    stn_work_keep_made(&work, &delta);
    ck_assert_ptr_null(work.made.values);
    ck_assert_ptr_nonnull(delta.values);
    delta.n_values = 4;
    stn_work_keep_made(&work, &delta);
    ck_assert_ptr_nonnull(work.made.values);
    ck_assert_ptr_null(delta.values);
}
END_TEST

START_TEST(a_vector_under_masks_is_the_vector_once_they_are_off)
{
    const struct stn_mask masks[] = {{.seed = {1}}, {.seed = {2}, .is_minus = true}, {.seed = {3}}};
    struct stn_mask off[3];
    struct stn_delta delta = {0};
    struct stn_encode_config encoding;
    struct stn_encode_totals totals;
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    must_run();
    uint64_t n_samples = work.n_samples;
    ck_assert_int_eq(stn_delta_read(&delta, work.out, &work.lease, &err), STN_OK);
    begin(STN_WORK_ENCODE, "first.gguf", "");
    work.n_samples = n_samples;
    work.config = (struct stn_msg_round_config){.n_values = delta.n_values, .bits = 24, .n_max = 6, .n_min = 5,
                                                .clip_norm = 100, .weight_max = 10, .seed = {9}, .secure = true};
    run();
    ck_assert_int_eq(work.code, STN_DENIED); /* there are no masks: nothing is packed */
    ck_assert_ptr_null(work.packed);
    work.n_masks = 3;
    work.masks = stn_mem_copy(masks, sizeof masks);
    must_run();
    ck_assert_int_eq(stn_round_encoding(&work.config, &encoding, &err), STN_OK);
    size_t n = stn_encode_length(&encoding);
    uint32_t *sum = stn_mem_new(n, sizeof *sum);
    float *mean = stn_mem_new(delta.n_values, sizeof *mean);
    stn_pack_add(sum, work.packed, n, encoding.bits);
    ck_assert_int_eq(stn_encode_decode(&encoding, sum, 1, mean, &totals, &err), STN_CORRUPT);
    for (size_t i = 0; i < 3; i++) {
        off[i] = masks[i];
        off[i].is_minus = !masks[i].is_minus;
    }
    stn_mask_apply(sum, n, 0, off, 3);
    ck_assert_int_eq(stn_encode_decode(&encoding, sum, 1, mean, &totals, &err), STN_OK);
    for (size_t i = 0; i < delta.n_values; i++) {
        ck_assert_double_lt(fabs((double)mean[i] - (double)delta.values[i]), 10 * encoding.step);
    }
    stn_work_fini(&work);
    ck_assert(work.masks == NULL && work.packed == NULL);
    stn_mem_free(sum);
    stn_mem_free(mean);
    stn_mem_free(delta.values);
}
END_TEST

/* Values of the delta and bytes of the upload that a lease of one factor comes to. */
static size_t trained(enum stn_factor factor, const char *out, uint64_t *ret_size)
{
    struct stn_delta delta = {0};
    begin(STN_WORK_TRAIN, "first.gguf", out);
    work.lease.train.factor = factor;
    must_run();
    uint64_t n_samples = work.n_samples;
    ck_assert_int_eq(stn_delta_read(&delta, work.out, &work.lease, &err), STN_OK);
    begin(STN_WORK_ENCODE, "first.gguf", "");
    path_of(out, work.delta);
    work.lease.train.factor = factor;
    work.n_samples = n_samples;
    work.config = (struct stn_msg_round_config){.factor = factor, .n_values = delta.n_values, .bits = 24, .n_max = 6,
                                                .n_min = 5, .clip_norm = 100, .weight_max = 10, .seed = {9}};
    must_run();
    *ret_size = work.size;
    stn_mem_free(delta.values);
    return delta.n_values;
}

START_TEST(one_factor_makes_a_delta_and_an_upload_of_its_own_size)
{
    uint64_t both_size, a_size, b_size;
    size_t both = trained(STN_FACTOR_BOTH, "a.delta", &both_size), a = trained(STN_FACTOR_A, "b.delta", &a_size);
    size_t b = trained(STN_FACTOR_B, "c.delta", &b_size);
    ck_assert_uint_eq(a + b, both);
    ck_assert_uint_lt(a_size, both_size * 3 / 5);
    ck_assert_uint_lt(b_size, both_size * 3 / 5);
}
END_TEST

START_TEST(a_proximal_term_holds_the_delta_back)
{
    double norms[2] = {0};
    for (int i = 0; i < 2; i++) {
        struct stn_delta delta = {0};
        begin(STN_WORK_TRAIN, "first.gguf", i == 0 ? "a.delta" : "b.delta");
        work.lease.train.local_steps = 8;
        work.lease.train.fedprox = i == 0 ? 0 : 100;
        must_run();
        ck_assert_int_eq(stn_delta_read(&delta, work.out, &work.lease, &err), STN_OK);
        for (size_t k = 0; k < delta.n_values; k++) {
            norms[i] += (double)delta.values[k] * (double)delta.values[k];
        }
        stn_mem_free(delta.values);
    }
    ck_assert_double_lt(norms[1], 0.9 * norms[0]);
}
END_TEST

START_TEST(the_owner_says_how_many_ranks_are_trained)
{
    struct stn_delta delta = {0};
    struct stn_adapter *whole = NULL;
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta"); /* rank 4 */
    work.lease.train.n_halvings = 1;
    work.rank = 3;
    must_run();
    ck_assert_uint_eq(work.tier, 1);
    ck_assert_int_eq(stn_delta_read(&delta, work.out, &work.lease, &err), STN_OK);
    ck_assert_uint_eq(delta.info.tier, 1);
    ck_assert_int_eq(stn_adapter_file_load(&whole, NULL, work.adapter, &err), STN_OK);
    ck_assert_uint_eq(delta.n_values, whole->n_values);
    size_t n_moved = 0;
    for (size_t i = 0; i < whole->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &whole->tensors[i];
        for (size_t k = 0; k < (size_t)t->rows * t->cols; k++) {
            bool is_low = (t->is_b ? k % t->cols : k / t->cols) < 2;
            bool has_moved = fabsf(delta.values[t->offset + k]) > 0;
            ck_assert(is_low || !has_moved);
            n_moved += has_moved;
        }
    }
    ck_assert_uint_gt(n_moved, 0);
    stn_adapter_free(whole);
    stn_mem_free(delta.values);
    begin(STN_WORK_TRAIN, "first.gguf", "b.delta");
    work.lease.train.n_halvings = 1;
    work.rank = 1;
    run();
    ck_assert_int_eq(work.code, STN_LIMIT);
    ck_assert_ptr_nonnull(strstr(work.err.text, "trains 2 ranks at least, the owner allows 1"));
}
END_TEST

/* The same delta in a round of its own tier, and in one that leaves the higher ranks out. */
START_TEST(what_a_round_has_no_ranks_for_stays_at_home)
{
    struct stn_delta delta = {0};
    struct stn_adapter *whole = NULL;
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    work.lease.train.n_halvings = 1;
    must_run();
    uint64_t n_samples = work.n_samples;
    ck_assert_int_eq(stn_delta_read(&delta, work.out, &work.lease, &err), STN_OK);
    ck_assert_int_eq(stn_adapter_file_load(&whole, NULL, work.adapter, &err), STN_OK);
    for (uint32_t tier = 0; tier <= 1; tier++) {
        struct stn_encode_config encoding;
        struct stn_encode_totals totals;
            begin(STN_WORK_ENCODE, "first.gguf", "");
        work.lease.train.n_halvings = 1;
        work.n_samples = n_samples;
        work.tier = tier;
        work.config = (struct stn_msg_round_config){.n_values = delta.n_values, .bits = 24, .n_max = 6, .n_min = 5,
                                                    .clip_norm = 100, .n_halvings = 1, .n_bases = 1,
                                                    .bases = {{.discount = 0.5}}, .seed = {9}};
        must_run();
        ck_assert_int_eq(stn_round_encoding(&work.config, &encoding, &err), STN_OK);
        uint32_t *sum = stn_mem_new(stn_encode_length(&encoding), sizeof *sum);
        float *mean = stn_mem_new(delta.n_values, sizeof *mean);
        stn_pack_add(sum, work.packed, stn_encode_length(&encoding), encoding.bits);
        ck_assert_int_eq(stn_encode_decode(&encoding, sum, 1, mean, &totals, &err), STN_OK);
        ck_assert_double_eq(totals.tier_weight[tier], 0.5);
        ck_assert_double_eq(totals.weight, 0.5);
        for (size_t i = 0; i < whole->n_tensors; i++) {
            const struct stn_adapter_tensor *t = &whole->tensors[i];
            for (size_t k = 0; k < (size_t)t->rows * t->cols; k++) {
                bool is_in = (t->is_b ? k % t->cols : k / t->cols) < 4u >> tier;
                double want = is_in ? (double)delta.values[t->offset + k] : 0;
                ck_assert_double_lt(fabs((double)mean[t->offset + k] - want), 20 * encoding.step);
            }
        }
        stn_mem_free(sum);
        stn_mem_free(mean);
    }
    work.tier = 2; /* the round has no such tier */
    run();
    ck_assert_int_eq(work.code, STN_INVALID);
    stn_adapter_free(whole);
    stn_mem_free(delta.values);
}
END_TEST

START_TEST(a_release_that_does_worse_here_is_not_put_in_place)
{
    struct stn_delta delta = {0};
    begin(STN_WORK_TRAIN, "first.gguf", "a.delta");
    work.lease.train.local_steps = 20;
    must_run();
    ck_assert_int_eq(stn_delta_read(&delta, work.out, &work.lease, &err), STN_OK);
    save_adapter("trained.gguf", &delta);
    stn_mem_free(delta.values);
    begin(STN_WORK_INSTALL, "first.gguf", "home.gguf"); /* nothing is in place: against the base alone */
    must_run();
    ck_assert(work.has_holdout && !work.holdout.kept_old);
    ck_assert_double_eq_tol(work.holdout.loss_before, work.holdout.loss_after, 1e-4);
    ck_assert(is_same("first.gguf", "home.gguf"));
    begin(STN_WORK_INSTALL, "trained.gguf", "home.gguf");
    must_run();
    ck_assert(!work.holdout.kept_old);
    ck_assert_double_lt(work.holdout.loss_after, work.holdout.loss_before);
    ck_assert(is_same("trained.gguf", "home.gguf"));
    begin(STN_WORK_INSTALL, "first.gguf", "home.gguf");
    must_run();
    ck_assert(work.has_holdout && work.holdout.kept_old);
    ck_assert_double_gt(work.holdout.loss_after, work.holdout.loss_before);
    ck_assert(is_same("trained.gguf", "home.gguf"));
}
END_TEST

START_TEST(without_a_base_a_release_is_put_in_place_unjudged)
{
    begin(STN_WORK_INSTALL, "first.gguf", "home.gguf");
    work.base[0] = '\0';
    must_run();
    ck_assert(!work.has_holdout);
    ck_assert(is_same("first.gguf", "home.gguf"));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("work");
    TCase *c = tcase_create("work");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
#ifdef WORK_ON_VULKAN
    tcase_add_test(c, what_a_lost_device_began_the_processor_ends);
    if (gpu_is_there()) {
        suite_add_tcase(s, c);
    }
    return s;
#endif
    tcase_add_test(c, the_same_lease_makes_the_same_delta_whatever_the_threads);
    tcase_add_test(c, a_delta_that_is_there_is_not_made_again);
    tcase_add_test(c, what_is_cancelled_leaves_nothing);
    tcase_add_test(c, the_owners_memory_is_the_limit);
    tcase_add_test(c, broken_data_are_named);
    tcase_add_test(c, where_the_weights_do_not_fit_they_are_streamed);
    tcase_add_test(c, where_the_gpu_fails_the_processor_trains_and_says_so);
    tcase_add_test(c, a_packed_vector_holds_the_delta);
    tcase_add_test(c, a_delta_in_memory_needs_no_file_and_serves_its_own_lease_alone);
    tcase_add_test(c, a_large_delta_does_not_wait_in_memory);
    tcase_add_test(c, a_vector_under_masks_is_the_vector_once_they_are_off);
    tcase_add_test(c, a_proximal_term_holds_the_delta_back);
    tcase_add_test(c, the_owner_says_how_many_ranks_are_trained);
    tcase_add_test(c, what_a_round_has_no_ranks_for_stays_at_home);
    tcase_add_test(c, one_factor_makes_a_delta_and_an_upload_of_its_own_size);
    tcase_add_test(c, a_release_that_does_worse_here_is_not_put_in_place);
    tcase_add_test(c, without_a_base_a_release_is_put_in_place_unjudged);
    suite_add_tcase(s, c);
    return s;
}
