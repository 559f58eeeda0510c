/* The door of adapter files: what is taken is written again and taken again, and is then the same, byte for byte. */
#include "tests/lib/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "compute/model/adapter.h"

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stn_adapter *first = NULL, *second = NULL;
    if (stn_adapter_file_parse(&first, NULL, data, size, "input", NULL) != STN_OK) {
        return 0;
    }
    struct stn_buf one = {0}, two = {0};
    require(stn_adapter_file_write(first, &one, NULL) == STN_OK);
    require(stn_adapter_file_parse(&second, NULL, one.data, one.size, "output", NULL) == STN_OK);
    require(stn_adapter_is_like(first, second));
    require(memcmp(first->values, second->values, first->n_values * sizeof *first->values) == 0);
    require(stn_adapter_file_write(second, &two, NULL) == STN_OK);
    require(one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
    stn_buf_fini(&one);
    stn_buf_fini(&two);
    stn_adapter_free(first);
    stn_adapter_free(second);
    return 0;
}
