#include "crypto/replycache.h"

#include "base/mem.h"

static bool is_past(const struct stn_replycache *cache, uint64_t counter)
{
    return counter < cache->end && cache->end - 1 - counter >= STN_SEAL_WINDOW;
}

static void forget(struct stn_replycache *cache, size_t place)
{
    stn_mem_free(cache->kept[place].reply);
    cache->kept[place].reply = NULL;
}

enum stn_code stn_replycache_keep(struct stn_replycache *cache, uint64_t counter,
                                  const struct stn_digest *request, const void *reply, size_t size,
                                  struct stn_err *err)
{
    size_t place = (size_t)(counter % STN_SEAL_WINDOW);
    if (size > STN_REPLYCACHE_SIZE || is_past(cache, counter) ||
        (cache->kept[place].reply != NULL && cache->kept[place].counter == counter)) {
        return STN_OK;
    }
    uint8_t *copy = stn_mem_copy(reply, size);
    if (copy == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to keep a reply of %zu bytes", size);
    }
    if (counter >= cache->end) {
        cache->end = counter + 1;
        for (size_t i = 0; i < STN_SEAL_WINDOW; i++) {
            if (is_past(cache, cache->kept[i].counter)) {
                forget(cache, i);
            }
        }
    }
    forget(cache, place);
    cache->kept[place].counter = counter;
    cache->kept[place].request = *request;
    cache->kept[place].reply = copy;
    cache->kept[place].size = size;
    return STN_OK;
}

bool stn_replycache_find(const struct stn_replycache *cache, uint64_t counter,
                         const struct stn_digest *request, const uint8_t **ret_reply,
                         size_t *ret_size)
{
    size_t place = (size_t)(counter % STN_SEAL_WINDOW);
    if (cache->kept[place].reply == NULL || cache->kept[place].counter != counter ||
        !stn_digest_equal(&cache->kept[place].request, request)) {
        return false;
    }
    *ret_reply = cache->kept[place].reply;
    *ret_size = cache->kept[place].size;
    return true;
}

void stn_replycache_fini(struct stn_replycache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; i < STN_SEAL_WINDOW; i++) {
        forget(cache, i);
    }
    *cache = (struct stn_replycache){0};
}
