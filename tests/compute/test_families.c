#include "tests/lib/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/model/gguf_write.h"
#include "compute/model/network.h"

/* Small models of each family, written by the test, against a forward pass in double that is written from the families'
 * descriptions, and against central differences of that. */

enum { E = 48, HEADS = 6, KV = 2, D = 8, FF = 100, V = 70, LAYERS = 2, T = 19, RANK = 3, KINDS = STN_ARCH_N_TARGETS };

static const struct family {
    const char *arch;
    bool neox, relu2, sub_norms, tied, scaled, halves;
    float factor; /* of a linear rope scaling; 0: none */
    bool has_freqs;
} families[] = {
    {"bitnet", true, false, true, true, false, false},
    {"bitnet-b1.58", true, true, true, true, true, false},
    {"bitnet-25", true, true, true, false, true, true},
    {"llama", false, false, false, false, false, true},
    {"llama", false, false, false, false, false, true, 4, true},
    {"bitnet", true, false, true, true, false, false, 2.5f},
};

/* What each pair's frequency is divided by where a model has such a table. */
static const float freqs[D / 2] = {1, 1.5f, 8, 8};

static const size_t ins[KINDS] = {E, E, E, HEADS * D, E, E, FF};
static const size_t outs[KINDS] = {HEADS * D, KV * D, KV * D, E, FF, FF, E};

static struct stn_err err;

static struct world {
    const struct family *family;
    float embeddings[V * E], head[V * E], norms[LAYERS][4][FF], output_norm[E];
    float w[LAYERS][KINDS][FF * E]; /* -1, 0, 1 times 1/8 or 1/4 */
    double a[LAYERS][KINDS][RANK * FF], b[LAYERS][KINDS][FF * RANK], s;
    int32_t tokens[T], rows[T], labels[T], positions[T], starts[T];
    float weights[T];
    size_t n_targets;
} world;

/* Halves that f16 holds exactly. */
static void draw(float *p, size_t n, struct stn_rng *rng)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (float)((int)stn_rng_below(rng, 129) - 64) / 64;
    }
}

static void make_world(const struct family *family)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 5);
    memset(&world, 0, sizeof world);
    world.family = family;
    draw(world.embeddings, V * E, &rng);
    draw(world.head, V * E, &rng);
    draw(world.output_norm, E, &rng);
    draw(world.norms[0][0], LAYERS * 4 * FF, &rng);
    if (family->tied) {
        memcpy(world.head, world.embeddings, sizeof world.head);
    }
    for (size_t l = 0; l < LAYERS; l++) {
        for (size_t k = 0; k < KINDS; k++) {
            for (size_t i = 0; i < ins[k] * outs[k]; i++) {
                world.w[l][k][i] = (float)((int)stn_rng_below(&rng, 3) - 1) / (k % 2 == 0 ? 8 : 4);
            }
        }
    }
    for (size_t i = 0; i < T; i++) {
        world.tokens[i] = (int32_t)stn_rng_below(&rng, V);
        world.positions[i] = (int32_t)i;
        if (i > 0 && i % 3 != 0) {
            world.rows[world.n_targets] = (int32_t)i - 1;
            world.weights[world.n_targets] = 0.05f + (float)i * 0.01f;
            world.labels[world.n_targets++] = world.tokens[i];
        }
    }
}

/* ---- the file ---- */

/* A tensor of the file: described in the first round, its bytes given in the second. */
static void put(struct stn_gguf_write *w, bool data, const char *name, const float *p, size_t cols, size_t rows, bool half)
{
    const uint64_t ne[2] = {cols, rows};
    if (!data) {
        stn_gguf_write_tensor(w, name, half ? STN_QUANT_F16 : STN_QUANT_F32, rows == 1 ? 1 : 2, ne);
        return;
    }
    for (size_t i = 0; i < rows * cols; i++) {
        uint16_t h = stn_quant_to_f16(p[i]);
        ck_assert_int_eq(stn_gguf_write_data(w, half ? (const void *)&h : &p[i], half ? 2 : 4, &err), STN_OK);
    }
}

