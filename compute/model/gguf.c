#include "compute/model/gguf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define TENSOR_SIZE 32 /* the least that the description of a tensor takes */
#define VALUE_SIZE 13  /* the least that a key and its value take */
#define ALIGN_LEAST 8
#define ALIGN_MOST 65536

static const struct {
    const char *name;
    size_t size;
} kinds[STN_GGUF_N_KINDS] = {
    [STN_GGUF_U8] = {"u8", 1},   [STN_GGUF_I8] = {"i8", 1},     [STN_GGUF_U16] = {"u16", 2},
    [STN_GGUF_I16] = {"i16", 2}, [STN_GGUF_U32] = {"u32", 4},   [STN_GGUF_I32] = {"i32", 4},
    [STN_GGUF_F32] = {"f32", 4}, [STN_GGUF_BOOL] = {"bool", 1}, [STN_GGUF_STR] = {"str", 0},
    [STN_GGUF_ARRAY] = {"array", 0}, [STN_GGUF_U64] = {"u64", 8}, [STN_GGUF_I64] = {"i64", 8},
    [STN_GGUF_F64] = {"f64", 8},
};

size_t stn_gguf_kind_size(enum stn_gguf_kind kind)
{
    return kind < STN_GGUF_N_KINDS ? kinds[kind].size : 0;
}

const char *stn_gguf_kind_name(enum stn_gguf_kind kind)
{
    return kind < STN_GGUF_N_KINDS ? kinds[kind].name : "unknown";
}

/* Takes a string that a count of eight bytes leads. False, and the cursor failed, when it does not fit. */
static bool take_str(struct stn_cursor *cursor, struct stn_gguf_str *ret)
{
    uint64_t size = stn_buf_take_u64(cursor);
    if (cursor->failed || size > cursor->size - cursor->at) {
        cursor->failed = true;
        return false;
    }
    ret->size = (size_t)size;
    ret->p = (const char *)stn_buf_take(cursor, ret->size);
    return true;
}

/* A key or a name: of a bounded length, without a zero inside, copied with one behind. */
static enum stn_code take_name(struct stn_gguf *gguf, struct stn_cursor *cursor, const char *what,
                               size_t number, const char **ret, struct stn_err *err)
{
    struct stn_gguf_str str;
    if (!take_str(cursor, &str)) {
        return stn_err_set(err, STN_CORRUPT, "the file ends inside the name of %s %zu", what, number);
    }
    if (str.size == 0 || str.size >= STN_GGUF_NAME || memchr(str.p, 0, str.size) != NULL ||
        !stn_str_is_utf8(str.p, str.size)) {
        return stn_err_set(err, STN_CORRUPT, "the name of %s %zu is no text of 1 to %d bytes", what,
                           number, STN_GGUF_NAME - 1);
    }
    char *name = stn_arena_new(&gguf->arena, 1, str.size + 1);
    if (name == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for the name of %s %zu", what, number);
    }
    memcpy(name, str.p, str.size);
    *ret = name;
    return STN_OK;
}

static bool skip_array(struct stn_cursor *cursor)
{
    uint32_t kind = stn_buf_take_u32(cursor);
    uint64_t n = stn_buf_take_u64(cursor);
    size_t left = cursor->size - cursor->at;
    if (cursor->failed || kind >= STN_GGUF_N_KINDS || kind == STN_GGUF_ARRAY) {
        return false;
    }
    if (kind != STN_GGUF_STR) {
        return n <= left / kinds[kind].size &&
               stn_buf_take(cursor, (size_t)n * kinds[kind].size) != NULL;
    }
    struct stn_gguf_str str;
    for (uint64_t i = 0; i < n; i++) {
        if (!take_str(cursor, &str)) {
            return false;
        }
    }
    return true;
}

