#include "tests/compute/bench.h"

enum { LARGEST = 1000 };

/* Central differences: the slope of sum_i dy[i] f(x)[i] in each x, f: n_x doubles to n_y. */
static void slopes(void (*f)(const double *x, double *y), const double *x, size_t n_x, const float *dy, size_t n_y, double *ret)
{
    static double moved[LARGEST], y[2][LARGEST];
    const double h = 1e-5;
    memcpy(moved, x, n_x * sizeof *moved);
    for (size_t i = 0; i < n_x; i++) {
        moved[i] = x[i] + h;
        f(moved, y[0]);
        moved[i] = x[i] - h;
        f(moved, y[1]);
        moved[i] = x[i];
        ret[i] = 0;
        for (size_t k = 0; k < n_y; k++) {
            ret[i] += (double)dy[k] * (y[0][k] - y[1][k]) / (2 * h);
        }
    }
}

/* ---- norm ---- */

enum { NT = 7, NC = 53 };
static float norm_gain[NC];

static void norm_formula(const double *x, double *y)
{
    for (size_t t = 0; t < NT; t++) {
        double squares = 0;
        for (size_t c = 0; c < NC; c++) {
            squares += x[t * NC + c] * x[t * NC + c];
        }
        for (size_t c = 0; c < NC; c++) {
            y[t * NC + c] = x[t * NC + c] * (double)norm_gain[c] / sqrt(squares / NC + 1e-5);
        }
    }
}

START_TEST(norm_and_its_gradient)
{
    float x[NT * NC], dy[NT * NC], y[NT * NC], old[NT * NC];
    double xd[NT * NC], want[NT * NC];
    begin(STN_OP_NORM);
    draw(x, NT * NC, 2);
    draw(dy, NT * NC, 1);
    draw(old, NT * NC, 1);
    draw(norm_gain, NC, 1);
    to_double(xd, x, NT * NC);
    bench.node.eps = 1e-5f;
    in(STN_DTYPE_F32, NT, NC, x);
    in(STN_DTYPE_F32, 1, NC, norm_gain);
    out(STN_DTYPE_F32, NT, NC);
    run(1);
    result(0, y, NT * NC);
    norm_formula(xd, want);
    close_to(y, want, NT * NC, 1e-6, "y");
    end();
    slopes(norm_formula, xd, NT * NC, dy, NT * NC, want);
    for (int add = 0; add < 2; add++) {
        begin(STN_OP_NORM_BACK);
        bench.node.eps = 1e-5f;
        bench.node.add = add != 0;
        in(STN_DTYPE_F32, NT, NC, x);
        in(STN_DTYPE_F32, 1, NC, norm_gain);
        in(STN_DTYPE_F32, NT, NC, dy);
        out(STN_DTYPE_F32, NT, NC);
        before(0, old, sizeof old);
        run(2);
        result(0, y, NT * NC);
        for (size_t i = 0; i < NT * NC && add; i++) {
            want[i] += (double)old[i];
        }
        close_to(y, want, NT * NC, 1e-5, "dx");
        end();
    }
}
END_TEST

/* ---- gates ---- */

enum { GN = 3 * 41 };
static int gate_kind;

static void gate_formula(const double *x, double *y)
{
    for (size_t i = 0; i < GN; i++) {
        double g = x[i], u = x[GN + i], r = g > 0 ? g : 0;
        y[i] = gate_kind == STN_OP_GATE_SWIGLU ? g / (1 + exp(-g)) * u : r * r * u;
    }
}

START_TEST(gates_and_their_gradients)
{
    float x[2 * GN], da[GN], a[GN], d[GN];
    double xd[2 * GN], want[2 * GN];
    gate_kind = _i;
    begin(STN_OP_GATE);
    draw(x, 2 * GN, 3);
    draw(da, GN, 1);
    x[0] = -120; /* exp must not overflow */
    x[1] = 120;
    to_double(xd, x, 2 * GN);
    bench.node.gate = (enum stn_op_gate)_i;
    in(STN_DTYPE_F32, 3, 41, x);
    in(STN_DTYPE_F32, 3, 41, x + GN);
    out(STN_DTYPE_F32, 3, 41);
    run(1);
    result(0, a, GN);
    gate_formula(xd, want);
    close_to(a, want, GN, 1e-6, "a");
    end();
    begin(STN_OP_GATE_BACK);
    bench.node.gate = (enum stn_op_gate)_i;
    in(STN_DTYPE_F32, 3, 41, x);
    in(STN_DTYPE_F32, 3, 41, x + GN);
    in(STN_DTYPE_F32, 3, 41, da);
    out(STN_DTYPE_F32, 3, 41);
    out(STN_DTYPE_F32, 3, 41);
    run(1);
    slopes(gate_formula, xd, 2 * GN, da, GN, want);
    result(0, d, GN);
    close_to(d, want, GN, 1e-5, "dg");
    result(1, d, GN);
    close_to(d, want + GN, GN, 1e-5, "du");
    end();
}
END_TEST

