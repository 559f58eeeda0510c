#include "client/simulate/embed.h"

/* The assembler reads the files; the build gives their paths. */
#define EMBED(name, path)                                                                                              \
    __asm__(".pushsection .rodata\n" #name "_begin:\n.incbin \"" path "\"\n" #name "_end:\n.byte 0\n.popsection\n");     \
    extern const char name##_begin[] __attribute__((visibility("hidden")));                                            \
    extern const char name##_end[] __attribute__((visibility("hidden")))

EMBED(page, STN_EMBED_PAGE);
#ifdef STN_EMBED_CHART
EMBED(chart, STN_EMBED_CHART);
#else
static const char chart_begin[1], *const chart_end = chart_begin;
#endif

const char *stn_embed_page(size_t *ret_size)
{
    *ret_size = (size_t)(page_end - page_begin);
    return page_begin;
}

const char *stn_embed_chart(size_t *ret_size)
{
    *ret_size = (size_t)(chart_end - chart_begin);
    return chart_begin;
}
