#include "secagg/bound.h"

#include <math.h>
#include <stddef.h>

#define LN2 0.693147180559945309417232121458

/* ln m + e ln 2 with m in [0.7, 1.42]: 2 artanh((m - 1) / (m + 1)), whose thirteenth term is below
 * 2^-64. frexp is exact. */
static double ln(double x)
{
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1), square = s * s, sum = 0;
    for (int i = 12; i >= 0; i--) {
        sum = sum * square + 1.0 / (2 * i + 1);
    }
    return 2 * s * sum + e * LN2;
}

/* ln n!: Stirling's series (Abramowitz and Stegun, 6.1.41) from 16 on, whose first term left out is
 * below 1e-15. */
static double ln_factorial(double n)
{
    if (n < 16) {
        double product = 1;
        for (double i = 2; i <= n; i++) {
            product *= i;
        }
        return ln(product);
    }
    double x = n + 1, r = 1 / x, r2 = r * r;
    double series =
        r * (1.0 / 12 - r2 * (1.0 / 360 - r2 * (1.0 / 1260 - r2 * (1.0 / 1680 - r2 / 1188))));
    return (x - 0.5) * ln(x) - x + 0.918938533204672741780329736406 + series;
}

/* ln Pr[Hyp(n, marked, k) = i]; i is possible. */
static double ln_point(double n, double marked, double k, double i)
{
    return ln_factorial(marked) - ln_factorial(i) - ln_factorial(marked - i) +
           ln_factorial(n - marked) - ln_factorial(k - i) - ln_factorial(n - marked - (k - i)) -
           ln_factorial(n) + ln_factorial(k) + ln_factorial(n - k);
}

/* Pr[= i + 1] / Pr[= i] */
static double ratio(double n, double marked, double k, double i)
{
    return (marked - i) * (k - i) / ((i + 1) * (n - marked - k + i + 1));
}

/* min{x : ln Pr[Hyp(n, marked, k) > x] <= limit}. sum is Pr[>= x] / Pr[= x], from the top down. */
static double most_marked(double n, double marked, double k, double limit)
{
    double low = k - (n - marked) > 0 ? k - (n - marked) : 0, sum = 0;
    for (double x = marked < k ? marked : k; x > low; x--) { /* is Pr[> x - 1] still small? */
        sum = 1 + (sum > 0 ? ratio(n, marked, k, x) * sum : 0);
        if (ln_point(n, marked, k, x) + ln(sum) > limit) {
            return x;
        }
    }
    return low; /* it is never less: Pr[> low] was small, and Pr[> low - 1] is 1 */
}

/* max{x : ln Pr[Hyp(n, marked, k) < x] < limit}, from the bottom up. */
static double least_marked(double n, double marked, double k, double limit)
{
    double low = k - (n - marked) > 0 ? k - (n - marked) : 0, high = marked < k ? marked : k;
    double sum = 0;
    for (double x = low; x <= high; x++) { /* is Pr[< x + 1] still small? */
        sum = 1 + (sum > 0 ? sum / ratio(n, marked, k, x - 1) : 0);
        if (ln_point(n, marked, k, x) + ln(sum) >= limit) {
            return x;
        }
    }
    return high;
}

static bool stays_connected(double n, double b, double k, uint32_t sigma)
{
    if (k > b) {
        return true;
    }
    double ways = n * (n - k - 1) / 2;
    if (ways <= 0) {
        return true;
    }
    return ln(ways) + ln_factorial(b) + ln_factorial(n - k) - ln_factorial(n) -
               ln_factorial(b - k) <
           -(sigma + 1.0) * LN2;
}

static enum stn_code check(uint32_t n, const struct stn_bound_params *params, struct stn_err *err)
{
    if (!(params->gamma >= 0 && params->gamma <= 0.5 && params->delta >= 0 &&
          params->delta <= 0.5)) {
        return stn_err_set(err, STN_INVALID, "gamma %.3g and delta %.3g, not 0 to 0.5",
                           params->gamma, params->delta);
    }
    if (params->eta < 1 || params->eta > 256 || params->sigma < 1 || params->sigma > 256) {
        return stn_err_set(err, STN_INVALID, "eta %u and sigma %u, not 1 to 256", params->eta,
                           params->sigma);
    }
    if (n < STN_BOUND_MEMBERS_MIN || n > STN_BOUND_MEMBERS) {
        return stn_err_set(err, STN_LIMIT, "%u members, not %u to %u", n, STN_BOUND_MEMBERS_MIN,
                           STN_BOUND_MEMBERS);
    }
    return STN_OK;
}

enum stn_code stn_bound_find(uint32_t n, const struct stn_bound_params *params, bool lies,
                             struct stn_bound *ret, struct stn_err *err)
{
    enum stn_code code = check(n, params, err);
    if (code != STN_OK) {
        return code;
    }
    double a = floor(params->gamma * n), d = floor(params->delta * n);
    double s = ceil((1 - params->delta) * n);
    double adverse = -(params->sigma + 1.0) * LN2 - ln(n),
           lost = -(double)params->eta * LN2 - ln(n);
    for (uint32_t k = 2; k < n && k <= STN_BOUND_DEGREE; k += 2) {
        if (!stays_connected(n, a + d, k, params->sigma)) {
            continue;
        }
        double t1 = most_marked(n, a, k, adverse), t2 = least_marked(n, s, k, lost);
        double t = lies ? ceil((t1 + k - 1.25) / 2) + 1 : t1 + 1 > 2 ? t1 + 1 : 2;
        if (t <= t2) {
            *ret = (struct stn_bound){
                .k = k, .t = (uint32_t)t, .most = (uint32_t)most_marked(n, a, k, lost)};
            return STN_OK;
        }
    }
    return stn_err_set(err, STN_LIMIT,
                       "no degree up to %u serves %u members of whom %g lie and %g leave",
                       STN_BOUND_DEGREE, n, a, d);
}

enum stn_code stn_bound_for(uint32_t n, const struct stn_bound_params *params,
                            struct stn_bound *ret, struct stn_err *err)
{
    enum stn_code code = check(n, params, err);
    if (code != STN_OK) {
        return code;
    }
    if (n >= STN_BOUND_COMPLETE) {
        return stn_bound_find(n, params, true, ret, err);
    }
    uint32_t a = (uint32_t)floor(params->gamma * n), t = (n + a) / 2 + 1;
    if (t > n - 1) {
        return stn_err_set(err, STN_LIMIT, "%u members of whom half lie have no quorum", n);
    }
    *ret = (struct stn_bound){.k = n - 1, .t = t, .most = a};
    return STN_OK;
}
