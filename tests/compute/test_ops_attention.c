#include "tests/compute/bench.h"

/* ---- attention ---- */

enum { AT = 83, AH = 6, AK = 3, AD = 20, AQ = AT * AH * AD, AKV = AT * AK * AD };
static int32_t starts[AT], positions[AT];

static void attention_formula(const double *x, double *o)
{
    const double *q = x, *k = x + AQ, *v = k + AKV;
    for (size_t t = 0; t < AT; t++) {
        for (size_t h = 0; h < AH; h++) {
            double p[AT], sum = 0;
            size_t g = h / (AH / AK);
            for (size_t c = 0; c < AD; c++) {
                o[(t * AH + h) * AD + c] = 0;
            }
            for (size_t j = (size_t)starts[t]; j <= t; j++) {
                double s = 0;
                for (size_t c = 0; c < AD; c++) {
                    s += q[(t * AH + h) * AD + c] * k[(j * AK + g) * AD + c];
                }
                p[j] = exp(s / sqrt(AD));
                sum += p[j];
            }
            for (size_t j = (size_t)starts[t]; j <= t; j++) {
                for (size_t c = 0; c < AD; c++) {
                    o[(t * AH + h) * AD + c] += p[j] / sum * v[(j * AK + g) * AD + c];
                }
            }
        }
    }
}

static float attended[AQ + 2 * AKV], passed_on[AQ], answer[AQ], logs[AT * AH];
static double exact[AQ + 2 * AKV], wanted[AQ + 2 * AKV];

static void attention_inputs(void)
{
    static const int32_t lengths[] = {1, 37, 3, 42};
    int32_t row = 0;
    for (size_t i = 0; i < 4; i++) {
        for (int32_t k = 0, start = row; k < lengths[i]; k++, row++) {
            starts[row] = start;
            positions[row] = k;
        }
    }
    ck_assert_int_eq(row, AT);
    in(STN_DTYPE_F32, AT, AH * AD, attended);
    in(STN_DTYPE_F32, AT, AK * AD, attended + AQ);
    in(STN_DTYPE_F32, AT, AK * AD, attended + AQ + AKV);
    in(STN_DTYPE_I32, AT, 1, starts);
    in(STN_DTYPE_I32, AT, 1, positions);
    bench.node.heads = AH;
    bench.node.kv_heads = AK;
    bench.node.head_size = AD;
    bench.node.scale = (float)(1 / sqrt(AD));
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
    for (size_t k = 0; k < AQ; k++) {
        sum += (double)passed_on[k] * (o[0][k] - o[1][k]) / (2 * h);
    }
    return sum;
}

START_TEST(attention_and_its_gradient_stay_inside_examples)
{
    static float dx[AQ + 2 * AKV];
    begin(STN_OP_ATTENTION);
    draw(attended, AQ + 2 * AKV, 1.5);
    draw(passed_on, AQ, 1);
    to_double(exact, attended, AQ + 2 * AKV);
    attention_inputs();
    out(STN_DTYPE_F32, AT, AH * AD);
    out(STN_DTYPE_F32, AT, AH);
    run(2);
    result(0, answer, AQ);
    result(1, logs, AT * AH);
    attention_formula(exact, wanted);
    close_to(answer, wanted, AQ, 2e-6, "o");
    end();
    begin(STN_OP_ATTENTION_BACK);
    attention_inputs();
    in(STN_DTYPE_F32, AT, AH * AD, answer);
    in(STN_DTYPE_F32, AT, AH, logs);
    in(STN_DTYPE_F32, AT, AH * AD, passed_on);
    out(STN_DTYPE_F32, AT, AH * AD);
    out(STN_DTYPE_F32, AT, AK * AD);
    out(STN_DTYPE_F32, AT, AK * AD);
    run(2);
    result(0, dx, AQ);
    result(1, dx + AQ, AKV);
    result(2, dx + AQ + AKV, AKV);
    for (size_t i = 0; i < AQ + 2 * AKV; i += 131) {
        double want = slope_at(i);
        ck_assert_msg(fabs((double)dx[i] - want) < 2e-5 * (1 + fabs(want)), "dx[%zu]: %g, want %g", i, (double)dx[i], want);
    }
    end();
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
    tcase_add_test(t, attention_and_its_gradient_stay_inside_examples);
    tcase_add_loop_test(t, loss_guess_and_gradient, 0, 3);
    if (BENCH_IS_THERE()) {
        suite_add_tcase(s, t);
    }
    return s;
}