static void put_all(struct stn_gguf_write *w, bool data)
{
    static const char *const norms[] = {"attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm"};
    static const size_t sizes[] = {E, HEADS * D, E, FF};
    const struct family *f = world.family;
    const float scale = 0.5f;
    char name[64];
    put(w, data, "token_embd.weight", world.embeddings, E, V, f->halves);
    put(w, data, "output_norm.weight", world.output_norm, E, 1, false);
    if (f->has_freqs) {
        put(w, data, "rope_freqs.weight", freqs, D / 2, 1, false);
    }
    if (!f->tied) {
        put(w, data, "output.weight", world.head, E, V, f->halves);
    }
    for (size_t l = 0; l < LAYERS; l++) {
        for (size_t i = 0; i < 4; i++) {
            (void)snprintf(name, sizeof name, "blk.%zu.%s.weight", l, norms[i]);
            if (i % 2 == 0 || f->sub_norms) {
                put(w, data, name, world.norms[l][i], sizes[i], 1, false);
            }
        }
        for (size_t k = 0; k < KINDS; k++) {
            (void)snprintf(name, sizeof name, "blk.%zu.%s.weight", l, stn_arch_target_name((enum stn_arch_target)k));
            put(w, data, name, world.w[l][k], ins[k], outs[k], f->halves);
            (void)snprintf(name, sizeof name, "blk.%zu.%s.scale", l, stn_arch_target_name((enum stn_arch_target)k));
            if (f->scaled) {
                put(w, data, name, &scale, 1, 1, false);
            }
        }
    }
}

static void write_model(const char *path)
{
    static const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {{"block_count", LAYERS}, {"embedding_length", E}, {"attention.head_count", HEADS},
                   {"attention.head_count_kv", KV}, {"feed_forward_length", FF}, {"context_length", 64}};
    struct stn_gguf_write *w;
    char key[96];
    ck_assert_int_eq(stn_gguf_write_new(&w, &err), STN_OK);
    stn_gguf_write_str(w, "general.architecture", world.family->arch);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)snprintf(key, sizeof key, "%s.%s", world.family->arch, numbers[i].name);
        stn_gguf_write_u32(w, key, numbers[i].value);
    }
    (void)snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", world.family->arch);
    stn_gguf_write_f32(w, key, 1e-5f);
    if (world.family->factor > 0) {
        (void)snprintf(key, sizeof key, "%s.rope.scaling.type", world.family->arch);
        stn_gguf_write_str(w, key, "linear");
        (void)snprintf(key, sizeof key, "%s.rope.scaling.factor", world.family->arch);
        stn_gguf_write_f32(w, key, world.family->factor);
    }
    put_all(w, false);
    ck_assert_msg(stn_gguf_write_begin(w, path, &err) == STN_OK, "%s", err.text);
    put_all(w, true);
    ck_assert_msg(stn_gguf_write_end(w, &err) == STN_OK, "%s", err.text);
    stn_gguf_write_free(w);
}

/* ---- the same in double ---- */

static void norm(double *x, const float *gain, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += x[i] * x[i];
    }
    for (size_t i = 0; i < n; i++) {
        x[i] *= (double)gain[i] / sqrt(squares / (double)n + 1e-5);
    }
}

/* y = scale (W x + s B A x) */
static void project(size_t l, size_t k, const double *x, double *y)
{
    double u[RANK] = {0};
    for (size_t r = 0; r < RANK; r++) {
        for (size_t c = 0; c < ins[k]; c++) {
            u[r] += world.a[l][k][r * ins[k] + c] * x[c];
        }
    }
    for (size_t o = 0; o < outs[k]; o++) {
        double sum = 0;
        for (size_t c = 0; c < ins[k]; c++) {
            sum += (double)world.w[l][k][o * ins[k] + c] * x[c];
        }
        for (size_t r = 0; r < RANK; r++) {
            sum += world.s * world.b[l][k][o * RANK + r] * u[r];
        }
        y[o] = sum * (world.family->scaled ? 0.5 : 1.0);
    }
}

