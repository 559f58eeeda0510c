#include "secagg/merkle.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

enum stn_code stn_merkle_init(struct stn_merkle *ret, const struct stn_digest *leaves, uint32_t n,
                              struct stn_err *err)
{
    assert(n > 0 && n <= (uint32_t)1 << 31);
    struct stn_merkle tree = {.n = n};
    size_t n_nodes = 0;
    for (uint32_t width = n;; width = width / 2 + width % 2) {
        tree.starts[tree.n_levels++] = n_nodes;
        n_nodes += width;
        if (width == 1) {
            break;
        }
    }
    tree.starts[tree.n_levels] = n_nodes;
    tree.nodes = stn_mem_new(n_nodes, sizeof *tree.nodes);
    if (tree.nodes == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a tree of %u leaves", n);
    }
    memcpy(tree.nodes, leaves, n * sizeof *leaves);
    for (uint32_t level = 1; level < tree.n_levels; level++) {
        const struct stn_digest *below = tree.nodes + tree.starts[level - 1];
        size_t width = tree.starts[level] - tree.starts[level - 1];
        for (size_t i = 0; i < width; i += 2) { /* the last of an odd number goes up as it is */
            tree.nodes[tree.starts[level] + i / 2] =
                i + 1 < width ? stn_digest_node(&below[i], &below[i + 1]) : below[i];
        }
    }
    *ret = tree;
    return STN_OK;
}

void stn_merkle_fini(struct stn_merkle *tree)
{
    stn_mem_free(tree->nodes);
    *tree = (struct stn_merkle){0};
}

const struct stn_digest *stn_merkle_root(const struct stn_merkle *tree)
{
    return &tree->nodes[tree->starts[tree->n_levels - 1]];
}

size_t stn_merkle_room(uint32_t n, size_t n_indices)
{
    size_t n_levels = 0;
    for (uint32_t width = n; width > 1; width = width / 2 + width % 2) {
        n_levels++;
    }
    return n_levels * n_indices;
}

/* What is known of a level on the way up. */
struct walk {
    uint32_t width; /* nodes of the level */
    size_t n;
    uint32_t *at;             /* the known places, rising */
    struct stn_digest *nodes; /* what is there */
};

static const struct stn_digest *take(const struct stn_digest *proof, size_t n_proof, size_t *next)
{
    return *next < n_proof ? &proof[(*next)++] : NULL;
}

/* False when the proof is too short. */
static bool climb(struct walk *walk, const struct stn_digest *proof, size_t n_proof, size_t *next)
{
    size_t out = 0;
    for (size_t i = 0; i < walk->n; i++, out++) {
        uint32_t at = walk->at[i];
        struct stn_digest node = walk->nodes[i];
        if (at % 2 == 1) {
            const struct stn_digest *left = take(proof, n_proof, next);
            if (left == NULL) {
                return false;
            }
            node = stn_digest_node(left, &node);
        } else if (i + 1 < walk->n && walk->at[i + 1] == at + 1) {
            node = stn_digest_node(&node, &walk->nodes[++i]);
        } else if (at + 1 < walk->width) {
            const struct stn_digest *right = take(proof, n_proof, next);
            if (right == NULL) {
                return false;
            }
            node = stn_digest_node(&node, right);
        }
        walk->at[out] = at / 2;
        walk->nodes[out] = node;
    }
    walk->n = out;
    walk->width = walk->width / 2 + walk->width % 2;
    return true;
}

/* Whether place `at` of a level has one of the indices under it. */
static bool is_known(const uint32_t *indices, size_t n_indices, uint32_t level, uint32_t at)
{
    size_t low = 0, high = n_indices;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (indices[middle] >> level < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < n_indices && indices[low] >> level == at;
}

size_t stn_merkle_prove(const struct stn_merkle *tree, const uint32_t *indices, size_t n_indices,
                        struct stn_digest *ret)
{
    size_t n_proof = 0;
    for (uint32_t level = 0; level + 1 < tree->n_levels; level++) {
        const struct stn_digest *nodes = tree->nodes + tree->starts[level];
        size_t width = tree->starts[level + 1] - tree->starts[level];
        uint32_t before = UINT32_MAX;
        for (size_t i = 0; i < n_indices; i++) {
            assert(indices[i] < tree->n && (i == 0 || indices[i] > indices[i - 1]));
            uint32_t at = indices[i] >> level, other = at ^ 1;
            if (at != before && other < width && !is_known(indices, n_indices, level, other)) {
                ret[n_proof++] = nodes[other];
            }
            before = at;
        }
    }
    return n_proof;
}

enum stn_code stn_merkle_check(const struct stn_digest *root, uint32_t n, const uint32_t *indices,
                               const struct stn_digest *leaves, size_t n_indices,
                               const struct stn_digest *proof, size_t n_proof, struct stn_err *err)
{
    for (size_t i = 0; i < n_indices; i++) {
        if (indices[i] >= n || (i > 0 && indices[i] <= indices[i - 1])) {
            return stn_err_set(err, STN_INVALID, "leaf %u of %u is out of order", indices[i], n);
        }
    }
    if (n_indices == 0) {
        return stn_err_set(err, STN_INVALID, "a proof of no leaves");
    }
    struct walk walk = {.width = n, .n = n_indices};
    walk.at = stn_mem_copy(indices, n_indices * sizeof *indices);
    walk.nodes = stn_mem_copy(leaves, n_indices * sizeof *leaves);
    enum stn_code code = STN_OK;
    size_t next = 0;
    if (walk.at == NULL || walk.nodes == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory for a proof of %zu leaves", n_indices);
        goto out;
    }
    bool fits = true;
    while (fits && walk.width > 1) {
        fits = climb(&walk, proof, n_proof, &next);
    }
    if (!fits || next != n_proof || !stn_digest_equal(&walk.nodes[0], root)) {
        code = stn_err_set(err, STN_DENIED, "%zu leaves are not proved to be among the %u",
                           n_indices, n);
    }
out:
    stn_mem_free(walk.at);
    stn_mem_free(walk.nodes);
    return code;
}