/* ---- dropout ---- */

enum { DT = 40, DC = 67 };

static void drop(const float *x, const int32_t *seed, uint32_t number, const float *old, float *y)
{
    begin(STN_OP_DROPOUT);
    bench.node.eps = 0.25f;
    bench.node.scale = 1 / 0.75f;
    bench.node.number = number;
    bench.node.add = old != NULL;
    in(STN_DTYPE_F32, DT, DC, x);
    in(STN_DTYPE_I32, 1, 2, seed);
    out(STN_DTYPE_F32, DT, DC);
    if (old != NULL) {
        before(0, old, DT * DC * sizeof *old);
    }
    run(2);
    result(0, y, DT * DC);
    end();
}

START_TEST(dropout_takes_its_share_by_chance_and_the_same_ones_again)
{
    static float x[DT * DC], old[DT * DC], y[DT * DC], sum[DT * DC], other[DT * DC];
    const int32_t seed[2] = {0x12345678, -77};
    size_t n_zero = 0, n_same = 0;
    stn_rng_init(&bench.rng, 5);
    draw(x, DT * DC, 1);
    draw(old, DT * DC, 1);
    drop(x, seed, 3, NULL, y);
    drop(x, seed, 3, old, sum);
    drop(x, seed, 4, NULL, other);
    for (size_t i = 0; i < DT * DC; i++) {
        bool is_zero = fabsf(y[i]) <= 0;
        n_zero += is_zero;
        n_same += is_zero == (fabsf(other[i]) <= 0);
        ck_assert(is_zero || fabsf(y[i] - x[i] / 0.75f) <= 1e-6f * fabsf(x[i]));
        ck_assert_float_eq_tol(sum[i], old[i] + y[i], 1e-6f);
    }
    /* within four standard deviations: 2680 draws of 1/4, and of 10/16 */
    ck_assert_uint_ge(n_zero, 580);
    ck_assert_uint_le(n_zero, 760);
    ck_assert_uint_ge(n_same, 1575);
    ck_assert_uint_le(n_same, 1775);
}
END_TEST

/* ---- rotary positions ---- */

START_TEST(rope_turns_pairs_by_their_positions_angle_and_back)
{
    enum { T = 5, H = 3, D = 10, CONTEXT = 9 };
    float x[T * H * D], y[T * H * D], table[CONTEXT * D];
    double want[T * H * D];
    int32_t positions[T] = {0, 8, 3, 3, 1};
    bool neox = _i == 0;
    begin(STN_OP_ROPE);
    draw(x, T * H * D, 1);
    for (int p = 0; p < CONTEXT; p++) {
        for (int i = 0; i < D / 2; i++) {
            table[p * D + i] = (float)cos(p * pow(100, -2.0 * i / D));
            table[p * D + D / 2 + i] = (float)sin(p * pow(100, -2.0 * i / D));
        }
    }
    for (int t = 0; t < T * H; t++) {
        for (int i = 0; i < D / 2; i++) {
            int a = t * D + (neox ? i : 2 * i), b = t * D + (neox ? i + D / 2 : 2 * i + 1);
            double angle = positions[t / H] * pow(100, -2.0 * i / D);
            want[a] = (double)x[a] * cos(angle) - (double)x[b] * sin(angle);
            want[b] = (double)x[a] * sin(angle) + (double)x[b] * cos(angle);
        }
    }
    for (int inverse = 0; inverse < 2; inverse++) {
        bench.node.neox = neox;
        bench.node.inverse = inverse != 0;
        bench.node.heads = H;
        bench.node.head_size = D;
        in(STN_DTYPE_I32, T, 1, positions);
        in(STN_DTYPE_F32, CONTEXT, D, table);
        out(STN_DTYPE_F32, T, H * D);
        before(0, inverse ? y : x, sizeof x);
        run(1);
        result(0, y, T * H * D);
        if (inverse) {
            to_double(want, x, T * H * D);
        }
        close_to(y, want, T * H * D, 1e-6, "x");
        end();
        begin(STN_OP_ROPE);
    }
    stn_graph_fini(&bench.graph);
}
END_TEST

