/* The door of the operator's and the owner's files: any text, read by a table with every type in
 * it. */
#include <assert.h>
#include <string.h>

#include "io/conf.h"
#include "tests/lib/fuzz.h"

struct settings {
    char name[16];
    uint64_t count, memory;
    double rate;
    bool on;
    int kind;
    size_t n_each;
};

static const char *const kinds[] = {"cosine", "linear", "constant", NULL};

static enum stn_code each(void *to, const char *rest, const char *value, struct stn_err *err)
{
    (void)err;
    ((struct settings *)to)->n_each += strlen(rest) + strlen(value);
    return STN_OK;
}

#define AT(member) .offset = offsetof(struct settings, member)
static const struct stn_conf_row rows[] = {
    {.section = "", .key = "name", .type = STN_CONF_STR, AT(name), .size = 16},
    {.section = "train",
     .key = "count",
     .type = STN_CONF_U64,
     AT(count),
     .min = 1,
     .max = 100,
     .required = true},
    {.section = "train", .key = "rate", .type = STN_CONF_F64, AT(rate), .min = 0, .max = 1},
    {.section = "train", .key = "memory", .type = STN_CONF_SIZE, AT(memory)},
    {.section = "train", .key = "on", .type = STN_CONF_BOOL, AT(on)},
    {.section = "train", .key = "kind", .type = STN_CONF_WORD, AT(kind), .words = kinds},
    {.section = "data", .key = "task.", .type = STN_CONF_EACH, .each = each},
    {.key = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings settings = {0};
    struct stn_err err = {0};
    enum stn_code code = stn_conf_parse(&settings, rows, "fuzz", (const char *)data, size, &err);
    assert(settings.name[15] == '\0' && settings.kind >= 0 && settings.kind < 3);
    if (code == STN_OK) {
        assert(settings.count >= 1 && settings.count <= 100 && settings.rate >= 0 &&
               settings.rate <= 1);
    } else {
        assert(strncmp(err.text, "fuzz", 4) == 0 && err.code == code);
    }
    return 0;
}