static void rope(double *x, size_t heads, size_t position)
{
    for (size_t h = 0; h < heads; h++) {
        for (size_t i = 0; i < D / 2; i++) {
            double angle = (double)position * pow(10000, -2.0 * (double)i / D);
            angle /= (world.family->factor > 0 ? (double)world.family->factor : 1.0);
            angle /= world.family->has_freqs ? (double)freqs[i] : 1.0;
            double *a = x + h * D + (world.family->neox ? i : 2 * i), *b = a + (world.family->neox ? D / 2 : 1), was = *a;
            *a = was * cos(angle) - *b * sin(angle);
            *b = was * sin(angle) + *b * cos(angle);
        }
    }
}

static double k_rows[T][KV * D], v_rows[T][KV * D];

static void attend(size_t t, const double *q, double *o)
{
    for (size_t h = 0; h < HEADS; h++) {
        double p[T], sum = 0;
        size_t g = h / (HEADS / KV);
        for (size_t j = 0; j <= t; j++) {
            double s = 0;
            for (size_t c = 0; c < D; c++) {
                s += q[h * D + c] * k_rows[j][g * D + c];
            }
            sum += p[j] = exp(s / sqrt(D));
        }
        for (size_t c = 0; c < D; c++) {
            o[h * D + c] = 0;
            for (size_t j = 0; j <= t; j++) {
                o[h * D + c] += p[j] / sum * v_rows[j][g * D + c];
            }
        }
    }
}

static void layer(size_t l, double x[T][E])
{
    static double h[T][E], q[T][HEADS * D];
    double o[HEADS * D], y[E], g[FF], u[FF];
    for (size_t t = 0; t < T; t++) {
        memcpy(h[t], x[t], sizeof h[t]);
        norm(h[t], world.norms[l][0], E);
        project(l, STN_ARCH_Q, h[t], q[t]);
        project(l, STN_ARCH_K, h[t], k_rows[t]);
        project(l, STN_ARCH_V, h[t], v_rows[t]);
        rope(q[t], HEADS, t);
        rope(k_rows[t], KV, t);
    }
    for (size_t t = 0; t < T; t++) {
        attend(t, q[t], o);
        if (world.family->sub_norms) {
            norm(o, world.norms[l][1], HEADS * D);
        }
        project(l, STN_ARCH_O, o, y);
        for (size_t c = 0; c < E; c++) {
            x[t][c] += y[c];
        }
        memcpy(h[t], x[t], sizeof h[t]);
        norm(h[t], world.norms[l][2], E);
        project(l, STN_ARCH_GATE, h[t], g);
        project(l, STN_ARCH_UP, h[t], u);
        for (size_t c = 0; c < FF; c++) {
            double r = g[c] > 0 ? g[c] : 0;
            g[c] = world.family->relu2 ? r * r * u[c] : g[c] / (1 + exp(-g[c])) * u[c];
        }
        if (world.family->sub_norms) {
            norm(g, world.norms[l][3], FF);
        }
        project(l, STN_ARCH_DOWN, g, y);
        for (size_t c = 0; c < E; c++) {
            x[t][c] += y[c];
        }
    }
}

static double z[T][V];

static double loss(void)
{
    static double x[T][E];
    double total = 0;
    for (size_t t = 0; t < T; t++) {
        for (size_t c = 0; c < E; c++) {
            x[t][c] = (double)world.embeddings[(size_t)world.tokens[t] * E + c];
        }
    }
    for (size_t l = 0; l < LAYERS; l++) {
        layer(l, x);
    }
    for (size_t t = 0; t < T; t++) {
        norm(x[t], world.output_norm, E);
        for (size_t v = 0; v < V; v++) {
            z[t][v] = 0;
            for (size_t c = 0; c < E; c++) {
                z[t][v] += x[t][c] * (double)world.head[v * E + c];
            }
        }
    }
    for (size_t i = 0; i < world.n_targets; i++) {
        double sum = 0;
        for (size_t v = 0; v < V; v++) {
            sum += exp(z[world.rows[i]][v]);
        }
        total += (double)world.weights[i] * (log(sum) - z[world.rows[i]][world.labels[i]]);
    }
    return total;
}