static enum stn_code take_value(struct stn_gguf *gguf, struct stn_cursor *cursor, size_t number,
                                struct stn_err *err)
{
    struct stn_gguf_value *value = &gguf->values[number];
    enum stn_code code = take_name(gguf, cursor, "key", number, &value->key, err);
    if (code != STN_OK) {
        return code;
    }
    uint32_t kind = stn_buf_take_u32(cursor);
    size_t start = cursor->at;
    struct stn_gguf_str str;
    bool fits = !cursor->failed && kind < STN_GGUF_N_KINDS;
    if (fits && kind == STN_GGUF_STR) {
        fits = take_str(cursor, &str);
    } else if (fits && kind == STN_GGUF_ARRAY) {
        fits = skip_array(cursor);
    } else if (fits) {
        fits = stn_buf_take(cursor, kinds[kind].size) != NULL;
    }
    if (!fits) {
        return stn_err_set(err, STN_CORRUPT,
                           "key %.100s: its value is of no known kind or does not fit the file",
                           value->key);
    }
    value->kind = (enum stn_gguf_kind)kind;
    value->data = cursor->data + start;
    value->size = cursor->at - start;
    if (stn_map_get(&gguf->by_key, value->key, strlen(value->key)) != NULL) {
        return stn_err_set(err, STN_CORRUPT, "key %.100s appears twice", value->key);
    }
    return stn_map_set(&gguf->by_key, value->key, strlen(value->key), value)
               ? STN_OK
               : stn_err_set(err, STN_MEMORY, "no memory for %zu keys", gguf->n_values);
}

/* The number of values of a tensor, checked for overflow; its bytes go to *ret_size. False when it cannot be. */
static bool size_of_tensor(const struct stn_gguf_tensor *tensor, const struct stn_quant_format *format,
                           size_t *ret_size)
{
    uint64_t n = 1, size;
    for (size_t i = 0; i < STN_GGUF_DIMS; i++) {
        if (tensor->ne[i] == 0 || __builtin_mul_overflow(n, tensor->ne[i], &n)) {
            return false;
        }
    }
    if (tensor->ne[0] % format->n_values != 0 ||
        __builtin_mul_overflow(n / format->n_values, (uint64_t)format->size, &size) ||
        size > SIZE_MAX / 2) {
        return false;
    }
    *ret_size = (size_t)size + format->tail;
    return true;
}

static enum stn_code take_tensor(struct stn_gguf *gguf, struct stn_cursor *cursor, size_t number,
                                 uint64_t *ret_offset, struct stn_err *err)
{
    struct stn_gguf_tensor *tensor = &gguf->tensors[number];
    enum stn_code code = take_name(gguf, cursor, "tensor", number, &tensor->name, err);
    if (code != STN_OK) {
        return code;
    }
    tensor->n_dims = stn_buf_take_u32(cursor);
    if (tensor->n_dims == 0 || tensor->n_dims > STN_GGUF_DIMS) {
        return stn_err_set(err, STN_CORRUPT, "tensor %.100s has %u dimensions, not 1 to %d",
                           tensor->name, tensor->n_dims, STN_GGUF_DIMS);
    }
    for (uint32_t i = 0; i < STN_GGUF_DIMS; i++) {
        tensor->ne[i] = i < tensor->n_dims ? stn_buf_take_u64(cursor) : 1;
    }
    uint32_t type = stn_buf_take_u32(cursor);
    *ret_offset = stn_buf_take_u64(cursor);
    if (cursor->failed) {
        return stn_err_set(err, STN_CORRUPT, "the file ends inside the description of tensor %.100s",
                           tensor->name);
    }
    const struct stn_quant_format *format = stn_quant_format(type);
    if (format == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED, "tensor %.100s has type %u, which is not supported",
                           tensor->name, type);
    }
    tensor->type = format->type;
    if (!size_of_tensor(tensor, format, &tensor->size)) {
        return stn_err_set(err, STN_CORRUPT, "tensor %.100s has a shape that %s cannot have",
                           tensor->name, format->name);
    }
    if (stn_map_get(&gguf->by_name, tensor->name, strlen(tensor->name)) != NULL) {
        return stn_err_set(err, STN_CORRUPT, "tensor %.100s appears twice", tensor->name);
    }
    return stn_map_set(&gguf->by_name, tensor->name, strlen(tensor->name), tensor)
               ? STN_OK
               : stn_err_set(err, STN_MEMORY, "no memory for %zu tensors", gguf->n_tensors);
}

