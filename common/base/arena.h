/* arena: many small allocations with one lifetime (a turn, a message, a config), freed at once.
 * What it gives is aligned for any type. Thread: one at a time. */
#ifndef STN_BASE_ARENA_H
#define STN_BASE_ARENA_H

#include <stddef.h>

struct stn_arena_block;

/* Zeroed is empty and ready. limit is the most bytes it may hold in all (0: no limit). */
struct stn_arena {
    struct stn_arena_block *first;
    size_t size;
    size_t limit;
};

/* NULL when there is no memory or the limit would be passed. new: zeroed; room: for what is filled at once, not zeroed. */
void *stn_arena_new(struct stn_arena *arena, size_t n, size_t size);
void *stn_arena_room(struct stn_arena *arena, size_t size);
void *stn_arena_copy(struct stn_arena *arena, const void *p, size_t size);
char *stn_arena_str(struct stn_arena *arena, const char *s);

/* Everything it gave is gone; the arena is empty and ready again, its limit kept. Zeroed is fine. */
void stn_arena_fini(struct stn_arena *arena);

#endif
