#include "tests/compute/bench.h"

/* ---- attention ---- */

/* Examples of some lengths packed one behind the other, and how many of the last rows ask: all of them in training, those that
 * are new behind a cache. */
static const struct shape {
    size_t heads, kv_heads, d, n_asked; /* 0: all */
    size_t lengths[5];                  /* up to the first 0 */
} shapes[] = {
    {6, 3, 20, 0, {1, 37, 3, 42}}, /* grouped heads, no whole vectors */
    {8, 2, 33, 0, {100}},          /* an odd width */
    {3, 3, 64, 1, {130}},          /* one token behind a cache */
    {4, 4, 64, 0, {33, 1, 31}},    /* a head has its own keys; the rest are for a processor alone: devices take long */
    {5, 1, 16, 0, {64, 2, 17}},    /* one key and value head for all */
    {3, 1, 128, 1, {97}},          /* one token behind a cache, three heads a group */
    {2, 2, 80, 5, {69}},           /* some tokens behind a cache */
    {1, 1, 3, 0, {1}},
};
enum { AT = 130, AQ = 27000 }; /* rows, and floats of a tensor, at most */
static int32_t starts[AT], positions[AT];
static const struct shape *shape;
static size_t n_keys, n_rows; /* of this shape */

static size_t q_size(void)
{
    return n_rows * shape->heads * shape->d;
}

static size_t k_size(void)
{
    return n_keys * shape->kv_heads * shape->d;
}

static void take_shape(size_t number)
{
    shape = &shapes[number];
    n_keys = 0;
    static int32_t all_starts[AT], all_positions[AT];
    for (size_t i = 0; shape->lengths[i] > 0; i++) {
        for (size_t k = 0, start = n_keys; k < shape->lengths[i]; k++, n_keys++) {
            all_starts[n_keys] = (int32_t)start;
            all_positions[n_keys] = (int32_t)k;
        }
    }
    n_rows = shape->n_asked == 0 ? n_keys : shape->n_asked;
    memcpy(starts, all_starts + n_keys - n_rows, n_rows * sizeof *starts);
    memcpy(positions, all_positions + n_keys - n_rows, n_rows * sizeof *positions);
    ck_assert(n_keys <= AT && q_size() <= AQ && k_size() <= AQ);
}

static void attention_formula(const double *x, double *o)
{
    const double *q = x, *k = x + q_size(), *v = k + k_size();
    size_t d = shape->d;
    for (size_t t = 0; t < n_rows; t++) {
        for (size_t h = 0; h < shape->heads; h++) {
            double p[AT], sum = 0;
            size_t g = h / (shape->heads / shape->kv_heads), from = (size_t)starts[t], end = from + (size_t)positions[t] + 1;
            for (size_t c = 0; c < d; c++) {
                o[(t * shape->heads + h) * d + c] = 0;
            }
            for (size_t j = from; j < end; j++) {
                double s = 0;
                for (size_t c = 0; c < d; c++) {
                    s += q[(t * shape->heads + h) * d + c] * k[(j * shape->kv_heads + g) * d + c];
                }
                p[j] = exp(s / sqrt((double)d));
                sum += p[j];
            }
            for (size_t j = from; j < end; j++) {
                for (size_t c = 0; c < d; c++) {
                    o[(t * shape->heads + h) * d + c] += p[j] / sum * v[(j * shape->kv_heads + g) * d + c];
                }
            }
        }
    }
}

static float attended[3 * AQ], passed_on[AQ], answer[AQ], logs[AQ];
static double exact[3 * AQ], wanted[AQ];

/* The rows from FIRST on ask. */
static void attention_inputs(size_t first)
{
    size_t rows = n_rows - first;
    in(STN_DTYPE_F32, rows, shape->heads * shape->d, attended + first * shape->heads * shape->d);
    in(STN_DTYPE_F32, n_keys, shape->kv_heads * shape->d, attended + q_size());
    in(STN_DTYPE_F32, n_keys, shape->kv_heads * shape->d, attended + q_size() + k_size());
    in(STN_DTYPE_I32, rows, 1, starts + first);
    in(STN_DTYPE_I32, rows, 1, positions + first);
    bench.node.heads = (uint32_t)shape->heads;
    bench.node.kv_heads = (uint32_t)shape->kv_heads;
    bench.node.head_size = (uint32_t)shape->d;
    bench.node.scale = (float)(1 / sqrt((double)shape->d));
}

static void attend_from(size_t first, float *o, float *lse)
{
    size_t rows = n_rows - first;
    attention_inputs(first);
    out(STN_DTYPE_F32, rows, shape->heads * shape->d);
    out(STN_DTYPE_F32, rows, shape->heads);
    run(2);
    result(0, o, rows * shape->heads * shape->d);
    result(1, lse, rows * shape->heads);
    end();
}

/* Differences only at some places: each costs two whole passes. */
static double slope_at(size_t i)
{
    static double o[2][AQ];
    double was = exact[i], sum = 0;
    const double h = 1e-5;
    exact[i] = was + h;
    attention_formula(exact, o[0]);
    exact[i] = was - h;
    attention_formula(exact, o[1]);
    exact[i] = was;
    for (size_t k = 0; k < q_size(); k++) {
        sum += (double)passed_on[k] * (o[0][k] - o[1][k]) / (2 * h);
    }
    return sum;
}

static void attend(size_t number)
{
    take_shape(number);
    size_t n = q_size() + 2 * k_size();
    begin(STN_OP_ATTENTION);
    draw(attended, n, 1.5);
    draw(passed_on, q_size(), 1);
    to_double(exact, attended, n);
    attend_from(0, answer, logs);
}