static int by_place(const void *a, const void *b)
{
    const struct stn_gguf_tensor *const *x = a, *const *y = b;
    return (*x)->data < (*y)->data ? -1 : (*x)->data > (*y)->data;
}

static enum stn_code refuse_overlap(struct stn_gguf *gguf, struct stn_err *err)
{
    const struct stn_gguf_tensor **order = stn_mem_new(gguf->n_tensors, sizeof(void *));
    if (order == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu tensors", gguf->n_tensors);
    }
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        order[i] = &gguf->tensors[i];
    }
    qsort(order, gguf->n_tensors, sizeof *order, by_place);
    enum stn_code code = STN_OK;
    for (size_t i = 1; i < gguf->n_tensors && code == STN_OK; i++) {
        if (order[i - 1]->data + order[i - 1]->size > order[i]->data) {
            code = stn_err_set(err, STN_CORRUPT, "tensors %.90s and %.90s overlap",
                               order[i - 1]->name, order[i]->name);
        }
    }
    stn_mem_free(order);
    return code;
}

/* Tensor data begins at the next aligned place behind the descriptions; offsets count from there. */
static enum stn_code place_tensors(struct stn_gguf *gguf, size_t end, const uint64_t *offsets,
                                   struct stn_err *err)
{
    size_t start = (end + gguf->alignment - 1) / gguf->alignment * gguf->alignment;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct stn_gguf_tensor *tensor = &gguf->tensors[i];
        if (offsets[i] % gguf->alignment != 0) {
            return stn_err_set(err, STN_CORRUPT, "tensor %.100s starts at %llu, no multiple of %zu",
                               tensor->name, (unsigned long long)offsets[i], gguf->alignment);
        }
        if (start > gguf->size || offsets[i] > gguf->size - start ||
            tensor->size > gguf->size - start - offsets[i]) {
            return stn_err_set(err, STN_CORRUPT,
                               "tensor %.100s (%zu bytes at %llu) lies outside of the file's %zu bytes",
                               tensor->name, tensor->size, (unsigned long long)offsets[i], gguf->size);
        }
        tensor->data = gguf->data + start + offsets[i];
    }
    return refuse_overlap(gguf, err);
}

static enum stn_code read_tensors(struct stn_gguf *gguf, struct stn_cursor *cursor, struct stn_err *err)
{
    uint32_t alignment = STN_GGUF_ALIGN;
    enum stn_code code = stn_gguf_u32(gguf, "general.alignment", &alignment, err);
    if (code != STN_OK && code != STN_NOT_FOUND) {
        return code;
    }
    if (alignment < ALIGN_LEAST || alignment > ALIGN_MOST || (alignment & (alignment - 1)) != 0) {
        return stn_err_set(err, STN_CORRUPT, "alignment %u is no power of two from %d to %d", alignment,
                           ALIGN_LEAST, ALIGN_MOST);
    }
    gguf->alignment = alignment;
    gguf->tensors = stn_arena_new(&gguf->arena, gguf->n_tensors, sizeof *gguf->tensors);
    uint64_t *offsets = stn_mem_new(gguf->n_tensors, sizeof *offsets);
    code = gguf->tensors == NULL || offsets == NULL
               ? stn_err_set(err, STN_MEMORY, "no memory for %zu tensors", gguf->n_tensors)
               : STN_OK;
    for (size_t i = 0; i < gguf->n_tensors && code == STN_OK; i++) {
        code = take_tensor(gguf, cursor, i, &offsets[i], err);
    }
    if (code == STN_OK) {
        code = place_tensors(gguf, cursor->at, offsets, err);
    }
    stn_mem_free(offsets);
    return code;
}

