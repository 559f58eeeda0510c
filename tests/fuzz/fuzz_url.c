/* The door of join URLs: what is taken is written again and taken again, and is then the same. */
#include "tests/lib/fuzz.h"

#include <string.h>

#include "base/mem.h"
#include "channel/url.h"
#include "tests/lib/scratch.h"

static void round_trip(const struct stn_url *url)
{
    char text[STN_URL_TEXT], again[STN_URL_TEXT], link[STN_URL_LINK];
    struct stn_url back;
    stn_url_put(url, text);
    stn_scratch_require(stn_url_get(&back, text, NULL) == STN_OK);
    stn_url_put(&back, again);
    stn_scratch_require(strcmp(text, again) == 0 && stn_url_is_tls(url) == stn_url_is_tls(&back));
    stn_url_put_link(url, link);
    stn_scratch_require(strlen(link) > strlen("ws://") + strlen(url->host));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stn_url url = {0};
    char *text = stn_mem_new(size + 1, 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    if (stn_url_get(&url, text, NULL) == STN_OK) {
        round_trip(&url);
    }
    url = (struct stn_url){0};
    if (stn_url_get_place(&url, text, NULL) == STN_OK) {
        round_trip(&url);
    }
    stn_mem_free(text);
    return 0;
}
