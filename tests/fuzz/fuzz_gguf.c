/* The door of model files. What opens is walked to its ends: every tensor is read as floats, every metadata value
 * as each kind, and the model and the vocabulary in it are taken if they are whole. */
#include "tests/lib/fuzz.h"

#include <stdlib.h>

#include "base/mem.h"
#include "compute/model/arch.h"
#include "compute/model/gguf.h"
#include "compute/model/tokenizer.h"

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void read_tensor(const struct stn_gguf *gguf, const struct stn_gguf_tensor *tensor)
{
    const struct stn_quant_format *format = stn_quant_format(tensor->type);
    require(tensor->data >= gguf->data && tensor->data + tensor->size <= gguf->data + gguf->size);
    size_t n = (tensor->size - format->tail) / format->size * format->n_values;
    n = n < 4096 ? n : 4096;
    float *x = stn_mem_new(n, sizeof *x);
    if (x != NULL) {
        (void)stn_quant_to_f32(tensor->type, x, tensor->data, n);
    }
    stn_mem_free(x);
    n = (size_t)(tensor->ne[0] * tensor->ne[1] * tensor->ne[2] * tensor->ne[3]);
    if (tensor->type == STN_QUANT_I2_S && n % STN_QUANT_I2_S_BLOCK == 0) {
        int8_t q[STN_QUANT_I2_S_BLOCK + 1];
        size_t at = n > sizeof q ? n - sizeof q : 0;
        (void)stn_quant_i2_s_unpack(n % 256 == 0 ? STN_QUANT_I2_S_X86 : STN_QUANT_I2_S_ARM, q, tensor->data, at, n - at);
        (void)stn_quant_i2_s_scale(tensor->data, n);
    }
}

static void read_value(const struct stn_gguf *gguf, const char *key)
{
    uint64_t u64;
    float f32;
    bool truth;
    struct stn_gguf_str str;
    struct stn_gguf_array array;
    (void)!stn_gguf_u64(gguf, key, &u64, NULL);
    (void)!stn_gguf_f32(gguf, key, &f32, NULL);
    (void)!stn_gguf_bool(gguf, key, &truth, NULL);
    (void)!stn_gguf_str(gguf, key, &str, NULL);
    if (stn_gguf_array(gguf, key, STN_GGUF_STR, &array, NULL) == STN_OK) {
        while (stn_gguf_next(&array, &str)) {
            require(str.size == 0 || (const uint8_t *)str.p + str.size <= gguf->data + gguf->size);
        }
        require(array.n == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stn_gguf *gguf = NULL;
    if (stn_gguf_parse(&gguf, data, size, "input", NULL) != STN_OK) {
        return 0;
    }
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        read_tensor(gguf, &gguf->tensors[i]);
    }
    for (size_t i = 0; i < gguf->n_values; i++) {
        read_value(gguf, gguf->values[i].key);
    }
    struct stn_arch *arch = NULL;
    if (stn_arch_new(&arch, gguf, NULL) == STN_OK) {
        require(stn_arch_n_params(arch) > 0);
        stn_arch_free(arch);
    }
    struct stn_tokenizer *tokenizer = NULL;
    if (stn_tokenizer_new(&tokenizer, gguf, NULL) == STN_OK) {
        struct stn_tokenizer_list list = {0};
        (void)!stn_tokenizer_encode(tokenizer, &list, "some text: 123\n", 15, STN_TOKENIZER_BOS, NULL);
        stn_tokenizer_list_fini(&list);
        stn_tokenizer_free(tokenizer);
    }
    stn_gguf_close(gguf);
    return 0;
}
