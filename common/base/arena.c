#include "base/arena.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

#define BLOCK_SIZE 4096

struct stn_arena_block {
    struct stn_arena_block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) unsigned char bytes[];
};

static struct stn_arena_block *block_with(struct stn_arena *arena, size_t size)
{
    struct stn_arena_block *block = arena->first;
    if (block != NULL && block->size - block->used >= size) {
        return block;
    }
    size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    block = stn_mem_grow(NULL, 1, sizeof *block + room);
    if (block == NULL) {
        return NULL;
    }
    block->used = 0;
    block->size = room;
    block->next = arena->first;
    arena->first = block;
    return block;
}

void *stn_arena_room(struct stn_arena *arena, size_t size)
{
    if (size > PTRDIFF_MAX - BLOCK_SIZE) {
        return NULL;
    }
    const size_t align = alignof(max_align_t), total = (size + align - 1) / align * align;
    if (arena->limit != 0 && (total > arena->limit || arena->size > arena->limit - total)) {
        return NULL;
    }
    struct stn_arena_block *block = block_with(arena, total);
    if (block == NULL) {
        return NULL;
    }
    void *p = block->bytes + block->used;
    block->used += total;
    arena->size += total;
    return p;
}

void *stn_arena_new(struct stn_arena *arena, size_t n, size_t size)
{
    size_t total;
    void *p = __builtin_mul_overflow(n, size, &total) ? NULL : stn_arena_room(arena, total);
    if (p != NULL) {
        memset(p, 0, total);
    }
    return p;
}

void *stn_arena_copy(struct stn_arena *arena, const void *p, size_t size)
{
    void *copy = stn_arena_room(arena, size);
    if (copy != NULL && size > 0) {
        memcpy(copy, p, size);
    }
    return copy;
}

char *stn_arena_str(struct stn_arena *arena, const char *s)
{
    return stn_arena_copy(arena, s, strlen(s) + 1);
}

void stn_arena_fini(struct stn_arena *arena)
{
    struct stn_arena_block *block = arena->first;
    while (block != NULL) {
        struct stn_arena_block *next = block->next;
        stn_mem_free(block);
        block = next;
    }
    arena->first = NULL;
    arena->size = 0;
}
