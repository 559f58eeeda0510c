/* A device's kernels are shown to be right before they are used: one that is not is barred, the next of its op is taken, and
 * where there is none the device is refused. What was found is remembered. */
#include "tests/compute/gpu.h"

#include <dirent.h>
#include <string.h>

#include "base/buf.h"
#include "compute/vulkan/pipeline.h"
#include "compute/vulkan/specimen.h"
#include "compute/vulkan/vulkan_env.h"

enum { T = 5, N = 40, RANK = 8 };

static struct stn_err err;
static struct stn_graph graph;
static char folder[] = "/tmp/sterna-proof-XXXXXX";

static void begin(const char *words)
{
    static char all[512];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(setenv("STERNA_CACHE", folder, 1), 0);
    (void)snprintf(all, sizeof all, "%s,%s", getenv("STERNA_VULKAN"), words);
    ck_assert_int_eq(setenv("STERNA_VULKAN", all, 1), 0);
    stn_graph_init(&graph, 1, 1);
}

static void end(void)
{
    stn_graph_fini(&graph);
    stn_err_ignore(stn_file_remove_tree(folder, NULL));
}

static struct stn_backend *open_backend(void)
{
    struct stn_backend *backend;
    ck_assert_msg(stn_vulkan_backend.new_for(&backend, &graph, 1, &err) == STN_OK, "%s", err.text);
    return backend;
}

static uint64_t barred_by(struct stn_backend *backend)
{
    struct stn_vulkan_stats stats;
    stn_vulkan_stats(backend, &stats);
    return stats.barred;
}

static uint64_t barred(void)
{
    struct stn_backend *backend = open_backend();
    uint64_t set = barred_by(backend);
    stn_vulkan_backend.free(backend);
    return set;
}

static void proof_path(char path[static STN_FILE_PATH_MAX])
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    ck_assert_ptr_nonnull(dir);
    path[0] = '\0';
    while ((entry = readdir(dir)) != NULL) {
        if (strstr(entry->d_name, ".proof") != NULL) {
            ck_assert_int_eq(stn_file_join(path, folder, entry->d_name, &err), STN_OK);
        }
    }
    ck_assert_int_eq(closedir(dir), 0);
    ck_assert_int_ne(path[0], '\0');
}

START_TEST(no_op_is_left_out)
{
    struct stn_specimen specimen;
    bool is_there[STN_N_OPS] = {false};
    ck_assert_int_eq(stn_specimen_init(&specimen, false, &err), STN_OK);
    for (size_t n = 0; n < specimen.graph.passes[0].n_nodes; n++) {
        is_there[specimen.graph.passes[0].nodes[n].op] = true;
    }
    for (int op = 0; op < STN_N_OPS; op++) {
        ck_assert_msg(is_there[op], "%s is not tried", stn_op_row((enum stn_op)op)->name);
    }
    stn_specimen_fini(&specimen);
}
END_TEST

START_TEST(every_kernel_of_this_device_is_right)
{
    begin("emulated");
    ck_assert_uint_eq(barred(), 0);
    end();
}
END_TEST

/* _i: a row of the table. Every kernel that has another behind it can fail. */
START_TEST(a_kernel_that_is_wrong_is_barred_and_the_next_is_taken)
{
    static const char *const names[] = {"narrow",       "ternary_f16",           "ternary_dot8", "ternary_matrix_i8",
                                        "ternary_back_matrix_f16", "ternary_few", "spread_matrix", "linear_matrix", "ternary_lanes"};
    const char *name = names[_i];
    char words[64];
    (void)snprintf(words, sizeof words, "%sspoil=%s", strcmp(name, "ternary_lanes") == 0 ? "" : "emulated,", name);
    if (stn_pipeline_named(name) == 0) {
        (void)printf("skipped: this build has no %s\n", name);
        return;
    }
    begin(words);
    uint64_t set = barred();
    if (set == 0 && _i > 0) {
        (void)printf("skipped: this device has no %s\n", name);
    } else {
        ck_assert_uint_ne(set, 0);
        ck_assert_uint_eq(set & ~stn_pipeline_named(name), 0);
        ck_assert_uint_eq(barred(), set);
    }
    end();
}
END_TEST

