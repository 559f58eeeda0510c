#include "compute/model/gguf_write.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"

struct stn_gguf_write {
    struct stn_buf values, tensors, sizes; /* the head's parts; sizes: u64 a tensor */
    uint64_t n_values, n_tensors;
    uint64_t offset; /* of the next tensor described */
    struct stn_buf *to; /* memory, or */
    bool drafted;       /* the file that is not yet there */
    struct stn_file_draft draft;
    size_t number; /* of the tensor whose bytes come */
    uint64_t left; /* of its bytes */
};

enum stn_code stn_gguf_write_new(struct stn_gguf_write **ret, struct stn_err *err)
{
    *ret = stn_mem_new(1, sizeof **ret);
    return *ret == NULL ? stn_err_set(err, STN_MEMORY, "no memory to write a gguf file") : STN_OK;
}

void stn_gguf_write_free(struct stn_gguf_write *w)
{
    if (w == NULL) {
        return;
    }
    if (w->drafted) {
        stn_file_draft_drop(&w->draft);
    }
    stn_buf_fini(&w->values);
    stn_buf_fini(&w->tensors);
    stn_buf_fini(&w->sizes);
    stn_mem_free(w);
}

static void add_str(struct stn_buf *buf, const char *s)
{
    size_t size = strlen(s);
    (void)stn_buf_add_u64(buf, size);
    (void)stn_buf_add(buf, s, size);
}

static void add_key(struct stn_gguf_write *w, const char *key, enum stn_gguf_kind kind)
{
    add_str(&w->values, key);
    (void)stn_buf_add_u32(&w->values, (uint32_t)kind);
    w->n_values++;
}

void stn_gguf_write_str(struct stn_gguf_write *w, const char *key, const char *value)
{
    add_key(w, key, STN_GGUF_STR);
    add_str(&w->values, value);
}

void stn_gguf_write_u32(struct stn_gguf_write *w, const char *key, uint32_t value)
{
    add_key(w, key, STN_GGUF_U32);
    (void)stn_buf_add_u32(&w->values, value);
}

void stn_gguf_write_u64(struct stn_gguf_write *w, const char *key, uint64_t value)
{
    add_key(w, key, STN_GGUF_U64);
    (void)stn_buf_add_u64(&w->values, value);
}

void stn_gguf_write_f32(struct stn_gguf_write *w, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_key(w, key, STN_GGUF_F32);
    (void)stn_buf_add_u32(&w->values, bits);
}

void stn_gguf_write_bool(struct stn_gguf_write *w, const char *key, bool value)
{
    add_key(w, key, STN_GGUF_BOOL);
    (void)stn_buf_add_u8(&w->values, value);
}

void stn_gguf_write_value(struct stn_gguf_write *w, const struct stn_gguf_value *value)
{
    add_key(w, value->key, value->kind);
    (void)stn_buf_add(&w->values, value->data, value->size);
}

static uint64_t padded(uint64_t size)
{
    return (size + STN_GGUF_ALIGN - 1) / STN_GGUF_ALIGN * STN_GGUF_ALIGN;
}

void stn_gguf_write_tensor(struct stn_gguf_write *w, const char *name, enum stn_quant_type type,
                           uint32_t n_dims, const uint64_t *ne)
{
    const struct stn_quant_format *format = stn_quant_format(type);
    assert(format != NULL && n_dims >= 1 && n_dims <= STN_GGUF_DIMS && ne[0] % format->n_values == 0);
    uint64_t n = 1;
    add_str(&w->tensors, name);
    (void)stn_buf_add_u32(&w->tensors, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        n *= ne[i];
        (void)stn_buf_add_u64(&w->tensors, ne[i]);
    }
    (void)stn_buf_add_u32(&w->tensors, (uint32_t)type);
    (void)stn_buf_add_u64(&w->tensors, w->offset);
    uint64_t size = n / format->n_values * format->size + format->tail;
    (void)stn_buf_add_u64(&w->sizes, size);
    w->offset += padded(size);
    w->n_tensors++;
}

static enum stn_code put(struct stn_gguf_write *w, const void *p, size_t size, struct stn_err *err)
{
    if (w->to != NULL) {
        return stn_buf_add(w->to, p, size)
                   ? STN_OK
                   : stn_err_set(err, STN_MEMORY, "no memory for %zu more bytes of a gguf file", size);
    }
    return size == 0 ? STN_OK : stn_file_draft_put(&w->draft, p, size, err);
}

static enum stn_code put_zeroes(struct stn_gguf_write *w, uint64_t size, struct stn_err *err)
{
    static const uint8_t zeroes[STN_GGUF_ALIGN];
    assert(size < sizeof zeroes);
    return put(w, zeroes, (size_t)size, err);
}

static uint64_t size_of_tensor(const struct stn_gguf_write *w, size_t number)
{
    return number < w->n_tensors ? stn_buf_get_u64(w->sizes.data + number * 8) : 0;
}

static enum stn_code put_head(struct stn_gguf_write *w, struct stn_err *err)
{
    struct stn_buf head = {0};
    enum stn_code code = STN_OK;
    (void)stn_buf_add_str(&head, "GGUF");
    (void)stn_buf_add_u32(&head, 3);
    (void)stn_buf_add_u64(&head, w->n_tensors);
    (void)stn_buf_add_u64(&head, w->n_values);
    (void)stn_buf_add(&head, w->values.data, w->values.size);
    (void)stn_buf_add(&head, w->tensors.data, w->tensors.size);
    if (head.failed || w->values.failed || w->tensors.failed || w->sizes.failed) {
        code = stn_err_set(err, STN_MEMORY, "no memory for the head of a gguf file");
    }
    if (code == STN_OK) {
        code = put(w, head.data, head.size, err);
    }
    if (code == STN_OK) {
        code = put_zeroes(w, padded(head.size) - head.size, err);
    }
    stn_buf_fini(&head);
    w->left = size_of_tensor(w, 0);
    return code;
}

enum stn_code stn_gguf_write_begin_buf(struct stn_gguf_write *w, struct stn_buf *buf,
                                       struct stn_err *err)
{
    assert(w->to == NULL && !w->drafted);
    w->to = buf;
    return put_head(w, err);
}

enum stn_code stn_gguf_write_begin(struct stn_gguf_write *w, const char *path, struct stn_err *err)
{
    assert(w->to == NULL && !w->drafted);
    enum stn_code code = stn_file_draft(&w->draft, path, STN_FILE_MODE, err);
    w->drafted = code == STN_OK;
    return code == STN_OK ? put_head(w, err) : code;
}

enum stn_code stn_gguf_write_data(struct stn_gguf_write *w, const void *p, size_t size,
                                  struct stn_err *err)
{
    const uint8_t *bytes = p;
    while (size > 0) {
        assert(w->number < w->n_tensors);
        size_t n = size < w->left ? size : (size_t)w->left;
        enum stn_code code = put(w, bytes, n, err);
        bytes += n;
        size -= n;
        w->left -= n;
        if (code == STN_OK && w->left == 0) {
            uint64_t whole = size_of_tensor(w, w->number);
            code = put_zeroes(w, padded(whole) - whole, err);
            w->left = size_of_tensor(w, ++w->number);
        }
        if (code != STN_OK) {
            return code;
        }
    }
    return STN_OK;
}

enum stn_code stn_gguf_write_end(struct stn_gguf_write *w, struct stn_err *err)
{
    assert(w->number == w->n_tensors);
    return w->to != NULL ? STN_OK : stn_file_draft_keep(&w->draft, err);
}
