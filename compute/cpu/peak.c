#include "compute/cpu/peak.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/cpu/lanes.h"
#include "compute/cpu/peak_loop.h"
#include "compute/cpu/team.h"
#include "compute/cpu/ternary.h"

#define TURNS 8            /* each thing is measured so often, and the best counts */
#define ROUND 0.02         /* seconds of one raw loop */
#define LOOP_ROUNDS 20000  /* of a first, short one that says how many ROUND takes */
#define MEMORY ((size_t)256 << 20) /* bytes: many times what caches hold */

struct bench {
    struct stn_team *team;
    const struct stn_peak_loop *loop;
    size_t rounds;
    volatile float sinks[STN_TEAM_MAX];
    float *memory; /* MEMORY bytes */
    struct stn_ternary *w;
    size_t n_tokens, scratch_size;
    int8_t *q;       /* (n_tokens, the longer side) */
    float *scale, *y; /* (n_tokens), (n_tokens, the longer side) */
    char *scratch;   /* scratch_size bytes for each member */
};

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- raw loops: a unit is a thread ---- */

static void loop_units(void *user, unsigned member, size_t first, size_t count)
{
    struct bench *b = user;
    (void)first;
    for (size_t i = 0; i < count; i++) {
        b->loop->run(b->rounds, &b->sinks[member]);
    }
}

/* MACs a second of one turn; the number of rounds comes closer to ROUND with each. */
static double time_loop(struct bench *b, const struct stn_peak_loop *loop, size_t *rounds)
{
    size_t n_members = stn_team_size(b->team);
    b->loop = loop;
    b->rounds = *rounds;
    double from = now_s();
    stn_team_run(b->team, loop_units, b, n_members);
    double took = now_s() - from;
    double wanted = took > 0 ? (double)*rounds * ROUND / took : (double)*rounds * 2;
    double macs = (double)(*rounds * STN_PEAK_LOOP_CHAINS * loop->macs * n_members);
    *rounds = wanted < LOOP_ROUNDS ? LOOP_ROUNDS : wanted > 1e9 ? (size_t)1e9 : (size_t)wanted;
    return took > 0 ? macs / took : 0;
}

/* ---- memory: a unit is a mebibyte ---- */

#define PIECE ((size_t)1 << 20)

STN_LANES_CLONES
static float peak_read(const float *p, size_t n)
{
    stn_lanes sums[4] = {0};
    for (size_t i = 0; i < n; i += 4 * STN_LANES) {
        sums[0] += STN_LANES_IN(p + i);
        sums[1] += STN_LANES_IN(p + i + STN_LANES);
        sums[2] += STN_LANES_IN(p + i + 2 * STN_LANES);
        sums[3] += STN_LANES_IN(p + i + 3 * STN_LANES);
    }
    sums[0] += sums[1];
    sums[2] += sums[3];
    sums[0] += sums[2];
    return stn_lanes_sum(&sums[0]);
}

static void read_units(void *user, unsigned member, size_t first, size_t count)
{
    struct bench *b = user;
    b->sinks[member] = peak_read(b->memory + first * (PIECE / sizeof(float)), count * (PIECE / sizeof(float)));
}

static double time_memory(struct bench *b)
{
    double from = now_s();
    stn_team_run(b->team, read_units, b, MEMORY / PIECE);
    double took = now_s() - from;
    return took > 0 ? (double)MEMORY / took : 0;
}

/* ---- products: a unit is a range ---- */

static void forward_units(void *user, unsigned member, size_t first, size_t count)
{
    struct bench *b = user;
    size_t rows = stn_ternary_rows(b->w), from = first * STN_TERNARY_RANGE, n = count * STN_TERNARY_RANGE;
    stn_ternary_forward(b->w, b->q, b->scale, b->n_tokens, b->y, rows, from, n < rows - from ? n : rows - from,
                        b->scratch + member * b->scratch_size);
}

static void backward_units(void *user, unsigned member, size_t first, size_t count)
{
    struct bench *b = user;
    size_t cols = stn_ternary_cols(b->w), from = first * STN_TERNARY_RANGE, n = count * STN_TERNARY_RANGE;
    stn_ternary_backward_int8(b->w, b->q, b->scale, b->n_tokens, b->y, cols, from, n < cols - from ? n : cols - from,
                              b->scratch + member * b->scratch_size);
}

