#include "client/simulate/partition.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

enum stn_code stn_partition_parse(struct stn_partition *ret, const char *text, struct stn_err *err)
{
    struct stn_partition partition = {0};
    if (strcmp(text, "iid") == 0) {
        partition.kind = STN_PARTITION_IID;
    } else if (stn_str_starts(text, "dirichlet:")) {
        partition.kind = STN_PARTITION_DIRICHLET;
        if (!stn_str_f64(strchr(text, ':') + 1, &partition.alpha) || partition.alpha < 1e-3 || partition.alpha > 1e6) {
            return stn_err_set(err, STN_INVALID, "partition \"%.60s\": expected dirichlet:ALPHA with a number from 0.001 to 1e6", text);
        }
    } else if (stn_str_starts(text, "by:") && text[3] != '\0') {
        partition.kind = STN_PARTITION_BY;
        partition.field = text + 3;
    } else {
        return stn_err_set(err, STN_INVALID, "partition \"%.60s\": expected iid, dirichlet:ALPHA or by:FIELD", text);
    }
    *ret = partition;
    return STN_OK;
}

/* Numbers the values of a field in order of first appearance: class[i] of example i. */
static enum stn_code classes_of(const struct stn_dataset *dataset, const char *field, size_t *class, size_t *ret_n,
                                struct stn_err *err)
{
    struct stn_map map = {0};
    size_t n = 0;
    enum stn_code code = STN_OK;
    for (size_t i = 0; code == STN_OK && i < dataset->n_examples; i++) {
        const char *value = stn_dataset_field(dataset, i, field);
        if (value == NULL) {
            code = stn_err_set(err, STN_INVALID, "line %llu has no field %s to partition by",
                               (unsigned long long)dataset->examples[i].line, field);
            break;
        }
        size_t *known = stn_map_get(&map, value, strlen(value));
        if (known == NULL) {
            class[i] = n++;
            known = &class[i];
            if (!stn_map_set(&map, value, strlen(value), known)) {
                code = stn_err_set(err, STN_MEMORY, "no memory for %zu classes", n);
            }
        }
        class[i] = *known;
    }
    stn_map_fini(&map);
    *ret_n = n;
    return code;
}

static void deal(struct stn_rng *rng, size_t n, size_t n_clients, size_t *order, size_t *owner)
{
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
    }
    stn_rng_shuffle(rng, order, n, sizeof *order);
    for (size_t i = 0; i < n; i++) {
        owner[order[i]] = i % n_clients;
    }
}

void stn_partition_list(const size_t *group, size_t n, size_t n_groups, size_t *start, size_t *order)
{
    memset(start, 0, (n_groups + 1) * sizeof *start);
    for (size_t i = 0; i < n; i++) {
        start[group[i]]++;
    }
    for (size_t g = 0, first = 0; g <= n_groups; g++) {
        size_t count = g < n_groups ? start[g] : 0;
        start[g] = first;
        first += count;
    }
    for (size_t i = 0; i < n; i++) {
        order[start[group[i]]++] = i;
    }
    memmove(start + 1, start, n_groups * sizeof *start); /* each is now where the next begins */
    start[0] = 0;
}

/* The logarithm of a Gamma draw, as stn_rng_gamma makes it: the draw itself is below every double for a small shape. */
static double log_gamma(struct stn_rng *rng, double shape)
{
    if (shape >= 1) {
        return log(stn_rng_gamma(rng, shape));
    }
    double u = 1.0 - stn_rng_unit(rng);
    return log(stn_rng_gamma(rng, shape + 1)) + log(u) / shape;
}

/* Cumulated weights of a draw of Dirichlet(alpha), times a factor that leaves the largest 1. Returns their sum. */
static double draw_weights(struct stn_rng *rng, double alpha, size_t n, double *weights)
{
    double most = -INFINITY, sum = 0;
    for (size_t k = 0; k < n; k++) {
        weights[k] = log_gamma(rng, alpha);
        most = fmax(most, weights[k]);
    }
    for (size_t k = 0; k < n; k++) {
        sum += exp(weights[k] - most);
        weights[k] = sum;
    }
    return sum;
}

/* Those of class c are order[start[c]] to order[start[c + 1] - 1]. */
struct classes {
    size_t n, *start, *order;
};

