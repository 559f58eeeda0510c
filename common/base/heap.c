#include "base/heap.h"

#include "base/mem.h"

static bool is_before(const struct stn_heap_entry *a, const struct stn_heap_entry *b)
{
    return a->time != b->time ? a->time < b->time : a->number < b->number;
}

static void swap(struct stn_heap_entry *a, struct stn_heap_entry *b)
{
    struct stn_heap_entry t = *a;
    *a = *b;
    *b = t;
}

bool stn_heap_push(struct stn_heap *heap, uint64_t time, void *value)
{
    if (heap->n == heap->room) {
        size_t room = heap->room == 0 ? 16 : heap->room * 2;
        struct stn_heap_entry *entries = stn_mem_grow(heap->entries, room, sizeof *entries);
        if (entries == NULL) {
            return false;
        }
        heap->entries = entries;
        heap->room = room;
    }
    size_t i = heap->n++;
    heap->entries[i] =
        (struct stn_heap_entry){.time = time, .number = heap->n_pushed++, .value = value};
    while (i > 0 && is_before(&heap->entries[i], &heap->entries[(i - 1) / 2])) {
        swap(&heap->entries[i], &heap->entries[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    return true;
}

const struct stn_heap_entry *stn_heap_top(const struct stn_heap *heap)
{
    return heap->n == 0 ? NULL : &heap->entries[0];
}

bool stn_heap_pop(struct stn_heap *heap, struct stn_heap_entry *ret)
{
    if (heap->n == 0) {
        return false;
    }
    *ret = heap->entries[0];
    heap->entries[0] = heap->entries[--heap->n];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < heap->n; child++) {
            if (is_before(&heap->entries[child], &heap->entries[least])) {
                least = child;
            }
        }
        if (least == i) {
            return true;
        }
        swap(&heap->entries[i], &heap->entries[least]);
        i = least;
    }
}

void stn_heap_fini(struct stn_heap *heap)
{
    stn_mem_free(heap->entries);
    *heap = (struct stn_heap){0};
}