static enum stn_code read_all(struct stn_gguf *gguf, struct stn_err *err)
{
    struct stn_cursor cursor = stn_buf_cursor(gguf->data, gguf->size);
    const uint8_t *magic = stn_buf_take(&cursor, 4);
    if (magic == NULL || memcmp(magic, "GGUF", 4) != 0) {
        return stn_err_set(err, STN_CORRUPT, "not a gguf file");
    }
    gguf->version = stn_buf_take_u32(&cursor);
    uint64_t n_tensors = stn_buf_take_u64(&cursor), n_values = stn_buf_take_u64(&cursor);
    if (cursor.failed) {
        return stn_err_set(err, STN_CORRUPT, "the file ends inside its header");
    }
    if (gguf->version != 2 && gguf->version != 3) {
        return stn_err_set(err, STN_UNSUPPORTED, "gguf version %u, only 2 and 3 are supported",
                           gguf->version);
    }
    size_t left = cursor.size - cursor.at;
    if (n_tensors > STN_GGUF_N_TENSORS || n_values > STN_GGUF_N_KEYS) {
        return stn_err_set(err, STN_LIMIT, "%llu tensors and %llu keys, at most %d and %d",
                           (unsigned long long)n_tensors, (unsigned long long)n_values,
                           STN_GGUF_N_TENSORS, STN_GGUF_N_KEYS);
    }
    if (n_tensors * TENSOR_SIZE + n_values * VALUE_SIZE > left) {
        return stn_err_set(err, STN_CORRUPT, "%llu tensors and %llu keys do not fit in %zu bytes",
                           (unsigned long long)n_tensors, (unsigned long long)n_values, left);
    }
    gguf->n_values = (size_t)n_values;
    gguf->n_tensors = (size_t)n_tensors;
    gguf->values = stn_arena_new(&gguf->arena, gguf->n_values, sizeof *gguf->values);
    if (gguf->values == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu keys", gguf->n_values);
    }
    for (size_t i = 0; i < gguf->n_values; i++) {
        enum stn_code code = take_value(gguf, &cursor, i, err);
        if (code != STN_OK) {
            return code;
        }
    }
    return read_tensors(gguf, &cursor, err);
}

/* Reads what data and size of *gguf say; takes gguf, and frees it on failure. */
static enum stn_code finish_open(struct stn_gguf **ret, struct stn_gguf *gguf, const char *name,
                                 struct stn_err *err)
{
    enum stn_code code;
    gguf->path = stn_arena_str(&gguf->arena, name);
    if (gguf->path == NULL) {
        code = stn_err_set(err, STN_MEMORY, "%.150s: no memory", name);
    } else if ((code = read_all(gguf, err)) != STN_OK) {
        (void)stn_err_prefix(err, "%.100s", name);
    }
    if (code != STN_OK) {
        stn_gguf_close(gguf);
        return code;
    }
    *ret = gguf;
    return STN_OK;
}

enum stn_code stn_gguf_parse(struct stn_gguf **ret, const void *p, size_t size, const char *name,
                             struct stn_err *err)
{
    assert((uintptr_t)p % ALIGN_LEAST == 0);
    struct stn_gguf *gguf = stn_mem_new(1, sizeof *gguf);
    if (gguf == NULL) {
        return stn_err_set(err, STN_MEMORY, "%.150s: no memory", name);
    }
    gguf->data = p;
    gguf->size = size;
    return finish_open(ret, gguf, name, err);
}

static enum stn_code map_file(int fd, const char *path, const uint8_t **ret, size_t *ret_size,
                              struct stn_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return stn_err_errno(err, errno, "%.150s", path);
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        return stn_err_set(err, STN_CORRUPT, "%.150s: not a gguf file", path);
    }
    if ((uint64_t)st.st_size > SIZE_MAX / 2) {
        return stn_err_set(err, STN_LIMIT, "%.150s: too large for this machine", path);
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return stn_err_errno(err, errno, "%.150s: mapping it", path);
    }
    *ret = p;
    *ret_size = (size_t)st.st_size;
    return STN_OK;
}

