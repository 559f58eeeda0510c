/* heap: a queue by time. Entries of equal time come out in the order they went in. Thread: one at a time. */
#ifndef STN_BASE_HEAP_H
#define STN_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stn_heap_entry {
    uint64_t time;
    uint64_t number; /* which push it was */
    void *value;
};

/* Zeroed is empty and ready. */
struct stn_heap {
    struct stn_heap_entry *entries;
    size_t n;
    size_t room;
    uint64_t n_pushed;
};

/* False when there is no memory. */
bool stn_heap_push(struct stn_heap *heap, uint64_t time, void *value);
/* The earliest, still in its place; NULL when it is empty. */
const struct stn_heap_entry *stn_heap_top(const struct stn_heap *heap);
/* Takes the earliest off. False when it is empty. */
bool stn_heap_pop(struct stn_heap *heap, struct stn_heap_entry *ret);
void stn_heap_fini(struct stn_heap *heap);

#endif