/* ---- both ---- */

static struct stn_model *open_written(const struct family *family)
{
    char path[64] = "/tmp/stn_families_XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    make_world(family);
    write_model(path);
    struct stn_model *model = NULL;
    ck_assert_msg(stn_model_open(&model, path, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(unlink(path), 0);
    return model;
}

static double *place(const struct stn_adapter_tensor *t)
{
    return t->is_b ? world.b[t->layer][t->target] : world.a[t->layer][t->target];
}

START_TEST(every_family_is_its_description_and_its_gradients_are_slopes)
{
    static float logits[T * V];
    struct stn_model *model = open_written(&families[_i]);
    struct stn_adapter *adapter;
    ck_assert_int_eq(stn_adapter_new(&adapter, stn_model_arch(model), RANK, 6, STN_ARCH_ALL, &err), STN_OK);
    stn_adapter_init_hash(adapter, 3);
    world.s = 2;
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &adapter->tensors[i];
        for (size_t k = 0; k < (size_t)t->rows * t->cols; k++) {
            adapter->values[t->offset + k] *= t->is_b ? 5 : 1;
            place(t)[k] = (double)adapter->values[t->offset + k];
        }
    }
    const struct stn_network_config config = {.max_tokens = T, .max_targets = T, .context = T, .train = true, .n_threads = 1};
    struct stn_batch batch = {T, world.tokens, world.positions, world.starts, world.n_targets, world.rows, world.labels,
                              world.weights};
    struct stn_network *network;
    struct stn_network_result result;
    ck_assert_msg(stn_network_new(&network, model, adapter, &config, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_network_logits(network, world.tokens, T, logits, &err), STN_OK);
    ck_assert_int_eq(stn_network_accumulate(network, &batch, &result, &err), STN_OK);
    double want = loss();
    ck_assert_double_eq_tol(result.loss, want, 1e-5 * want);
    for (size_t i = 0; i < T * V; i++) {
        ck_assert_double_eq_tol((double)logits[i], z[i / V][i % V], 2e-4);
    }
    float *g = stn_mem_new(adapter->n_values, sizeof *g);
    stn_network_get_gradients(network, g);
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &adapter->tensors[i];
        double most = 0, h = 1e-5;
        for (size_t k = 0; k < (size_t)t->rows * t->cols; k++) {
            most = fabs((double)g[t->offset + k]) > most ? fabs((double)g[t->offset + k]) : most;
        }
        for (size_t k = 0; k < (size_t)t->rows * t->cols; k += 37) {
            double *at = &place(t)[k], was = *at, slope;
            *at = was + h;
            slope = loss();
            *at = was - h;
            slope = (slope - loss()) / (2 * h);
            *at = was;
            ck_assert_msg(fabs((double)g[t->offset + k] - slope) <= 1e-3 * most, "%s %s %zu: %g, slope %g",
                          t->name, t->is_b ? "b" : "a", k, (double)g[t->offset + k], slope);
        }
    }
    stn_mem_free(g);
    stn_network_free(network);
    stn_adapter_free(adapter);
    stn_model_close(model);
}
END_TEST

START_TEST(a_tensor_that_is_not_ternary_is_refused)
{
    char path[64] = "/tmp/stn_families_XXXXXX";
    struct stn_model *model = NULL;
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    make_world(&families[3]);
    world.w[1][STN_ARCH_UP][77] = 0.3f;
    write_model(path);
    ck_assert_int_eq(stn_model_open(&model, path, &err), STN_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "blk.1.ffn_up.weight"));
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("families");
    TCase *t = tcase_create("families");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, every_family_is_its_description_and_its_gradients_are_slopes, 0,
                         (int)(sizeof families / sizeof families[0]));
    tcase_add_test(t, a_tensor_that_is_not_ternary_is_refused);
    suite_add_tcase(s, t);
    return s;
}