enum stn_code stn_gguf_open(struct stn_gguf **ret, const char *path, struct stn_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return stn_err_errno(err, errno, "%.150s", path);
    }
    const uint8_t *data = NULL;
    size_t size = 0;
    enum stn_code code = map_file(fd, path, &data, &size, err);
    (void)close(fd);
    if (code != STN_OK) {
        return code;
    }
    struct stn_gguf *gguf = stn_mem_new(1, sizeof *gguf);
    if (gguf == NULL) {
        (void)munmap((void *)(uintptr_t)data, size);
        return stn_err_set(err, STN_MEMORY, "%.150s: no memory", path);
    }
    gguf->data = data;
    gguf->size = size;
    gguf->mapped = true;
    return finish_open(ret, gguf, path, err);
}

void stn_gguf_close(struct stn_gguf *gguf)
{
    if (gguf == NULL) {
        return;
    }
    if (gguf->mapped) {
        (void)munmap((void *)(uintptr_t)gguf->data, gguf->size);
    }
    stn_map_fini(&gguf->by_key);
    stn_map_fini(&gguf->by_name);
    stn_arena_fini(&gguf->arena);
    stn_mem_free(gguf);
}

const struct stn_gguf_value *stn_gguf_value(const struct stn_gguf *gguf, const char *key)
{
    return stn_map_get(&gguf->by_key, key, strlen(key));
}

const struct stn_gguf_tensor *stn_gguf_tensor(const struct stn_gguf *gguf, const char *name)
{
    return stn_map_get(&gguf->by_name, name, strlen(name));
}

static enum stn_code not_found(const struct stn_gguf *gguf, const char *key, struct stn_err *err)
{
    return stn_err_set(err, STN_NOT_FOUND, "%.100s: no key %.100s", gguf->path, key);
}

static enum stn_code wrong_kind(const struct stn_gguf *gguf, const struct stn_gguf_value *value,
                                const char *wanted, struct stn_err *err)
{
    return stn_err_set(err, STN_INVALID, "%.100s: key %.90s is a %s, not %s", gguf->path, value->key,
                       kinds[value->kind].name, wanted);
}

/* A scalar of 1 to 8 bytes, little endian, as it stands. */
static uint64_t raw_scalar(const struct stn_gguf_value *value)
{
    uint64_t v = 0;
    for (size_t i = value->size; i-- > 0;) {
        v = v << 8 | value->data[i];
    }
    return v;
}

enum stn_code stn_gguf_u64(const struct stn_gguf *gguf, const char *key, uint64_t *ret,
                           struct stn_err *err)
{
    const struct stn_gguf_value *value = stn_gguf_value(gguf, key);
    if (value == NULL) {
        return not_found(gguf, key, err);
    }
    switch (value->kind) {
    case STN_GGUF_I8:
    case STN_GGUF_I16:
    case STN_GGUF_I32:
    case STN_GGUF_I64:
        if (value->data[value->size - 1] >> 7 != 0) {
            return wrong_kind(gguf, value, "a number from 0 up", err);
        }
        break;
    case STN_GGUF_U8:
    case STN_GGUF_U16:
    case STN_GGUF_U32:
    case STN_GGUF_U64:
        break;
    default:
        return wrong_kind(gguf, value, "a whole number", err);
    }
    *ret = raw_scalar(value);
    return STN_OK;
}

enum stn_code stn_gguf_u32(const struct stn_gguf *gguf, const char *key, uint32_t *ret,
                           struct stn_err *err)
{
    uint64_t v = 0;
    enum stn_code code = stn_gguf_u64(gguf, key, &v, err);
    if (code != STN_OK) {
        return code;
    }
    if (v > UINT32_MAX) {
        return stn_err_set(err, STN_INVALID, "%.100s: key %.90s is %llu, too large", gguf->path, key,
                           (unsigned long long)v);
    }
    *ret = (uint32_t)v;
    return STN_OK;
}

