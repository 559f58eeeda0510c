#include "crypto/digest.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "base/hex.h"
#include "crypto/digest_wide.h"

static_assert(sizeof(struct stn_digest_state) >= sizeof(crypto_generichash_state),
              "a hash state of the library fits ours");

struct stn_digest stn_digest_of(const void *p, size_t size)
{
    struct stn_digest ret;
    (void)crypto_generichash(ret.bytes, sizeof ret.bytes, p, size, NULL, 0);
    return ret;
}

/* The library wants its state on a cache line, ours lies anywhere: it works on a copy. */
static void load(crypto_generichash_state *to, const struct stn_digest_state *state)
{
    memcpy(to, state, sizeof *to);
}

static void save(struct stn_digest_state *state, const crypto_generichash_state *from)
{
    memcpy(state, from, sizeof *from);
}

void stn_digest_init(struct stn_digest_state *state)
{
    crypto_generichash_state work;
    (void)crypto_generichash_init(&work, NULL, 0, STN_DIGEST_SIZE);
    *state = (struct stn_digest_state){0};
    save(state, &work);
}

void stn_digest_add(struct stn_digest_state *state, const void *p, size_t size)
{
    crypto_generichash_state work;
    load(&work, state);
    (void)crypto_generichash_update(&work, p, size);
    save(state, &work);
}

struct stn_digest stn_digest_end(struct stn_digest_state *state)
{
    struct stn_digest ret;
    crypto_generichash_state work;
    load(&work, state);
    (void)crypto_generichash_final(&work, ret.bytes, sizeof ret.bytes);
    sodium_memzero(state, sizeof *state);
    return ret;
}

bool stn_digest_equal(const struct stn_digest *a, const struct stn_digest *b)
{
    return stn_digest_compare(a, b) == 0;
}

int stn_digest_compare(const struct stn_digest *a, const struct stn_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool stn_digest_is_zero(const struct stn_digest *digest)
{
    return sodium_is_zero(digest->bytes, sizeof digest->bytes) == 1;
}

void stn_digest_put_text(const struct stn_digest *digest, char dst[static STN_DIGEST_TEXT])
{
    stn_hex_put(dst, digest->bytes, sizeof digest->bytes);
}

bool stn_digest_get_text(struct stn_digest *ret, const char *s)
{
    struct stn_digest digest;
    if (!stn_hex_get(digest.bytes, sizeof digest.bytes, s)) {
        return false;
    }
    *ret = digest;
    return true;
}

void stn_digest_kdf(uint8_t ret[static 32], const uint8_t k[static 32], const char *label,
                    const void *ctx, size_t size)
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, k, 32, 32);
    (void)crypto_generichash_update(&state, (const uint8_t *)label, strlen(label) + 1);
    (void)crypto_generichash_update(&state, ctx, size);
    (void)crypto_generichash_final(&state, ret, 32);
    sodium_memzero(&state, sizeof state);
}

struct stn_digest stn_digest_leaf(const void *p, size_t size)
{
    struct stn_digest_state state;
    stn_digest_init(&state);
    stn_digest_add(&state, "\x00", 1);
    stn_digest_add(&state, p, size);
    return stn_digest_end(&state);
}

struct stn_digest stn_digest_node(const struct stn_digest *left, const struct stn_digest *right)
{
    uint8_t bytes[1 + 2 * STN_DIGEST_SIZE] = {0x01};
    memcpy(bytes + 1, left->bytes, STN_DIGEST_SIZE);
    memcpy(bytes + 1 + STN_DIGEST_SIZE, right->bytes, STN_DIGEST_SIZE);
    return stn_digest_of(bytes, sizeof bytes);
}

/* A binary counter of subtrees: two of one height become one of the next, so stack[0 ..
 * popcount(n)) holds the roots of the powers of two in n from the largest to the smallest. */
static void push(struct stn_digest *stack, uint64_t *n_leaves, struct stn_digest node)
{
    size_t top = (size_t)__builtin_popcountll(*n_leaves);
    for (uint64_t n = *n_leaves; n & 1; n >>= 1) {
        node = stn_digest_node(&stack[--top], &node);
    }
    stack[top] = node;
    ++*n_leaves;
}

/* RFC 6962 splits at the largest power of two: the small subtrees on the right are joined first. */
static struct stn_digest fold(const struct stn_digest *stack, uint64_t n_leaves)
{
    size_t top = (size_t)__builtin_popcountll(n_leaves);
    if (top == 0) {
        return stn_digest_of(NULL, 0);
    }
    struct stn_digest root = stack[--top];
    while (top > 0) {
        root = stn_digest_node(&stack[--top], &root);
    }
    return root;
}

