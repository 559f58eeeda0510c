/* A device that is lost, that does not answer, or that has no memory: wherever it happens, the backend says what and where, nothing is
 * made up, everything is given back (the validation layer and the sanitizers see to that), and nothing is tried again. */
#include "tests/compute/gpu.h"
#include "tests/compute/pack.h"

#include "base/buf.h"
#include "io/file.h"

enum { T = 260, N = 256, OUT = 8 }; /* x is too large for a mirror */

static struct stn_graph graph;
static float x[T * N], w[OUT * N], y[T * OUT];
static char said_path[] = "/tmp/sterna-faults-XXXXXX";
static int stderr_was = -1;

/* Words beside those that the suite runs with; what is said goes into a file. */
static void use(const char *words)
{
    static char first[256], all[512];
    if (stderr_was < 0) {
        (void)snprintf(first, sizeof first, "%s", getenv("STERNA_VULKAN"));
        int fd = mkstemp(said_path);
        stderr_was = dup(STDERR_FILENO);
        ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
        ck_assert_int_eq(close(fd), 0);
    }
    (void)snprintf(all, sizeof all, "%s,%s", first, words);
    ck_assert_int_eq(setenv("STERNA_VULKAN", all, 1), 0);
}

/* Objects that are still there when the device goes, or that go while it uses them. */
static void nobody_complained(void)
{
    struct stn_buf said = {0};
    (void)fflush(stderr);
    ck_assert_int_eq(dup2(stderr_was, STDERR_FILENO), STDERR_FILENO);
    ck_assert_int_eq(close(stderr_was), 0);
    ck_assert_int_eq(stn_file_read(said_path, 1 << 20, &said, &err), STN_OK);
    ck_assert(stn_buf_add_u8(&said, 0));
    ck_assert_msg(strstr((const char *)said.data, "vulkan:") == NULL, "%s", (const char *)said.data);
    stn_buf_fini(&said);
    (void)unlink(said_path);
}

/* y = x w^T on a device of its own, w a constant. */
static enum stn_code multiply(void)
{
    struct stn_node node = {.op = STN_OP_LINEAR, .scale = 1, .out = STN_OP_NEW};
    struct stn_backend *backend;
    stn_graph_init(&graph, 1, 1);
    for (size_t i = 0; i < T * N; i++) {
        x[i] = (float)(i % 7);
    }
    for (size_t i = 0; i < OUT * N; i++) {
        w[i] = (float)(i % 3);
    }
    node.in[0] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, T, N);
    node.in[1] = stn_graph_constant(&graph, STN_DTYPE_F32, OUT, N, w);
    node.out[0] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, T, OUT);
    (void)stn_graph_add(&graph, 0, &node);
    enum stn_code code = stn_vulkan_backend.new_for(&backend, &graph, 1, &err);
    if (code == STN_OK) {
        code = stn_vulkan_backend.prepare(backend, 0, &err);
        if (code != STN_OK) { /* and so it stays: what is half there is not taken for whole */
            struct stn_err why = err;
            ck_assert_int_eq(stn_vulkan_backend.prepare(backend, 0, &err), code);
            ck_assert_str_eq(err.text, why.text);
        }
        if (code == STN_OK) {
            stn_vulkan_backend.write(backend, node.in[0], 0, x, sizeof x);
            code = stn_vulkan_backend.run(backend, 0, 0, 0, &err);
        }
        if (code == STN_OK) {
            stn_vulkan_backend.read(backend, node.in[0], 0, x, sizeof x);
            stn_vulkan_backend.read(backend, node.out[0], 0, y, sizeof y);
            code = stn_vulkan_backend.check(backend, &err);
        }
        stn_vulkan_backend.free(backend);
    }
    stn_graph_fini(&graph);
    return code;
}

static void y_is_right(void)
{
    for (size_t t = 0; t < T; t++) {
        for (size_t o = 0; o < OUT; o++) {
            float sum = 0;
            for (size_t c = 0; c < N; c++) {
                sum += (float)((t * N + c) % 7) * (float)((o * N + c) % 3);
            }
            ck_assert_float_eq_tol(y[t * OUT + o], sum, 1e-2f);
        }
    }
}

static const struct {
    const char *word, *says;
    enum stn_code code;
    unsigned least; /* places where it can happen, at least */
} everywhere[] = {
    {"lost", "the device was lost during a step", STN_IO, 1},
    {"broken", "the device was lost during a step", STN_IO, 1},
    {"oom", "no memory for ", STN_MEMORY, 3},
    {"staged,lost", "the device was lost during ", STN_IO, 6},
    {"staged,broken", "the device was lost during ", STN_IO, 6},
    {"staged,late", "the device was silent for 120 s during ", STN_IO, 6},
    {"staged,oom", "no memory for ", STN_MEMORY, 4},
};

/* _i: a kind. At the first place, the second, and so on until there is none, and all is well. */
START_TEST(a_device_that_fails_anywhere_is_an_error_and_no_more)
{
    char words[64];
    use("times"); /* queries are given back too */
    ck_assert_int_eq(multiply(), STN_OK); /* kernels are tried */
    for (unsigned k = 1;; k++) {
        (void)snprintf(words, sizeof words, "times,%s=%u", everywhere[_i].word, k);
        use(words);
        memset(y, 0, sizeof y);
        if (multiply() == STN_OK) {
            ck_assert_uint_gt(k, everywhere[_i].least);
            break;
        }
        ck_assert_msg(err.code == everywhere[_i].code && strstr(err.text, everywhere[_i].says) != NULL, "%s: %s", words, err.text);
        ck_assert_uint_lt(k, 64);
    }
    y_is_right();
    nobody_complained();
}
END_TEST