START_TEST(what_is_barred_is_said_once)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf said = {0};
    begin("spoil=narrow");
    ck_assert_int_eq(stn_file_join(path, folder, "said", &err), STN_OK);
    ck_assert_ptr_nonnull(freopen(path, "w", stderr));
    (void)barred();
    (void)barred();
    (void)fflush(stderr);
    ck_assert_int_eq(stn_file_read(path, 4096, &said, &err), STN_OK);
    ck_assert(stn_buf_add_u8(&said, 0));
    const char *line = strstr((const char *)said.data, "level=warn event=gpu_kernel_barred device=");
    ck_assert_ptr_nonnull(line);
    ck_assert_ptr_nonnull(strstr(line, "kernel=narrow\n"));
    ck_assert_ptr_null(strstr(strchr(line, '\n'), "gpu_kernel_barred"));
    stn_buf_fini(&said);
    end();
}
END_TEST

START_TEST(the_row_behind_a_barred_one_does_its_work)
{
    static float x[T * N], w[RANK * N], y[T * RANK];
    begin("spoil=narrow");
    struct stn_node node = {.op = STN_OP_LINEAR, .scale = 1, .out = STN_OP_NEW};
    for (size_t i = 0; i < T * N; i++) {
        x[i] = (float)(i % 7);
    }
    for (size_t i = 0; i < RANK * N; i++) {
        w[i] = 1;
    }
    node.in[0] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, T, N);
    node.in[1] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, RANK, N);
    node.out[0] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, T, RANK);
    (void)stn_graph_add(&graph, 0, &node);
    struct stn_backend *backend = open_backend();
    ck_assert_int_eq(stn_vulkan_backend.prepare(backend, 0, &err), STN_OK);
    stn_vulkan_backend.write(backend, node.in[0], 0, x, sizeof x);
    stn_vulkan_backend.write(backend, node.in[1], 0, w, sizeof w);
    ck_assert_int_eq(stn_vulkan_backend.run(backend, 0, 0, 0, &err), STN_OK);
    stn_vulkan_backend.read(backend, node.out[0], 0, y, sizeof y);
    ck_assert_str_eq(stn_vulkan_row(backend, STN_OP_LINEAR)->name, "linear");
    for (size_t t = 0; t < T; t++) {
        float sum = 0;
        for (size_t c = 0; c < N; c++) {
            sum += x[t * N + c];
        }
        ck_assert_float_eq_tol(y[t * RANK], sum, 1e-4f);
    }
    stn_vulkan_backend.free(backend);
    end();
}
END_TEST

START_TEST(a_device_that_cannot_do_an_op_says_which)
{
    begin("spoil=norm");
    struct stn_node node = {.op = STN_OP_NORM, .eps = 1e-5f, .out = STN_OP_NEW};
    node.in[0] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, T, N);
    node.in[1] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, 1, N);
    (void)stn_graph_add(&graph, 0, &node);
    struct stn_backend *backend = open_backend();
    ck_assert_int_eq(stn_vulkan_backend.prepare(backend, 0, &err), STN_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "no kernel is left for norm"));
    stn_vulkan_backend.free(backend);
    end();
}
END_TEST

