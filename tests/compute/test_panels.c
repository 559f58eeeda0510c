#include "tests/compute/pack.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compute/model/panels.h"
#include "compute/model/random.h"
#include "io/file.h"

enum { N = 2 };

static char folder[32], path[64], cache[64];
static struct stn_gguf *home;
static const struct stn_panels_matrix shapes[N] = {{100, 200}, {64, 300}};

static void open_folder(void)
{
    char at[512];
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-panels-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/model.gguf", folder);
    (void)snprintf(cache, sizeof cache, "%s/cache", folder);
    (void)snprintf(at, sizeof at, "%s/%s", STN_RUN_SOURCE, MODEL);
    ck_assert_int_eq(stn_gguf_open(&home, at, &err), STN_OK);
}

static void close_folder(void)
{
    stn_gguf_close(home);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}

static void random_row(const void *user, size_t row, int8_t *values, float *scales)
{
    const struct stn_panels_matrix *shape = user;
    for (size_t c = 0; c < shape->cols; c++) {
        values[c] = (int8_t)((int)(stn_rng_mix(row * shape->cols + c) % 3) - 1);
    }
    scales[0] = 0.5f;
    scales[(shape->cols - 1) / 256] = shape == &shapes[0] ? 0.5f : 0.25f; /* the second has several scales */
}

static enum stn_code pack(void *context, size_t i, struct stn_ternary **ret, struct stn_err *e)
{
    const struct stn_ternary_source source = {.rows = shapes[i].rows, .cols = shapes[i].cols, .row = random_row,
                                              .user = &shapes[i]};
    *(size_t *)context += 1;
    return stn_ternary_new(ret, &source, e);
}

static void forward(const struct stn_ternary *w, float *y)
{
    float x[300], scratch_scale;
    int8_t q[320];
    void *scratch = stn_mem_aligned(stn_ternary_scratch(w, 1), 1);
    for (size_t i = 0; i < 300; i++) {
        x[i] = sinf((float)i);
    }
    stn_ternary_quantise(x, 1, stn_ternary_cols(w), q, &scratch_scale);
    stn_ternary_forward(w, q, &scratch_scale, 1, y, stn_ternary_rows(w), 0, stn_ternary_rows(w), scratch);
    stn_mem_free(scratch);
}

START_TEST(what_is_taken_from_a_file_computes_the_same_bits)
{
    struct stn_panels *panels = NULL;
    size_t n_packed = 0;
    ck_assert_int_eq(stn_panels_open(&panels, &(struct stn_panels_place){cache, home, 0}, shapes, N, &err), STN_NOT_FOUND);
    ck_assert_msg(stn_panels_make(&(struct stn_panels_place){cache, home, 0}, shapes, N, pack, &n_packed, &err) == STN_OK, "%s", err.text);
    ck_assert_uint_eq(n_packed, N);
    ck_assert_msg(stn_panels_open(&panels, &(struct stn_panels_place){cache, home, 0}, shapes, N, &err) == STN_OK, "%s", err.text);
    for (size_t i = 0; i < N; i++) {
        struct stn_ternary *own = NULL, *taken = NULL;
        float y[100], z[100];
        ck_assert_int_eq(pack(&n_packed, i, &own, &err), STN_OK);
        ck_assert_int_eq(stn_panels_take(panels, i, &taken, &err), STN_OK);
        ck_assert_uint_eq(stn_ternary_size(own), stn_ternary_size(taken));
        forward(own, y);
        forward(taken, z);
        ck_assert_mem_eq(y, z, stn_ternary_rows(own) * sizeof *y);
        stn_ternary_drop(taken);
        stn_ternary_page(taken, NULL, true);
        forward(taken, z);
        ck_assert_mem_eq(y, z, stn_ternary_rows(own) * sizeof *y);
        stn_ternary_free(own);
        stn_ternary_free(taken);
    }
    stn_panels_close(panels);
}
END_TEST