/* Adds up to a second of the device's time, which is not waited for. */
START_TEST(a_device_that_does_not_answer_is_left_alone_until_it_does)
{
    struct stn_node node = {.op = STN_OP_LINEAR, .scale = 1, .out = STN_OP_NEW};
    struct stn_backend *backend;
    use("times");
    ck_assert_int_eq(multiply(), STN_OK);
    use("late=1");
    stn_graph_init(&graph, 1, 1);
    node.in[0] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, 1024, 1024);
    node.in[1] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, 128, 1024);
    node.out[0] = stn_graph_lasting(&graph, STN_DTYPE_F32, STN_EXTENT_FIXED, 1024, 128);
    (void)stn_graph_add(&graph, 0, &node);
    ck_assert_int_eq(stn_vulkan_backend.new_for(&backend, &graph, 1, &err), STN_OK);
    ck_assert_int_eq(stn_vulkan_backend.prepare(backend, 0, &err), STN_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(stn_vulkan_backend.run(backend, 0, 0, 0, &err), STN_IO);
        ck_assert_msg(strstr(err.text, "the device was silent for 120 s during a step and is taken for lost") != NULL, "%s", err.text);
    }
    stn_vulkan_backend.free(backend);
    stn_graph_fini(&graph);
    nobody_complained();
}
END_TEST

static struct stn_vulkan_stats learned; /* when all went well */

/* Two steps and their values. */
static enum stn_code learn(const struct stn_adapter *adapter, float *values)
{
    struct pack p = {0};
    struct stn_network *network;
    struct stn_network_config c = config();
    struct stn_network_result result;
    const struct stn_network_update update = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};
    double norm;
    int32_t tokens[9];
    c.backend = "vulkan";
    pack_init(&p);
    fill(tokens, 9, 1);
    pack_add(&p, tokens, 9, NULL, 0.1f);
    enum stn_code code = stn_network_new(&network, model, adapter, &c, &err);
    if (code != STN_OK) {
        return code;
    }
    for (int step = 0; step < 2 && code == STN_OK; step++) {
        code = stn_network_accumulate(network, &p.batch, &result, &err);
        code = code != STN_OK ? code : stn_network_update(network, &update, &norm, &err);
    }
    stn_network_get_values(network, values);
    if (code == STN_OK) {
        stn_vulkan_stats(stn_network_measured(network), &learned);
        code = stn_network_check(network, &err);
    }
    if (code != STN_OK) { /* and so it stays */
        ck_assert_int_eq(stn_network_accumulate(network, &p.batch, &result, &err), code);
        ck_assert_int_eq(stn_network_check(network, &err), code);
    }
    stn_network_free(network);
    return code;
}

static const struct {
    const char *words;
    enum stn_code code;
} trained[] = {
    {"lost=1", STN_IO},          /* gradients */
    {"lost=4", STN_IO},          /* the second AdamW */
    {"broken=2", STN_IO},        /* the first */
    {"oom=2", STN_MEMORY},       /* weights */
    {"memory=1", STN_MEMORY},
    {"staged,lost=40", STN_IO},  /* weights on their way */
    {"staged,broken=3", STN_IO}, /* a tensor that is cleared */
};

START_TEST(a_network_says_it_whatever_it_was_doing)
{
    struct stn_adapter *adapter = new_adapter(4, 8, 1, STN_ARCH_ALL);
    float *values = stn_mem_new(adapter->n_values, sizeof *values);
    use("times");
    ck_assert_int_eq(learn(adapter, values), STN_OK);
    for (size_t i = 0; i < sizeof trained / sizeof trained[0]; i++) {
        use(trained[i].words);
        ck_assert_msg(learn(adapter, values) == trained[i].code, "%s: %s", trained[i].words, err.text);
    }
    stn_mem_free(values);
    stn_adapter_free(adapter);
    nobody_complained();
}
END_TEST

/* The last that is asked of a device are the values that were learned: zeroes would be an adapter. */
START_TEST(values_that_cannot_be_read_are_an_error)
{
    struct stn_adapter *adapter = new_adapter(4, 8, 1, STN_ARCH_ALL);
    float *values = stn_mem_new(adapter->n_values, sizeof *values);
    char words[64];
    use("staged");
    ck_assert_int_eq(learn(adapter, values), STN_OK);
    (void)snprintf(words, sizeof words, "staged,lost=%u", (unsigned)(learned.n_submissions + learned.n_copies));
    use(words);
    ck_assert_int_eq(learn(adapter, values), STN_IO);
    ck_assert_msg(strstr(err.text, "during a copy") != NULL, "%s: %s", words, err.text);
    stn_mem_free(values);
    stn_adapter_free(adapter);
    nobody_complained();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("vulkan faults");
    TCase *t = tcase_create("vulkan faults");
    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, open_model, close_model);
    tcase_add_loop_test(t, a_device_that_fails_anywhere_is_an_error_and_no_more, 0, sizeof everywhere / sizeof everywhere[0]);
    tcase_add_test(t, a_device_that_does_not_answer_is_left_alone_until_it_does);
    tcase_add_test(t, a_network_says_it_whatever_it_was_doing);
    tcase_add_test(t, values_that_cannot_be_read_are_an_error);
    if (gpu_is_there()) {
        suite_add_tcase(s, t);
    }
    return s;
}
