#include "compute/model/gguf_write.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct stn_gguf_write {
    struct stn_buf values, tensors, sizes; /* the head's parts; sizes: u64 a tensor */
    uint64_t n_values, n_tensors;
    uint64_t offset; /* of the next tensor described */
    struct stn_buf *to; /* memory, or */
    FILE *file;         /* the file that is not yet there */
    char *path, *temporary;
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
    if (w->file != NULL) {
        (void)fclose(w->file);
        (void)unlink(w->temporary);
    }
    stn_buf_fini(&w->values);
    stn_buf_fini(&w->tensors);
    stn_buf_fini(&w->sizes);
    stn_mem_free(w->path);
    stn_mem_free(w->temporary);
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
    if (size > 0 && fwrite(p, 1, size, w->file) != size) {
        return stn_err_errno(err, errno, "writing %.150s", w->path);
    }
    return STN_OK;
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
    assert(w->to == NULL && w->file == NULL);
    w->to = buf;
    return put_head(w, err);
}

enum stn_code stn_gguf_write_begin(struct stn_gguf_write *w, const char *path, struct stn_err *err)
{
    assert(w->to == NULL && w->file == NULL);
    struct stn_buf name = {0};
    (void)stn_buf_printf(&name, "%s.%ld.tmp", path, (long)getpid());
    w->path = stn_mem_str(path);
    w->temporary = name.failed ? NULL : stn_mem_str((const char *)name.data);
    stn_buf_fini(&name);
    if (w->path == NULL || w->temporary == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to write %.150s", path);
    }
    int fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return stn_err_errno(err, errno, "writing %.150s", path);
    }
    w->file = fdopen(fd, "wb");
    if (w->file == NULL) {
        enum stn_code code = stn_err_errno(err, errno, "writing %.150s", path);
        (void)close(fd);
        (void)unlink(w->temporary);
        return code;
    }
    return put_head(w, err);
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

/* The name in its folder must be on disk too, or a power cut takes the file back. */
static enum stn_code sync_folder(const char *path, struct stn_err *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = stn_mem_str(slash == NULL ? "." : path);
    if (folder == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to write %.150s", path);
    }
    if (slash != NULL) {
        folder[slash == path ? 1 : slash - path] = 0;
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    stn_mem_free(folder);
    if (fd < 0) {
        return stn_err_errno(err, errno, "writing %.150s", path);
    }
    enum stn_code code = STN_OK;
    if (fsync(fd) != 0 && errno != EINVAL) {
        code = stn_err_errno(err, errno, "writing %.150s", path);
    }
    (void)close(fd);
    return code;
}

enum stn_code stn_gguf_write_end(struct stn_gguf_write *w, struct stn_err *err)
{
    assert(w->number == w->n_tensors);
    if (w->to != NULL) {
        return STN_OK;
    }
    FILE *file = w->file;
    w->file = NULL;
    bool written = fflush(file) == 0 && fsync(fileno(file)) == 0;
    int number = errno;
    if (fclose(file) != 0 && written) {
        written = false;
        number = errno;
    }
    if (written && rename(w->temporary, w->path) == 0) {
        return sync_folder(w->path, err);
    }
    number = written ? errno : number;
    (void)unlink(w->temporary);
    return stn_err_errno(err, number, "writing %.150s", w->path);
}