static double time_product(struct bench *b, stn_team_work *work, size_t outputs)
{
    double macs = (double)stn_ternary_rows(b->w) * (double)stn_ternary_cols(b->w) * (double)b->n_tokens, took = 0;
    size_t n = 0;
    double from = now_s();
    do {
        stn_team_run(b->team, work, b, (outputs + STN_TERNARY_RANGE - 1) / STN_TERNARY_RANGE);
        n++;
        took = now_s() - from;
    } while (took < ROUND);
    return macs * (double)n / took;
}

static void random_row(const void *user, size_t row, int8_t *values, float *scales)
{
    size_t cols = *(const size_t *)user;
    struct stn_rng rng;
    stn_rng_init(&rng, row);
    for (size_t c = 0; c < cols; c++) {
        values[c] = (int8_t)((int)(stn_rng_below(&rng, 3)) - 1);
    }
    for (size_t c = 0; c < cols; c += 256) {
        scales[c / 256] = 0.5f;
    }
}

static enum stn_code find_product(struct bench *b, size_t rows, size_t cols, struct stn_err *err)
{
    const struct stn_ternary_source source = {.rows = rows, .cols = cols, .row = random_row, .user = &cols};
    size_t side = stn_ternary_stride(rows > cols ? rows : cols);
    enum stn_code code = stn_ternary_new(&b->w, &source, err);
    if (code != STN_OK) {
        return code;
    }
    b->scratch_size = (stn_ternary_scratch(b->w, b->n_tokens) + STN_MEM_ALIGN - 1) / STN_MEM_ALIGN * STN_MEM_ALIGN;
    b->q = stn_mem_aligned(b->n_tokens, side);
    b->scale = stn_mem_aligned(b->n_tokens, sizeof *b->scale);
    b->y = stn_mem_aligned(b->n_tokens * side, sizeof *b->y);
    b->scratch = stn_mem_aligned(stn_team_size(b->team), b->scratch_size);
    if (b->q == NULL || b->scale == NULL || b->y == NULL || b->scratch == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to measure a product of %zu x %zu", rows, cols);
    }
    for (size_t i = 0; i < b->n_tokens * side; i++) {
        b->q[i] = (int8_t)((int)(i * 37 % 255) - 127);
    }
    return STN_OK;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

static void measure(struct bench *b, struct stn_peak *peak)
{
    const struct stn_peak_loops *loops = stn_peak_loop_best();
    size_t integer = LOOP_ROUNDS, floats = LOOP_ROUNDS;
    *peak = (struct stn_peak){0};
    for (int turn = 0; turn < TURNS; turn++) {
        peak->integer = most(peak->integer, time_loop(b, &loops->integer, &integer));
        peak->forward = most(peak->forward, time_product(b, forward_units, stn_ternary_rows(b->w)));
        peak->backward = most(peak->backward, time_product(b, backward_units, stn_ternary_cols(b->w)));
        peak->floats = most(peak->floats, time_loop(b, &loops->floats, &floats));
        peak->bytes = most(peak->bytes, time_memory(b));
    }
}

enum stn_code stn_peak_measure(struct stn_peak *ret, size_t rows, size_t cols, size_t n_tokens, unsigned n_threads,
                               struct stn_err *err)
{
    struct bench *b = stn_mem_new(1, sizeof *b);
    if (b == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a measurement");
    }
    b->n_tokens = n_tokens;
    enum stn_code code = stn_team_new(&b->team, n_threads, err);
    code = code != STN_OK ? code : find_product(b, rows, cols, err);
    if (code == STN_OK) {
        b->memory = stn_mem_aligned(MEMORY, 1);
        code = b->memory == NULL ? stn_err_set(err, STN_MEMORY, "no memory to measure its bandwidth: %zu bytes", MEMORY) : STN_OK;
    }
    if (code == STN_OK) {
        measure(b, ret);
    }
    stn_mem_free(b->memory);
    stn_ternary_free(b->w);
    stn_mem_free(b->q);
    stn_mem_free(b->scale);
    stn_mem_free(b->y);
    stn_mem_free(b->scratch);
    stn_team_free(b->team);
    stn_mem_free(b);
    return code;
}
