/* embed: files that the build puts into the program: the report's page, and Chart.js. */
#ifndef STN_CLIENT_SIMULATE_EMBED_H
#define STN_CLIENT_SIMULATE_EMBED_H

#include <stddef.h>

/* Text, not ended by a zero; *ret_size its bytes. Chart.js is empty where the build found none. */
const char *stn_embed_page(size_t *ret_size);
const char *stn_embed_chart(size_t *ret_size);

#endif