/* Every op and step of the table. */
START_TEST(no_step_is_left_out_without_a_word)
{
    struct stn_specimen specimen;
    struct stn_vulkan_env env;
    const struct stn_pipeline_row *row, *other;
    ck_assert_int_eq(stn_specimen_init(&specimen, false, &err), STN_OK);
    begin("times");
    ck_assert_int_eq(stn_vulkan_env_read(&env, &err), STN_OK);
    for (size_t i = 0; (row = stn_pipeline_at(i)) != NULL; i++) {
        char wanted[64];
        uint64_t set = 0;
        struct stn_backend *backend;
        for (size_t k = 0; (other = stn_pipeline_at(k)) != NULL; k++) {
            set |= other->op == row->op && other->step == row->step ? stn_pipeline_only(other) : 0;
        }
        if ((set & (stn_pipeline_only(row) - 1)) != 0) {
            continue; /* seen with the first of them */
        }
        (void)snprintf(wanted, sizeof wanted, "no kernel is left for %s", stn_op_row(row->op)->name);
        ck_assert_int_eq(stn_vulkan_new_bare(&backend, &specimen.graph, &env, set, &err), STN_OK);
        ck_assert_msg(stn_vulkan_backend.prepare(backend, 0, &err) == STN_UNSUPPORTED, "%s: %s", row->name, err.text);
        ck_assert_msg(strstr(err.text, wanted) != NULL, "%s: %s", row->name, err.text);
        stn_vulkan_backend.free(backend);
    }
    stn_specimen_fini(&specimen);
    end();
}
END_TEST

/* Of ops of several steps, and none has another behind it. */
static const char *const only_ones[] = {"linear", "take_in", "spread", "loss_finish", "score_finish", "attention_back_kv"};

START_TEST(a_step_that_is_wrong_is_barred_and_its_op_an_error)
{
    struct stn_specimen specimen;
    struct stn_backend *backend;
    char words[64];
    (void)snprintf(words, sizeof words, "spoil=%s", only_ones[_i]);
    ck_assert_int_eq(stn_specimen_init(&specimen, false, &err), STN_OK);
    begin(words);
    for (int again = 0; again < 2; again++) { /* as found, and as remembered */
        ck_assert_msg(stn_vulkan_backend.new_for(&backend, &specimen.graph, 1, &err) == STN_OK, "%s", err.text);
        ck_assert_uint_eq(stn_pipeline_named(only_ones[_i]) & ~barred_by(backend), 0);
        ck_assert_int_eq(stn_vulkan_backend.prepare(backend, 0, &err), STN_UNSUPPORTED);
        ck_assert_msg(strstr(err.text, "no kernel is left for ") != NULL, "%s", err.text);
        stn_vulkan_backend.free(backend);
    }
    stn_specimen_fini(&specimen);
    end();
}
END_TEST

/* What the file says is believed, for this build's kernels alone. */
START_TEST(what_was_found_is_remembered)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf buf = {0};
    begin("times");
    ck_assert_uint_eq(barred(), 0);
    proof_path(path);
    ck_assert_int_eq(stn_file_read(path, 4096, &buf, &err), STN_OK);
    ck_assert(stn_buf_add_str(&buf, "3 a name\n"));
    ck_assert_int_eq(stn_file_replace(path, buf.data, buf.size, STN_FILE_MODE, &err), STN_OK);
    ck_assert_uint_eq(barred(), 1 << 3);
    buf.data[0] = (uint8_t)(buf.data[0] ^ 1);
    ck_assert_int_eq(stn_file_replace(path, buf.data, buf.size, STN_FILE_MODE, &err), STN_OK);
    ck_assert_uint_eq(barred(), 0);
    stn_buf_fini(&buf);
    end();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("vulkan proof");
    TCase *t = tcase_create("vulkan proof");
    tcase_set_timeout(t, 240);
    tcase_add_test(t, no_op_is_left_out);
    tcase_add_test(t, every_kernel_of_this_device_is_right);
    tcase_add_loop_test(t, a_kernel_that_is_wrong_is_barred_and_the_next_is_taken, 0, 9);
    tcase_add_test(t, what_is_barred_is_said_once);
    tcase_add_test(t, the_row_behind_a_barred_one_does_its_work);
    tcase_add_test(t, a_device_that_cannot_do_an_op_says_which);
    tcase_add_test(t, no_step_is_left_out_without_a_word);
    tcase_add_loop_test(t, a_step_that_is_wrong_is_barred_and_its_op_an_error, 0, (int)(sizeof only_ones / sizeof *only_ones));
    tcase_add_test(t, what_was_found_is_remembered);
    if (gpu_is_there()) {
        suite_add_tcase(s, t);
    }
    return s;
}