/* ---- dense products ---- */

START_TEST(dense_products_and_their_gradients)
{
    static const size_t rows[] = {1, 5, 40}, cols[] = {3, 77};
    static float x[40 * 77], w[77 * 77], dy[40 * 77], y[77 * 77], old[77 * 77];
    static double want[77 * 77];
    size_t t = rows[_i % 3], m = cols[_i / 3], k = 29;
    for (int kind = 0; kind < 3; kind++) {
        begin((enum stn_op)(STN_OP_LINEAR + kind));
        draw(x, t * k, 1);
        draw(w, m * k, 1);
        draw(dy, t * m, 1);
        draw(old, 77 * 77, 1);
        bench.node.scale = 0.7f;
        bench.node.add = true;
        const float *a = kind == 0 ? x : dy, *b = kind == 2 ? x : w;
        size_t n_rows = kind == 2 ? m : t, n_cols = kind == 0 ? m : k;
        in(STN_DTYPE_F32, t, kind == 0 ? k : m, a);
        in(STN_DTYPE_F32, kind == 2 ? t : m, k, b);
        out(STN_DTYPE_F32, n_rows, n_cols);
        before(0, old, n_rows * n_cols * sizeof *old);
        run(2);
        result(0, y, n_rows * n_cols);
        for (size_t i = 0; i < n_rows; i++) {
            for (size_t j = 0; j < n_cols; j++) {
                double sum = 0;
                for (size_t l = 0; l < (kind == 0 ? k : kind == 1 ? m : t); l++) {
                    double u = (double)(kind == 2 ? a[l * m + i] : a[i * (kind == 0 ? k : m) + l]);
                    sum += u * (double)(kind == 0 ? b[j * k + l] : b[l * k + j]);
                }
                want[i * n_cols + j] = (double)old[i * n_cols + j] + (double)0.7f * sum;
            }
        }
        close_to(y, want, n_rows * n_cols, 2e-6, "product");
        end();
    }
}
END_TEST

/* ---- rows ---- */

START_TEST(rows_are_gathered_scattered_and_stored)
{
    enum { T = 9, N = 11, M = 4 };
    float x[T * N], y[T * N], d[M * N];
    int32_t rows[M] = {1, 4, 4, 8}, tokens[M] = {8, 0, 3, 3};
    begin(STN_OP_GATHER);
    draw(x, T * N, 1);
    draw(d, M * N, 1);
    in(STN_DTYPE_F32, T, N, x);
    in(STN_DTYPE_I32, M, 1, rows);
    out(STN_DTYPE_F32, M, N);
    run(2);
    result(0, y, M * N);
    for (size_t i = 0; i < M; i++) {
        ck_assert_mem_eq(y + i * N, x + rows[i] * N, N * sizeof *y);
    }
    end();
    for (int add = 0; add < 2; add++) {
        begin(STN_OP_SCATTER);
        bench.node.add = add != 0;
        in(STN_DTYPE_F32, M, N, d);
        in(STN_DTYPE_I32, M, 1, rows);
        out(STN_DTYPE_F32, T, N);
        before(0, x, sizeof x);
        run(2);
        result(0, y, T * N);
        for (size_t i = 0; i < T * N; i++) {
            float want = add ? x[i] : 0;
            for (size_t k = 0; k < M; k++) {
                want += (size_t)rows[k] == i / N ? d[k * N + i % N] : 0;
            }
            ck_assert_float_eq_tol(y[i], want, 1e-6f);
        }
        end();
    }
    begin(STN_OP_STORE);
    rows[1] = 2;
    in(STN_DTYPE_F32, M, N, d);
    in(STN_DTYPE_I32, M, 1, rows);
    out(STN_DTYPE_F32, T, N);
    before(0, x, sizeof x);
    run(1);
    result(0, y, T * N);
    ck_assert_mem_eq(y, x, N * sizeof *y);
    ck_assert_mem_eq(y + 2 * N, d + N, N * sizeof *y);
    ck_assert_mem_eq(y + 8 * N, d + 3 * N, N * sizeof *y);
    end();
    begin(STN_OP_EMBED);
    in(STN_DTYPE_I32, M, 1, tokens);
    in(STN_DTYPE_F32, T, N, x);
    out(STN_DTYPE_F32, M, N);
    run(1);
    result(0, y, M * N);
    for (size_t i = 0; i < M; i++) {
        ck_assert_mem_eq(y + i * N, x + tokens[i] * N, N * sizeof *y);
    }
    end();
}
END_TEST

