#include "client/cli/tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define DIGITS 16 /* of one number, with its zero */

enum stn_code stn_tokens_parse(int32_t **ret, size_t *ret_n, const char *text, const char *what, struct stn_err *err)
{
    size_t room = 1, n = 0;
    for (const char *p = text; *p != '\0'; p++) {
        room += *p == ',';
    }
    if (room > STN_TOKENS_MAX) {
        return stn_err_set(err, STN_LIMIT, "%s: %zu numbers, at most %d", what, room, STN_TOKENS_MAX);
    }
    int32_t *list = stn_mem_new(room, sizeof *list);
    if (list == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu numbers", room);
    }
    for (const char *p = text; n < room; n++) {
        size_t size = strcspn(p, ",");
        char word[DIGITS] = {0};
        uint64_t value = 0;
        memcpy(word, p, size < DIGITS ? size : 0);
        if (!stn_str_u64(word, &value) || value > INT32_MAX) {
            stn_mem_free(list);
            return stn_err_set(err, STN_INVALID, "%s: \"%.*s\" is no whole number; give them as 1,2,3", what,
                               (int)(size < 32 ? size : 32), p);
        }
        list[n] = (int32_t)value;
        p += size + (p[size] == ',');
    }
    *ret = list;
    *ret_n = n;
    return STN_OK;
}

enum stn_code stn_tokens_check(const char *text, const char *what, struct stn_err *err)
{
    int32_t *list = NULL;
    size_t n = 0;
    enum stn_code code = stn_tokens_parse(&list, &n, text, what, err);
    stn_mem_free(list);
    return code;
}