static void share_out(struct stn_rng *rng, const struct classes *classes, double alpha, size_t n_clients, double *weights,
                      size_t *owner)
{
    for (size_t c = 0; c < classes->n; c++) {
        double sum = draw_weights(rng, alpha, n_clients, weights);
        for (size_t i = classes->start[c]; i < classes->start[c + 1]; i++) {
            double u = stn_rng_unit(rng) * sum;
            size_t k = 0;
            while (k + 1 < n_clients && u >= weights[k]) {
                k++;
            }
            owner[classes->order[i]] = k;
        }
    }
}

/* Who has nothing takes one example from who has most. counts has n_clients elements. */
static void leave_none_empty(size_t n, size_t n_clients, size_t *counts, size_t *owner)
{
    for (size_t i = 0; i < n; i++) {
        counts[owner[i]]++;
    }
    for (size_t k = 0; k < n_clients; k++) {
        size_t most = 0;
        for (size_t j = 1; counts[k] == 0 && j < n_clients; j++) {
            most = counts[j] > counts[most] ? j : most;
        }
        for (size_t i = 0; counts[k] == 0 && i < n; i++) {
            if (owner[i] == most) {
                owner[i] = k;
                counts[most]--;
                counts[k]++;
            }
        }
    }
}

static const char *class_field(const struct stn_dataset *dataset)
{
    static const char *const fields[] = {"label", "intent", "category", "class", "source"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (stn_dataset_field(dataset, 0, fields[i]) != NULL) {
            return fields[i];
        }
    }
    return "label";
}

static enum stn_code by_dirichlet(const struct stn_partition *partition, const struct stn_dataset *dataset, struct stn_rng *rng,
                                  size_t n_clients, size_t *owner, struct stn_err *err)
{
    const size_t n = dataset->n_examples;
    struct classes classes = {.start = stn_mem_new(n + 1, sizeof *classes.start), .order = stn_mem_new(n, sizeof *classes.order)};
    size_t *counts = stn_mem_new(n_clients, sizeof *counts);
    double *weights = stn_mem_new(n_clients, sizeof *weights);
    enum stn_code code = STN_OK;
    if (classes.start == NULL || classes.order == NULL || counts == NULL || weights == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory to partition %zu examples", n);
        goto out;
    }
    code = classes_of(dataset, class_field(dataset), owner, &classes.n, err);
    if (code == STN_OK) {
        stn_partition_list(owner, n, classes.n, classes.start, classes.order);
        share_out(rng, &classes, partition->alpha, n_clients, weights, owner);
        leave_none_empty(n, n_clients, counts, owner);
    }
out:
    stn_mem_free(classes.start);
    stn_mem_free(classes.order);
    stn_mem_free(counts);
    stn_mem_free(weights);
    return code;
}

static enum stn_code by_field(const struct stn_partition *partition, const struct stn_dataset *dataset, size_t *n_clients,
                              size_t *owner, struct stn_err *err)
{
    size_t n = 0;
    enum stn_code code = classes_of(dataset, partition->field, owner, &n, err);
    if (code != STN_OK) {
        return code;
    }
    if (n > STN_PARTITION_CLIENTS_MAX) {
        return stn_err_set(err, STN_LIMIT, "%s has %zu values, each a client: at most %d", partition->field, n,
                           STN_PARTITION_CLIENTS_MAX);
    }
    *n_clients = n;
    return STN_OK;
}

static enum stn_code evenly(size_t n, struct stn_rng *rng, size_t n_clients, size_t *owner, struct stn_err *err)
{
    size_t *order = stn_mem_new(n, sizeof *order);
    if (order == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to partition %zu examples", n);
    }
    deal(rng, n, n_clients, order, owner);
    stn_mem_free(order);
    return STN_OK;
}

enum stn_code stn_partition_make(const struct stn_partition *partition, const struct stn_dataset *dataset, uint64_t seed,
                                 size_t *n_clients, size_t *owner, struct stn_err *err)
{
    const size_t n = dataset->n_examples;
    struct stn_rng rng;
    stn_rng_fork(&rng, seed, "partition", 0);
    if (partition->kind == STN_PARTITION_BY) {
        return by_field(partition, dataset, n_clients, owner, err);
    }
    assert(*n_clients > 0 && *n_clients <= STN_PARTITION_CLIENTS_MAX);
    if (n < *n_clients) {
        return stn_err_set(err, STN_INVALID, "%zu examples are too few for %zu clients", n, *n_clients);
    }
    return partition->kind == STN_PARTITION_IID ? evenly(n, &rng, *n_clients, owner, err)
                                                : by_dirichlet(partition, dataset, &rng, *n_clients, owner, err);
}
