/* The door of safetensors files: what is taken lies inside the input and can be read. */
#include "tests/lib/fuzz.h"

#include <stdlib.h>

#include "compute/model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stn_safetensors *file = NULL;
    if (stn_safetensors_parse(&file, data, size, "input", NULL) != STN_OK) {
        return 0;
    }
    for (size_t i = 0; i < stn_safetensors_n_arrays(file); i++) {
        const struct stn_safetensors_array *array = stn_safetensors_array(file, i);
        float some[16];
        if (array->data < data || array->size > (uint64_t)(data + size - array->data) ||
            stn_safetensors_find(file, array->name) != array) {
            abort();
        }
        for (uint64_t at = 0; at < array->n_values; at += 16) {
            size_t n = array->n_values - at < 16 ? (size_t)(array->n_values - at) : 16;
            if (stn_safetensors_floats(array, at, n, some, NULL) != STN_OK) {
                break;
            }
        }
    }
    stn_safetensors_close(file);
    return 0;
}
