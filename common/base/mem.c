#include "base/mem.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static _Atomic uint64_t n_allocations;
static _Atomic uint64_t fail_at; /* 0: never */

static bool may_allocate(size_t n, size_t size, size_t *ret_size)
{
    uint64_t number = atomic_fetch_add_explicit(&n_allocations, 1, memory_order_relaxed) + 1;
    uint64_t limit = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (limit != 0 && number >= limit) {
        return false;
    }
    if (__builtin_mul_overflow(n, size, ret_size) || *ret_size > PTRDIFF_MAX - STN_MEM_ALIGN) {
        return false;
    }
    if (*ret_size == 0) {
        *ret_size = 1;
    }
    return true;
}

void *stn_mem_new(size_t n, size_t size)
{
    size_t total;
    return may_allocate(n, size, &total) ? calloc(1, total) : NULL;
}

void *stn_mem_grow(void *p, size_t n, size_t size)
{
    size_t total;
    return may_allocate(n, size, &total) ? realloc(p, total) : NULL;
}

void *stn_mem_aligned(size_t n, size_t size)
{
    size_t total;
    if (!may_allocate(n, size, &total)) {
        return NULL;
    }
    total = (total + STN_MEM_ALIGN - 1) / STN_MEM_ALIGN * STN_MEM_ALIGN;
    void *p = aligned_alloc(STN_MEM_ALIGN, total);
    if (p != NULL) {
        memset(p, 0, total);
    }
    return p;
}

void *stn_mem_copy(const void *p, size_t size)
{
    void *copy = stn_mem_new(1, size);
    if (copy != NULL && size > 0) {
        memcpy(copy, p, size);
    }
    return copy;
}

char *stn_mem_str(const char *s)
{
    return stn_mem_copy(s, strlen(s) + 1);
}

void stn_mem_free(void *p)
{
    free(p);
}

void stn_mem_trim(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

void stn_mem_hoard(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20); /* the most that it takes */
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
}

uint64_t stn_mem_count(void)
{
    return atomic_load_explicit(&n_allocations, memory_order_relaxed);
}

void stn_mem_fail_from(uint64_t n)
{
    uint64_t now = stn_mem_count();
    atomic_store_explicit(&fail_at, n == 0 ? 0 : now + n, memory_order_relaxed);
}
