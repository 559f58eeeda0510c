/* partition: whose example is whose. Splits a dataset among clients in one of three ways:
 *   iid             shuffled and dealt out evenly
 *   dirichlet:A     every class is shared out by its own draw of Dirichlet(A): small A, lopsided clients (Hsu et al.
 *                   2019). The class is the first of the fields label, intent, category, class and source that examples have
 *   by:FIELD        one client for each value of FIELD, in order of first appearance
 * Every example goes to exactly one client. Seeded. Thread: any. */
#ifndef STN_CLIENT_SIMULATE_PARTITION_H
#define STN_CLIENT_SIMULATE_PARTITION_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/train/dataset.h"

enum stn_partition_kind {
    STN_PARTITION_IID,
    STN_PARTITION_DIRICHLET,
    STN_PARTITION_BY
};

struct stn_partition {
    enum stn_partition_kind kind;
    double alpha;      /* DIRICHLET */
    const char *field; /* BY; borrowed from the text */
};

#define STN_PARTITION_CLIENTS_MAX 10000

/* "iid", "dirichlet:0.1", "by:home". */
enum stn_code stn_partition_parse(struct stn_partition *ret, const char *text, struct stn_err *err) STN_CHECKED;

/* owner[i] is example i's client, below *n_clients. BY sets *n_clients, STN_LIMIT when FIELD has more values than
 * STN_PARTITION_CLIENTS_MAX; the others give *n_clients (1 to that) at least one example each, or STN_INVALID when there are
 * not enough. owner has n_examples elements. */
enum stn_code stn_partition_make(const struct stn_partition *partition, const struct stn_dataset *dataset, uint64_t seed,
                                 size_t *n_clients, size_t *owner, struct stn_err *err) STN_CHECKED;

/* Lists examples by their group (a client, say): those of group g are order[start[g]] to order[start[g + 1] - 1], ascending.
 * start has n_groups + 1 elements, order n. */
void stn_partition_list(const size_t *group, size_t n, size_t n_groups, size_t *start, size_t *order);

#endif
