#include "client/simulate/partition.h"

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

/* Shares out the examples of each class by cumulated Dirichlet weights (n_clients). */
static void share_out(struct stn_rng *rng, const size_t *class, size_t n, size_t n_classes, double alpha, size_t n_clients,
                      double *weights, size_t *owner)
{
    for (size_t c = 0; c < n_classes; c++) {
        double sum = 0;
        for (size_t k = 0; k < n_clients; k++) {
            sum += stn_rng_gamma(rng, alpha);
            weights[k] = sum;
        }
        for (size_t i = 0; i < n; i++) {
            if (class[i] == c) {
                double u = stn_rng_unit(rng) * sum;
                size_t k = 0;
                while (k + 1 < n_clients && u >= weights[k]) {
                    k++;
                }
                owner[i] = k;
            }
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

enum stn_code stn_partition_make(const struct stn_partition *partition, const struct stn_dataset *dataset, uint64_t seed,
                                 size_t *n_clients, size_t *owner, struct stn_err *err)
{
    const size_t n = dataset->n_examples;
    if (partition->kind != STN_PARTITION_BY && n < *n_clients) {
        return stn_err_set(err, STN_INVALID, "%zu examples are too few for %zu clients", n, *n_clients);
    }
    struct stn_rng rng;
    stn_rng_fork(&rng, seed, "partition", 0);
    size_t n_classes = 0, *scratch = stn_mem_new(n > *n_clients ? n : *n_clients, sizeof *scratch);
    double *weights = stn_mem_new(*n_clients + 1, sizeof *weights);
    enum stn_code code = STN_OK;
    if (scratch == NULL || weights == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory to partition %zu examples", n);
    } else if (partition->kind == STN_PARTITION_IID) {
        deal(&rng, n, *n_clients, scratch, owner);
    } else if (partition->kind == STN_PARTITION_BY) {
        code = classes_of(dataset, partition->field, owner, n_clients, err);
    } else {
        code = classes_of(dataset, class_field(dataset), scratch, &n_classes, err);
        if (code == STN_OK) {
            share_out(&rng, scratch, n, n_classes, partition->alpha, *n_clients, weights, owner);
            memset(scratch, 0, (n > *n_clients ? n : *n_clients) * sizeof *scratch);
            leave_none_empty(n, *n_clients, scratch, owner);
        }
    }
    stn_mem_free(scratch);
    stn_mem_free(weights);
    return code;
}