START_TEST(attention_and_its_gradient_stay_inside_examples)
{
    static float dx[3 * AQ];
    attend((size_t)_i);
    size_t n = q_size() + 2 * k_size();
    attention_formula(exact, wanted);
    close_to(answer, wanted, q_size(), 2e-6, "o");
    begin(STN_OP_ATTENTION_BACK);
    attention_inputs(0);
    in(STN_DTYPE_F32, n_rows, shape->heads * shape->d, answer);
    in(STN_DTYPE_F32, n_rows, shape->heads, logs);
    in(STN_DTYPE_F32, n_rows, shape->heads * shape->d, passed_on);
    out(STN_DTYPE_F32, n_rows, shape->heads * shape->d);
    out(STN_DTYPE_F32, n_keys, shape->kv_heads * shape->d);
    out(STN_DTYPE_F32, n_keys, shape->kv_heads * shape->d);
    run(2);
    result(0, dx, q_size());
    result(1, dx + q_size(), k_size());
    result(2, dx + q_size() + k_size(), k_size());
    for (size_t i = 0; i < n; i += 1 + n / 61) {
        double want = slope_at(i);
        ck_assert_msg(fabs((double)dx[i] - want) < 2e-5 * (1 + fabs(want)), "dx[%zu]: %g, want %g", i, (double)dx[i], want);
    }
    end();
}
END_TEST

START_TEST(a_row_alone_gets_the_bits_that_it_gets_among_others)
{
    static float alone[AQ], log_alone[AQ];
    attend((size_t)_i);
    size_t last = n_rows - 1, width = shape->heads * shape->d;
    begin(STN_OP_ATTENTION);
    attend_from(last, alone, log_alone);
    ck_assert_mem_eq(alone, answer + last * width, width * sizeof *alone);
    ck_assert_mem_eq(log_alone, logs + last * shape->heads, shape->heads * sizeof *logs);
}
END_TEST

/* ---- loss ---- */

enum { LM = 37, LN = 19, LARGE = 4500 };
static float table[LARGE * LN];
static uint16_t half[LARGE * LN];

/* f16 of small whole eighths: exact */
static uint16_t half_of(float v)
{
    if (fabsf(v) < 0.1f) {
        return 0;
    }
    int exponent;
    float fraction = frexpf(fabsf(v), &exponent); /* [0.5, 1) */
    return (uint16_t)((v < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | (int)((fraction * 2 - 1) * 1024));
}

START_TEST(loss_guess_and_gradient)
{
    static const size_t words[] = {50, LARGE, LARGE};
    size_t v = words[_i];
    bool is_half = _i == 2;
    float y[LM * LN], weights[LM], losses[LM], dy[LM * LN];
    int32_t labels[LM], guesses[LM];
    static double z[LARGE], want[LM * LN], want_losses[LM];
    begin(STN_OP_LOSS);
    draw(y, LM * LN, 1);
    for (size_t i = 0; i < v * LN; i++) {
        table[i] = (float)((int)stn_rng_below(&bench.rng, 17) - 8) / 8;
        half[i] = half_of(table[i]);
    }
    for (size_t i = 0; i < LM; i++) {
        labels[i] = (int32_t)stn_rng_below(&bench.rng, v);
        weights[i] = (float)stn_rng_unit(&bench.rng);
    }
    in(STN_DTYPE_F32, LM, LN, y);
    in(is_half ? STN_DTYPE_F16 : STN_DTYPE_F32, v, LN, is_half ? (const void *)half : table);
    in(STN_DTYPE_I32, LM, 1, labels);
    in(STN_DTYPE_F32, LM, 1, weights);
    out(STN_DTYPE_F32, LM, 1);
    out(STN_DTYPE_I32, LM, 1);
    out(STN_DTYPE_F32, LM, LN);
    run(2);
    result(0, losses, LM);
    result(1, guesses, LM);
    result(2, dy, LM * LN);
    for (size_t i = 0; i < LM; i++) {
        double sum = 0, best = -1e9;
        for (size_t w = 0; w < v; w++) {
            z[w] = 0;
            for (size_t c = 0; c < LN; c++) {
                z[w] += (double)y[i * LN + c] * (double)table[w * LN + c];
            }
            sum += exp(z[w]);
            best = z[w] > best ? z[w] : best;
        }
        want_losses[i] = log(sum) - z[labels[i]];
        ck_assert_double_ge(z[guesses[i]], best - 1e-5);
        for (size_t c = 0; c < LN; c++) {
            double d = -(double)table[(size_t)labels[i] * LN + c];
            for (size_t w = 0; w < v; w++) {
                d += exp(z[w]) / sum * (double)table[w * LN + c];
            }
            want[i * LN + c] = (double)weights[i] * d;
        }
    }
    close_to(losses, want_losses, LM, 1e-6, "losses");
    close_to(dy, want, LM * LN, 3e-6, "dy");
    end();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("ops attention");
    TCase *t = tcase_create("ops attention");
    tcase_set_timeout(t, 120);
    bool on_cpu = strcmp(BENCH_BACKEND, "cpu") == 0;
    tcase_add_loop_test(t, attention_and_its_gradient_stay_inside_examples, 0, on_cpu ? sizeof shapes / sizeof *shapes : 4);
    if (on_cpu) { /* on a GPU subgroups share rows out by their number */
        tcase_add_loop_test(t, a_row_alone_gets_the_bits_that_it_gets_among_others, 0, sizeof shapes / sizeof *shapes);
    }
    tcase_add_loop_test(t, loss_guess_and_gradient, 0, 3);
    if (BENCH_IS_THERE()) {
        suite_add_tcase(s, t);
    }
    return s;
}
