#include "tests/lib/run.h"

#include <string.h>

#include "secagg/harary.h"

static struct stn_harary graph_of(uint32_t n, uint32_t k, uint8_t seed)
{
    uint8_t key[32] = {seed};
    struct stn_harary graph;
    ck_assert_int_eq(stn_harary_init(&graph, n, k, key, NULL), STN_OK);
    return graph;
}

START_TEST(neighbourhood_is_mutual_and_everybody_has_k)
{
    static const uint32_t sizes[][2] = {{5, 4}, {6, 5}, {63, 62}, {64, 20}, {101, 32}, {500, 104}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t n = sizes[i][0], k = sizes[i][1], list[128];
        struct stn_harary graph = graph_of(n, k, (uint8_t)i);
        for (uint32_t member = 0; member < n; member++) {
            stn_harary_neighbours(&graph, member, list);
            uint32_t n_found = 0;
            for (uint32_t other = 0; other < n; other++) {
                bool is_listed = n_found < k && list[n_found] == other;
                ck_assert(stn_harary_are_neighbours(&graph, member, other) == is_listed);
                ck_assert(stn_harary_are_neighbours(&graph, other, member) == is_listed);
                uint32_t slot = stn_harary_slot(&graph, member, other);
                ck_assert_uint_eq(slot, is_listed ? n_found : STN_HARARY_NOBODY);
                n_found += is_listed;
            }
            ck_assert_uint_eq(n_found, k);
        }
        ck_assert(!stn_harary_are_neighbours(&graph, 0, n));
        stn_harary_fini(&graph);
        stn_harary_fini(&graph);
    }
}
END_TEST

/* Steps from member 0 when the lost are out of the way. */
static uint32_t reached(const struct stn_harary *graph, const bool *lost)
{
    uint32_t queue[512], n_queued = 1, list[128];
    bool seen[512] = {true};
    queue[0] = 0;
    for (uint32_t i = 0; i < n_queued; i++) {
        stn_harary_neighbours(graph, queue[i], list);
        for (uint32_t j = 0; j < graph->k; j++) {
            if (!seen[list[j]] && !lost[list[j]]) {
                seen[list[j]] = true;
                queue[n_queued++] = list[j];
            }
        }
    }
    return n_queued;
}

START_TEST(those_who_stay_are_connected_when_a_fifth_is_gone)
{
    for (uint8_t seed = 0; seed < 50; seed++) {
        struct stn_harary graph = graph_of(500, 104, seed);
        bool lost[512] = {false};
        for (uint32_t i = 0; i < 100; i++) {
            lost[1 + (i * 37 + seed) % 499] = true;
        }
        ck_assert_uint_eq(reached(&graph, lost), 400);
        stn_harary_fini(&graph);
    }
}
END_TEST

START_TEST(the_seed_alone_decides_and_every_ring_is_as_likely)
{
    struct stn_harary a = graph_of(64, 20, 1), b = graph_of(64, 20, 1), c = graph_of(64, 20, 2);
    ck_assert_mem_eq(a.members, b.members, 64 * sizeof *a.members);
    ck_assert_mem_ne(a.members, c.members, 64 * sizeof *a.members);
    stn_harary_fini(&a);
    stn_harary_fini(&b);
    stn_harary_fini(&c);
    uint32_t first[5] = {0};
    for (uint32_t i = 0; i < 5000; i++) {
        uint8_t key[32];
        memset(key, 0, sizeof key);
        memcpy(key, &i, sizeof i);
        struct stn_harary graph;
        ck_assert_int_eq(stn_harary_init(&graph, 5, 4, key, NULL), STN_OK);
        first[graph.members[0]]++;
        stn_harary_fini(&graph);
    }
    for (int i = 0; i < 5; i++) {
        ck_assert(first[i] > 1000 - 142 && first[i] < 1000 + 142); /* five standard deviations */
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("graph");
    TCase *tc = tcase_create("graph");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, neighbourhood_is_mutual_and_everybody_has_k);
    tcase_add_test(tc, those_who_stay_are_connected_when_a_fifth_is_gone);
    tcase_add_test(tc, the_seed_alone_decides_and_every_ring_is_as_likely);
    suite_add_tcase(s, tc);
    return s;
}