enum stn_code stn_gguf_f32(const struct stn_gguf *gguf, const char *key, float *ret,
                           struct stn_err *err)
{
    const struct stn_gguf_value *value = stn_gguf_value(gguf, key);
    if (value == NULL) {
        return not_found(gguf, key, err);
    }
    if (value->kind == STN_GGUF_F32) {
        memcpy(ret, value->data, sizeof *ret);
    } else if (value->kind == STN_GGUF_F64) {
        double wide;
        memcpy(&wide, value->data, sizeof wide);
        *ret = (float)wide;
    } else {
        return wrong_kind(gguf, value, "a float", err);
    }
    return STN_OK;
}

enum stn_code stn_gguf_bool(const struct stn_gguf *gguf, const char *key, bool *ret,
                            struct stn_err *err)
{
    const struct stn_gguf_value *value = stn_gguf_value(gguf, key);
    if (value == NULL) {
        return not_found(gguf, key, err);
    }
    if (value->kind != STN_GGUF_BOOL) {
        return wrong_kind(gguf, value, "a bool", err);
    }
    *ret = value->data[0] != 0;
    return STN_OK;
}

enum stn_code stn_gguf_str(const struct stn_gguf *gguf, const char *key, struct stn_gguf_str *ret,
                           struct stn_err *err)
{
    const struct stn_gguf_value *value = stn_gguf_value(gguf, key);
    if (value == NULL) {
        return not_found(gguf, key, err);
    }
    if (value->kind != STN_GGUF_STR) {
        return wrong_kind(gguf, value, "a string", err);
    }
    *ret = (struct stn_gguf_str){.p = (const char *)value->data + 8, .size = value->size - 8};
    return STN_OK;
}

enum stn_code stn_gguf_array(const struct stn_gguf *gguf, const char *key, enum stn_gguf_kind kind,
                             struct stn_gguf_array *ret, struct stn_err *err)
{
    const struct stn_gguf_value *value = stn_gguf_value(gguf, key);
    if (value == NULL) {
        return not_found(gguf, key, err);
    }
    if (value->kind != STN_GGUF_ARRAY || stn_buf_get_u32(value->data) != (uint32_t)kind) {
        return stn_err_set(err, STN_INVALID, "%.100s: key %.90s is no array of %s", gguf->path, key,
                           kinds[kind].name);
    }
    *ret = (struct stn_gguf_array){.kind = kind,
                                   .n = (size_t)stn_buf_get_u64(value->data + 4),
                                   .data = value->data + 12,
                                   .size = value->size - 12};
    return STN_OK;
}

bool stn_gguf_is(struct stn_gguf_str str, const char *s)
{
    return strlen(s) == str.size && memcmp(str.p, s, str.size) == 0;
}

bool stn_gguf_next(struct stn_gguf_array *array, struct stn_gguf_str *ret)
{
    assert(array->kind == STN_GGUF_STR);
    struct stn_cursor cursor = stn_buf_cursor(array->data, array->size);
    if (array->n == 0 || !take_str(&cursor, ret)) {
        return false;
    }
    array->n--;
    array->data += cursor.at;
    array->size -= cursor.at;
    return true;
}

/* The pages that lie wholly in a tensor: its neighbours' are not touched. */
static void advise(const struct stn_gguf *gguf, const struct stn_gguf_tensor *tensor, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = ((uintptr_t)tensor->data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)tensor->data + tensor->size) / page * page;
    if (gguf->mapped && start < end) {
        (void)madvise((void *)start, end - start, advice);
    }
}

void stn_gguf_will_read(const struct stn_gguf *gguf, const struct stn_gguf_tensor *tensor)
{
    advise(gguf, tensor, MADV_WILLNEED);
}

void stn_gguf_drop(const struct stn_gguf *gguf, const struct stn_gguf_tensor *tensor)
{
    advise(gguf, tensor, MADV_DONTNEED);
}
