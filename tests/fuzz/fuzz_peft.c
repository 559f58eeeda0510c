/* The door of PEFT folders: the input is adapter_config.json beside weights that are in order. What is taken is exported and
 * taken again, and is then the same. */
#include "tests/lib/fuzz.h"

#include <string.h>

#include "compute/model/peft.h"
#include "io/file.h"
#include "tests/lib/scratch.h"

/* An adapter's folder: corpus/adapter has one. */
static void begin(void)
{
    static bool has_begun;
    struct stn_adapter *adapter = NULL;
    if (!has_begun) {
        stn_scratch_require(stn_adapter_file_load(&adapter, NULL, STN_FUZZ_CORPUS "/adapter/two.gguf", NULL) == STN_OK);
        stn_scratch_require(stn_peft_export(adapter, NULL, stn_scratch_path("in"), NULL) == STN_OK);
        stn_adapter_free(adapter);
        has_begun = true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stn_adapter *adapter = NULL, *again = NULL;
    struct stn_err err;
    begin();
    stn_scratch_put("in/" STN_PEFT_CONFIG, data, size);
    if (stn_peft_import(&adapter, NULL, stn_scratch_path("in"), &err) == STN_OK) {
        stn_scratch_require(stn_peft_export(adapter, NULL, stn_scratch_path("out"), &err) == STN_OK);
        stn_scratch_require(stn_peft_import(&again, NULL, stn_scratch_path("out"), &err) == STN_OK);
        stn_scratch_require(stn_adapter_is_like(adapter, again));
        stn_scratch_require(memcmp(adapter->values, again->values, adapter->n_values * sizeof *adapter->values) == 0);
        stn_scratch_require(stn_file_remove_tree(stn_scratch_path("out"), &err) == STN_OK);
    }
    stn_adapter_free(adapter);
    stn_adapter_free(again);
    return 0;
}
