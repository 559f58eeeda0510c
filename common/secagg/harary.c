#include "secagg/harary.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "crypto/stream.h"

enum stn_code stn_harary_init(struct stn_harary *ret, uint32_t n, uint32_t k,
                              const uint8_t seed[static 32], struct stn_err *err)
{
    assert(k < n && (k % 2 == 0 || k == n - 1));
    struct stn_harary graph = {.n = n, .k = k};
    graph.members = stn_mem_new(n, sizeof *graph.members);
    graph.places = stn_mem_new(n, sizeof *graph.places);
    if (graph.members == NULL || graph.places == NULL) {
        stn_harary_fini(&graph);
        return stn_err_set(err, STN_MEMORY, "no memory for a ring of %u members", n);
    }
    struct stn_stream stream;
    stn_stream_init(&stream, seed, 0);
    for (uint32_t i = 0; i < n; i++) {
        graph.members[i] = i;
    }
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = stn_stream_below(&stream, i), last = graph.members[i - 1];
        graph.members[i - 1] = graph.members[j];
        graph.members[j] = last;
    }
    for (uint32_t i = 0; i < n; i++) {
        graph.places[graph.members[i]] = i;
    }
    stn_stream_fini(&stream);
    *ret = graph;
    return STN_OK;
}

void stn_harary_fini(struct stn_harary *graph)
{
    stn_mem_free(graph->members);
    stn_mem_free(graph->places);
    *graph = (struct stn_harary){0};
}

static int rising(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void stn_harary_neighbours(const struct stn_harary *graph, uint32_t member, uint32_t *ret)
{
    uint32_t n = graph->n, k = graph->k, n_found = 0;
    assert(member < n);
    if (k == n - 1) {
        for (uint32_t other = 0; other < n; other++) {
            if (other != member) {
                ret[n_found++] = other;
            }
        }
        return;
    }
    for (uint32_t distance = 1; distance <= k / 2; distance++) {
        uint32_t place = graph->places[member];
        ret[n_found++] = graph->members[(place + distance) % n];
        ret[n_found++] = graph->members[(place + n - distance) % n];
    }
    qsort(ret, k, sizeof *ret, rising);
}

bool stn_harary_are_neighbours(const struct stn_harary *graph, uint32_t a, uint32_t b)
{
    if (a >= graph->n || b >= graph->n || a == b) {
        return false;
    }
    uint32_t ahead = (graph->places[a] + graph->n - graph->places[b]) % graph->n;
    return graph->k == graph->n - 1 || ahead <= graph->k / 2 || graph->n - ahead <= graph->k / 2;
}

uint32_t stn_harary_slot(const struct stn_harary *graph, uint32_t member, uint32_t of)
{
    if (!stn_harary_are_neighbours(graph, member, of)) {
        return STN_HARARY_NOBODY;
    }
    if (graph->k == graph->n - 1) {
        return of - (of > member);
    }
    uint32_t slot = 0, place = graph->places[member];
    for (uint32_t distance = 1; distance <= graph->k / 2; distance++) {
        slot += graph->members[(place + distance) % graph->n] < of;
        slot += graph->members[(place + graph->n - distance) % graph->n] < of;
    }
    return slot;
}