static enum stn_code name_of(void *user, const char *name, struct stn_err *e)
{
    (void)e;
    (void)snprintf(user, 256, "%.128s", name);
    return STN_OK;
}

START_TEST(a_file_that_is_not_whole_is_none)
{
    struct stn_panels *panels = NULL;
    const struct stn_panels_matrix other[N] = {{100, 200}, {128, 300}};
    size_t n_packed = 0;
    char name[256], file[512];
    ck_assert_int_eq(stn_panels_make(&(struct stn_panels_place){cache, home, 0}, shapes, N, pack, &n_packed, &err), STN_OK);
    ck_assert_int_eq(stn_panels_open(&panels, &(struct stn_panels_place){cache, home, 0}, other, N, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_panels_open(&panels, &(struct stn_panels_place){cache, home, 1}, shapes, N, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_panels_open(&panels, &(struct stn_panels_place){cache, home, 0}, shapes, 1, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_file_list(cache, name_of, name, &err), STN_OK);
    (void)snprintf(file, sizeof file, "%s/%s", cache, name);
    struct stat is;
    ck_assert_int_eq(stat(file, &is), 0);
    for (off_t size = is.st_size - 1; size > 0; size = size * 2 / 3) {
        ck_assert_int_eq(truncate(file, size), 0);
        ck_assert_int_eq(stn_panels_open(&panels, &(struct stn_panels_place){cache, home, 0}, shapes, N, &err), STN_NOT_FOUND);
    }
    ck_assert_int_eq(stn_panels_make(&(struct stn_panels_place){cache, home, 0}, shapes, N, pack, &n_packed, &err), STN_OK);
    ck_assert_int_eq(stn_panels_open(&panels, &(struct stn_panels_place){cache, home, 0}, shapes, N, &err), STN_OK);
    stn_panels_close(panels);
}
END_TEST

static enum stn_code count_one(void *user, const char *name, struct stn_err *e)
{
    (void)name, (void)e;
    *(size_t *)user += 1;
    return STN_OK;
}

START_TEST(another_model_has_another_file_and_old_ones_go)
{
    struct stn_buf bytes = {0};
    size_t n_packed = 0, n_files = 0;
    char at[512];
    (void)snprintf(at, sizeof at, "%s/%s", STN_RUN_SOURCE, MODEL);
    ck_assert_int_eq(stn_file_read(at, (size_t)1 << 30, &bytes, &err), STN_OK);
    for (size_t i = 0; i < STN_PANELS_KEPT + 3; i++) {
        struct stn_gguf *copy = NULL;
        struct stn_panels *panels = NULL;
        ck_assert_int_eq(stn_file_replace(path, bytes.data, bytes.size, 0600, &err), STN_OK);
        ck_assert_int_eq(stn_gguf_open(&copy, path, &err), STN_OK);
        ck_assert_int_eq(stn_panels_open(&panels, &(struct stn_panels_place){cache, copy, 0}, shapes, N, &err), STN_NOT_FOUND);
        ck_assert_int_eq(stn_panels_make(&(struct stn_panels_place){cache, copy, 0}, shapes, N, pack, &n_packed, &err), STN_OK);
        ck_assert_int_eq(stn_panels_open(&panels, &(struct stn_panels_place){cache, copy, 0}, shapes, N, &err), STN_OK);
        stn_panels_close(panels);
        stn_gguf_close(copy);
    }
    ck_assert_int_eq(stn_file_list(cache, count_one, &n_files, &err), STN_OK);
    ck_assert_uint_eq(n_files, STN_PANELS_KEPT);
    stn_buf_fini(&bytes);
}
END_TEST

/* Gradients of a step on a model that is just large enough for a file. */
static void step(struct stn_model *own, float **ret_gradients, size_t *ret_n)
{
    struct pack p = {0};
    int32_t tokens[24];
    struct stn_adapter *adapter = NULL;
    struct stn_network_config c = config();
    struct stn_network *network = NULL;
    struct stn_network_result result;
    pack_init(&p);
    fill(tokens, 24, 3);
    pack_add(&p, tokens, 24, NULL, 0.04f);
    c.backward = STN_BACKWARD_INT8;
    c.recompute = STN_NETWORK_ALL;
    ck_assert_int_eq(stn_adapter_new(&adapter, stn_model_arch(own), 2, 4, STN_ARCH_ALL, &err), STN_OK);
    stn_adapter_init_hash(adapter, 4);
    ck_assert_int_eq(stn_network_new(&network, own, adapter, &c, &err), STN_OK);
    ck_assert_int_eq(stn_network_accumulate(network, &p.batch, &result, &err), STN_OK);
    *ret_n = adapter->n_values;
    *ret_gradients = stn_mem_new(adapter->n_values, sizeof **ret_gradients);
    stn_network_get_gradients(network, *ret_gradients);
    stn_network_free(network);
    stn_adapter_free(adapter);
}

START_TEST(a_model_computes_the_same_packed_mapped_and_streamed)
{
    const struct stn_random_shape shape = {.name = "panels", .n_embd = 1024, .n_layers = 4, .n_heads = 8, .n_kv_heads = 8,
                                           .n_ff = 4096};
    const struct stn_random_kind kind = {.arch = "bitnet", .type = STN_QUANT_TQ2_0, .table = STN_QUANT_F16};
    struct stn_model *own = NULL;
    float *want = NULL, *got = NULL;
    size_t n = 0, size;
    ck_assert_msg(stn_random_write(&shape, &kind, home, 1, path, NULL, NULL, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_model_open(&own, path, &err), STN_OK);
    size = stn_model_size(own);
    step(own, &want, &n);
    ck_assert(!stn_model_streams(own));
    ck_assert_int_eq(stn_model_stream(own, &err), STN_OK); /* without a file of their own: packed anew for each use */
    ck_assert(stn_model_streams(own));
    ck_assert_uint_lt(stn_model_size(own), size / 2);
    step(own, &got, &n);
    ck_assert_mem_eq(want, got, n * sizeof *got);
    stn_mem_free(got);
    stn_model_close(own);
    const struct stn_model_reading little = {.most = size / 4};
    ck_assert_int_eq(stn_model_open_with(&own, path, &little, &err), STN_OK); /* never packed as a whole */
    ck_assert(stn_model_streams(own));
    ck_assert_uint_lt(stn_model_size(own), size / 2);
    step(own, &got, &n);
    ck_assert_mem_eq(want, got, n * sizeof *got);
    stn_mem_free(got);
    stn_model_close(own);
    for (int round = 0; round < 3; round++) { /* made, found, streamed */
        ck_assert_msg(stn_model_open_with(&own, path, &(struct stn_model_reading){.folder = cache}, &err) == STN_OK, "%s", err.text);
        ck_assert_uint_eq(stn_model_size(own), size);
        if (round == 2) {
            ck_assert_int_eq(stn_model_stream(own, &err), STN_OK);
            ck_assert_int_eq(stn_model_stream(own, &err), STN_OK);
            ck_assert_uint_lt(stn_model_size(own), size / 2);
        }
        step(own, &got, &n);
        ck_assert_mem_eq(want, got, n * sizeof *got);
        stn_mem_free(got);
        stn_model_close(own);
    }
    ck_assert_int_eq(stn_model_open_with(&own, path, &(struct stn_model_reading){.folder = "/proc/no/folder"}, &err), STN_OK); /* no room: packed in memory */
    ck_assert(!stn_model_streams(own));
    stn_model_close(own);
    stn_mem_free(want);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("panels");
    TCase *t = tcase_create("panels");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, open_folder, close_folder);
    tcase_add_test(t, what_is_taken_from_a_file_computes_the_same_bits);
    tcase_add_test(t, a_file_that_is_not_whole_is_none);
    tcase_add_test(t, another_model_has_another_file_and_old_ones_go);
    tcase_add_test(t, a_model_computes_the_same_packed_mapped_and_streamed);
    suite_add_tcase(s, t);
    return s;
}