struct stn_digest stn_digest_root(const struct stn_digest *leaves, size_t n)
{
    struct stn_digest stack[64];
    uint64_t n_leaves = 0;
    for (size_t i = 0; i < n; i++) {
        push(stack, &n_leaves, leaves[i]);
    }
    return fold(stack, n_leaves);
}

uint64_t stn_digest_n_chunks(uint64_t size)
{
    return size / STN_DIGEST_CHUNK + (size % STN_DIGEST_CHUNK != 0);
}

size_t stn_digest_chunk_size(uint64_t size, uint64_t i)
{
    return stn_digest_run_size(size, i, 1);
}

size_t stn_digest_run_size(uint64_t size, uint64_t i, size_t n)
{
    if (i >= stn_digest_n_chunks(size)) {
        return 0;
    }
    uint64_t left = size - i * STN_DIGEST_CHUNK;
    return left < n * STN_DIGEST_CHUNK ? (size_t)left : n * STN_DIGEST_CHUNK;
}

static struct stn_digest name_of(uint64_t size, const struct stn_digest *root)
{
    uint8_t bytes[1 + 8 + STN_DIGEST_SIZE] = {0x02};
    stn_buf_put_u64(bytes + 1, size);
    memcpy(bytes + 9, root->bytes, STN_DIGEST_SIZE);
    return stn_digest_of(bytes, sizeof bytes);
}

void stn_digest_tree_init(struct stn_digest_tree *tree, struct stn_digest *leaves, size_t room)
{
    assert(leaves != NULL || room == 0);
    *tree = (struct stn_digest_tree){.leaves = leaves, .room = room};
}

static void add_leaf(struct stn_digest_tree *tree, struct stn_digest leaf)
{
    if (tree->n_leaves < tree->room) {
        tree->leaves[tree->n_leaves] = leaf;
    }
    push(tree->stack, &tree->n_leaves, leaf);
}

/* Whole chunks that begin here, as many at a time as there are lanes; how many bytes that were. */
static size_t add_chunks(struct stn_digest_tree *tree, const uint8_t *p, size_t size)
{
    struct stn_digest leaves[STN_DIGEST_WIDE_LANES];
    size_t done = 0, n;
    while ((n = stn_digest_wide_leaves(leaves, p + done, (size - done) / STN_DIGEST_CHUNK)) > 0) {
        for (size_t i = 0; i < n; i++) {
            add_leaf(tree, leaves[i]);
        }
        done += n * STN_DIGEST_CHUNK;
    }
    tree->size += done;
    return done;
}

void stn_digest_tree_add(struct stn_digest_tree *tree, const void *p, size_t size)
{
    const uint8_t *from = p;
    while (size > 0) {
        size_t used = (size_t)(tree->size % STN_DIGEST_CHUNK);
        size_t wide = used == 0 ? add_chunks(tree, from, size) : 0;
        from += wide;
        size -= wide;
        if (size == 0) {
            break;
        }
        if (used == 0) {
            stn_digest_init(&tree->leaf);
            stn_digest_add(&tree->leaf, "\x00", 1);
        }
        size_t n = size < STN_DIGEST_CHUNK - used ? size : STN_DIGEST_CHUNK - used;
        stn_digest_add(&tree->leaf, from, n);
        from += n;
        size -= n;
        tree->size += n;
        if (used + n == STN_DIGEST_CHUNK) {
            add_leaf(tree, stn_digest_end(&tree->leaf));
        }
    }
}

struct stn_digest stn_digest_tree_end(struct stn_digest_tree *tree)
{
    if (tree->size % STN_DIGEST_CHUNK != 0) {
        add_leaf(tree, stn_digest_end(&tree->leaf));
    }
    struct stn_digest root = fold(tree->stack, tree->n_leaves);
    return name_of(tree->size, &root);
}

struct stn_digest stn_digest_blob(const void *p, size_t size)
{
    struct stn_digest_tree tree;
    stn_digest_tree_init(&tree, NULL, 0);
    stn_digest_tree_add(&tree, p, size);
    return stn_digest_tree_end(&tree);
}

struct stn_digest stn_digest_tree_name(const struct stn_digest *leaves, size_t n, uint64_t size)
{
    assert(n == stn_digest_n_chunks(size));
    struct stn_digest root = stn_digest_root(leaves, n);
    return name_of(size, &root);
}

bool stn_digest_tree_check(const struct stn_digest *leaves, size_t n, uint64_t size,
                           const struct stn_digest *digest)
{
    if (n != stn_digest_n_chunks(size)) {
        return false;
    }
    struct stn_digest name = stn_digest_tree_name(leaves, n, size);
    return stn_digest_equal(&name, digest);
}
