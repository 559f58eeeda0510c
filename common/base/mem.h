/* mem: the one door to the heap, so that tests can count allocations and make each of them fail in turn.
 * All sizes are in bytes. Everything returned is freed with stn_mem_free. Thread: any. */
#ifndef STN_BASE_MEM_H
#define STN_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#define STN_MEM_ALIGN 64 /* what stn_mem_aligned gives: a cache line, and the widest vector register */

/* NULL when there is no memory. Zeroed. n * size is checked for overflow. */
void *stn_mem_new(size_t n, size_t size);

/* As realloc for n * size bytes; what is new is not zeroed, which is for large blocks that are filled at once. NULL leaves
 * the old block as it was. */
void *stn_mem_grow(void *p, size_t n, size_t size);

/* Zeroed, aligned to STN_MEM_ALIGN. */
void *stn_mem_aligned(size_t n, size_t size);

/* A copy of size bytes, or of a string. */
void *stn_mem_copy(const void *p, size_t size);
char *stn_mem_str(const char *s);

void stn_mem_free(void *p);

/* What is free goes back to the system, where the heap would keep it for later: after much has been freed at once. */
void stn_mem_trim(void);

/* From now on what is free stays with the process, in blocks of up to 32 MiB and where the C library is glibc: for one that takes the same blocks again and again, and
 * does not want each to come from the system page by page. */
void stn_mem_hoard(void);

/* How many allocations there have been in this process: a step that must not allocate compares two readings. */
uint64_t stn_mem_count(void);

/* For tests: the n-th allocation from now (1 is the next) and all after it fail; 0 ends that. */
void stn_mem_fail_from(uint64_t n);

#endif