START_TEST(half_floats_are_widened_exactly)
{
    const uint16_t halves[] = {0x0000, 0x8000, 0x3c00, 0xc000, 0x0001, 0x83ff, 0x7bff, 0x0400};
    const float want[] = {0.0f, -0.0f, 1.0f, -2.0f, 0x1p-24f, -1023 * 0x1p-24f, 65504.0f, 0x1p-14f};
    int32_t tokens[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    float x[8];
    begin(STN_OP_EMBED);
    in(STN_DTYPE_I32, 8, 1, tokens);
    in(STN_DTYPE_F16, 8, 1, halves);
    out(STN_DTYPE_F32, 8, 1);
    run(1);
    result(0, x, 8);
    ck_assert_mem_eq(x, want, sizeof x);
    end();
}
END_TEST

/* ---- AdamW ---- */

START_TEST(adamw_is_its_formula_under_a_clip)
{
    enum { N = 60, P = 3 };
    float g[N], w[N], m[N], v[N], after[N];
    int32_t spans[P + 1] = {0, 17, 20, N};
    float trains[P] = {1, 0, 1}, squares[P];
    float settings[STN_OP_N_SETTINGS] = {0.01f, 0.9f, 0.99f, 1e-6f, 0.1f, 0.5f, 0.271f, 0.0297f};
    double norm = 0, want[N];
    begin(STN_OP_SQUARES);
    draw(g, N, 1);
    draw(w, N, 1);
    draw(m, N, 0.1);
    for (size_t i = 0; i < N; i++) {
        v[i] = 0.01f + 0.001f * (float)i;
        norm += i < 17 || i >= 20 ? (double)g[i] * (double)g[i] : 0;
    }
    in(STN_DTYPE_F32, 1, N, g);
    in(STN_DTYPE_I32, 1, P + 1, spans);
    in(STN_DTYPE_F32, 1, P, trains);
    out(STN_DTYPE_F32, 1, P);
    run(1);
    result(0, squares, P);
    ck_assert_double_eq_tol((double)squares[0] + (double)squares[1] + (double)squares[2], norm, 1e-5);
    end();
    begin(STN_OP_ADAMW);
    in(STN_DTYPE_F32, 1, N, g);
    in(STN_DTYPE_I32, 1, P + 1, spans);
    in(STN_DTYPE_F32, 1, P, trains);
    in(STN_DTYPE_F32, 1, P, squares);
    in(STN_DTYPE_F32, 1, STN_OP_N_SETTINGS, settings);
    for (size_t i = 0; i < 4; i++) {
        out(STN_DTYPE_F32, 1, N);
        before(i, (const float *[]){w, m, v, g}[i], N * sizeof *w);
    }
    bench.node.in[0] = bench.node.out[3];
    run(2);
    for (size_t i = 0; i < N; i++) {
        double d = (double)g[i] * 0.5 / sqrt(norm), mi = 0.9 * (double)m[i] + 0.1 * d;
        double vi = 0.99 * (double)v[i] + 0.01 * d * d;
        want[i] = (double)w[i];
        if (i < 17 || i >= 20) {
            want[i] -= 0.01 * (mi / 0.271 / (sqrt(vi / 0.0297) + 1e-6) + 0.1 * (double)w[i]);
        }
    }
    result(0, after, N);
    close_to(after, want, N, 1e-6, "values");
    result(3, after, N);
    for (size_t i = 0; i < N; i++) {
        ck_assert(fabsf(after[i]) <= 0.0f);
    }
    end();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("ops");
    TCase *t = tcase_create("ops");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, norm_and_its_gradient);
    tcase_add_loop_test(t, gates_and_their_gradients, 0, 2);
    tcase_add_test(t, dropout_takes_its_share_by_chance_and_the_same_ones_again);
    tcase_add_loop_test(t, rope_turns_pairs_by_their_positions_angle_and_back, 0, 2);
    tcase_add_loop_test(t, dense_products_and_their_gradients, 0, 6);
    tcase_add_test(t, rows_are_gathered_scattered_and_stored);
    tcase_add_test(t, half_floats_are_widened_exactly);
    tcase_add_test(t, adamw_is_its_formula_under_a_clip);
    if (BENCH_IS_THERE()) {
        suite_add_tcase(s, t);
    }
    return s;
}
