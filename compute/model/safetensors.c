#include "compute/model/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "compute/model/quant.h"
#include "io/file.h"

#define METADATA "__metadata__"

static const struct {
    const char *name;
    size_t size;
} types[STN_SAFETENSORS_N_TYPES] = {
    [STN_SAFETENSORS_F64] = {"F64", 8}, [STN_SAFETENSORS_F32] = {"F32", 4},   [STN_SAFETENSORS_F16] = {"F16", 2},
    [STN_SAFETENSORS_BF16] = {"BF16", 2}, [STN_SAFETENSORS_I64] = {"I64", 8}, [STN_SAFETENSORS_I32] = {"I32", 4},
    [STN_SAFETENSORS_I16] = {"I16", 2}, [STN_SAFETENSORS_I8] = {"I8", 1},     [STN_SAFETENSORS_U8] = {"U8", 1},
    [STN_SAFETENSORS_BOOL] = {"BOOL", 1},
};

struct stn_safetensors {
    struct stn_file_map map; /* data NULL where the bytes are borrowed */
    const char *name;
    const uint8_t *data; /* behind the header */
    uint64_t size;       /* of it */
    struct stn_safetensors_array *arrays;
    size_t n_arrays;
    struct stn_safetensors_note *notes;
    size_t n_notes;
    struct stn_map by_name;
    struct stn_arena arena;
};

const char *stn_safetensors_type_name(enum stn_safetensors_type type)
{
    return types[type].name;
}

static enum stn_code no_memory(const struct stn_safetensors *file, struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "%.150s: no memory for what it lists", file->name);
}

static bool read_type(const char *name, enum stn_safetensors_type *ret)
{
    for (int t = 0; t < STN_SAFETENSORS_N_TYPES; t++) {
        if (strcmp(types[t].name, name) == 0) {
            *ret = (enum stn_safetensors_type)t;
            return true;
        }
    }
    return false;
}

/* A whole number of JSON that is no less than 0. */
static bool read_number(const json_t *value, uint64_t *ret)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_dims(struct stn_safetensors_array *array, const json_t *shape)
{
    array->n_dims = json_array_size(shape);
    array->n_values = 1;
    if (!json_is_array(shape) || array->n_dims > STN_SAFETENSORS_DIMS) {
        return false;
    }
    for (size_t d = 0; d < STN_SAFETENSORS_DIMS; d++) {
        array->dims[d] = 1;
        if (d < array->n_dims && (!read_number(json_array_get(shape, d), &array->dims[d]) ||
                                  __builtin_mul_overflow(array->n_values, array->dims[d], &array->n_values))) {
            return false;
        }
    }
    return true;
}

static enum stn_code read_array(struct stn_safetensors *file, const char *name, const json_t *entry, struct stn_err *err)
{
    struct stn_safetensors_array *array = &file->arrays[file->n_arrays];
    const json_t *type = json_object_get(entry, "dtype"), *place = json_object_get(entry, "data_offsets");
    uint64_t begin, end;
    if (strlen(name) >= STN_SAFETENSORS_NAME) {
        return stn_err_set(err, STN_LIMIT, "%.100s: a name of %zu bytes, at most %d", file->name, strlen(name),
                           STN_SAFETENSORS_NAME - 1);
    }
    if (!json_is_string(type) || !read_dims(array, json_object_get(entry, "shape")) || json_array_size(place) != 2 ||
        !read_number(json_array_get(place, 0), &begin) || !read_number(json_array_get(place, 1), &end)) {
        return stn_err_set(err, STN_CORRUPT, "%.80s: array %.100s has no type, shape and two offsets", file->name, name);
    }
    if (!read_type(json_string_value(type), &array->type)) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.80s: array %.80s is of type %.20s", file->name, name,
                           json_string_value(type));
    }
    if (begin > end || end > file->size || __builtin_mul_overflow(array->n_values, types[array->type].size, &array->size) ||
        array->size != end - begin) {
        return stn_err_set(err, STN_CORRUPT, "%.80s: array %.80s is said to be at %llu to %llu of %llu bytes", file->name,
                           name, (unsigned long long)begin, (unsigned long long)end, (unsigned long long)file->size);
    }
    array->data = file->data + begin;
    array->name = stn_arena_str(&file->arena, name);
    if (array->name == NULL || !stn_map_set(&file->by_name, name, strlen(name), array)) {
        return no_memory(file, err);
    }
    file->n_arrays++;
    return STN_OK;
}

static enum stn_code read_notes(struct stn_safetensors *file, json_t *object, struct stn_err *err)
{
    const char *key;
    json_t *value;
    size_t n = json_object_size(object);
    if (!json_is_object(object) || n > STN_SAFETENSORS_N_NOTES) {
        return stn_err_set(err, STN_CORRUPT, "%.100s: its metadata is no object of at most %d strings", file->name,
                           STN_SAFETENSORS_N_NOTES);
    }
    file->notes = stn_arena_new(&file->arena, n, sizeof *file->notes);
    json_object_foreach(object, key, value)
    {
        struct stn_safetensors_note *note = file->notes == NULL ? NULL : &file->notes[file->n_notes];
        if (!json_is_string(value)) {
            return stn_err_set(err, STN_CORRUPT, "%.100s: metadata %.80s is no string", file->name, key);
        }
        if (note == NULL || (note->key = stn_arena_str(&file->arena, key)) == NULL ||
            (note->value = stn_arena_str(&file->arena, json_string_value(value))) == NULL) {
            return no_memory(file, err);
        }
        file->n_notes++;
    }
    return STN_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct stn_safetensors_array *x = *(const struct stn_safetensors_array *const *)a;
    const struct stn_safetensors_array *y = *(const struct stn_safetensors_array *const *)b;
    if (x->data != y->data) {
        return x->data < y->data ? -1 : 1;
    }
    return (x->size > y->size) - (x->size < y->size); /* empty ones first */
}

/* Arrays follow each other from the first byte to the last. */
static enum stn_code check_places(const struct stn_safetensors *file, struct stn_err *err)
{
    const struct stn_safetensors_array **sorted = stn_mem_new(file->n_arrays, sizeof(void *));
    const uint8_t *at = file->data;
    enum stn_code code = STN_OK;
    if (sorted == NULL) {
        return no_memory(file, err);
    }
    for (size_t i = 0; i < file->n_arrays; i++) {
        sorted[i] = &file->arrays[i];
    }
    qsort(sorted, file->n_arrays, sizeof(void *), by_place);
    for (size_t i = 0; i < file->n_arrays && code == STN_OK; i++) {
        if (sorted[i]->data != at) {
            code = stn_err_set(err, STN_CORRUPT, "%.100s: array %.100s does not follow the one before", file->name,
                               sorted[i]->name);
        }
        at = sorted[i]->data + sorted[i]->size;
    }
    if (code == STN_OK && at != file->data + file->size) {
        code = stn_err_set(err, STN_CORRUPT, "%.100s: %llu bytes belong to no array", file->name,
                           (unsigned long long)(file->data + file->size - at));
    }
    stn_mem_free(sorted);
    return code;
}

static enum stn_code read_header(struct stn_safetensors *file, const char *text, size_t size, struct stn_err *err)
{
    json_error_t why;
    const char *key;
    json_t *value, *header = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    size_t n = json_object_size(header);
    if (!json_is_object(header)) {
        json_decref(header);
        return stn_err_set(err, STN_CORRUPT, "%.100s: its header is no JSON object: %.80s", file->name, why.text);
    }
    enum stn_code code = STN_OK;
    if (n > STN_SAFETENSORS_N_ARRAYS) {
        code = stn_err_set(err, STN_LIMIT, "%.100s: %zu arrays, at most %d", file->name, n, STN_SAFETENSORS_N_ARRAYS);
    } else if ((file->arrays = stn_arena_new(&file->arena, n + 1, sizeof *file->arrays)) == NULL) {
        code = no_memory(file, err);
    }
    json_object_foreach(header, key, value)
    {
        if (code == STN_OK) {
            code = strcmp(key, METADATA) == 0 ? read_notes(file, value, err) : read_array(file, key, value, err);
        }
    }
    json_decref(header);
    return code;
}

static enum stn_code read_file(struct stn_safetensors *file, const uint8_t *p, size_t size, const char *name,
                               struct stn_err *err)
{
    uint64_t header = size < 8 ? 0 : stn_buf_get_u64(p);
    file->name = stn_arena_str(&file->arena, name);
    if (file->name == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %.100s", name);
    }
    if (size < 8 || header > size - 8 || header < 2 || p[8] != '{') {
        return stn_err_set(err, STN_CORRUPT, "%.100s: %zu bytes are no safetensors file", name, size);
    }
    if (header > STN_SAFETENSORS_HEADER) {
        return stn_err_set(err, STN_LIMIT, "%.100s: a header of %llu bytes, at most %zu", name, (unsigned long long)header,
                           STN_SAFETENSORS_HEADER);
    }
    file->data = p + 8 + header;
    file->size = size - 8 - header;
    enum stn_code code = read_header(file, (const char *)p + 8, (size_t)header, err);
    return code != STN_OK ? code : check_places(file, err);
}

enum stn_code stn_safetensors_parse(struct stn_safetensors **ret, const void *p, size_t size, const char *name,
                                    struct stn_err *err)
{
    struct stn_safetensors *file = stn_mem_new(1, sizeof *file);
    if (file == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %.100s", name);
    }
    enum stn_code code = read_file(file, p, size, name, err);
    if (code != STN_OK) {
        stn_safetensors_close(file);
        return code;
    }
    *ret = file;
    return STN_OK;
}

enum stn_code stn_safetensors_open(struct stn_safetensors **ret, const char *path, struct stn_err *err)
{
    struct stn_file_map map = {0};
    enum stn_code code = stn_file_map(&map, path, STN_FILE_USE_ONCE, err);
    code = code != STN_OK ? code : stn_safetensors_parse(ret, map.data, map.size, path, err);
    if (code != STN_OK) {
        stn_file_unmap(&map);
        return code;
    }
    (*ret)->map = map;
    return STN_OK;
}

void stn_safetensors_close(struct stn_safetensors *file)
{
    if (file != NULL) {
        stn_map_fini(&file->by_name);
        stn_arena_fini(&file->arena);
        stn_file_unmap(&file->map);
        stn_mem_free(file);
    }
}

size_t stn_safetensors_n_arrays(const struct stn_safetensors *file)
{
    return file->n_arrays;
}

const struct stn_safetensors_array *stn_safetensors_array(const struct stn_safetensors *file, size_t i)
{
    return &file->arrays[i];
}

const struct stn_safetensors_array *stn_safetensors_find(const struct stn_safetensors *file, const char *name)
{
    return stn_map_get(&file->by_name, name, strlen(name));
}

size_t stn_safetensors_n_notes(const struct stn_safetensors *file)
{
    return file->n_notes;
}

const struct stn_safetensors_note *stn_safetensors_note(const struct stn_safetensors *file, size_t i)
{
    return &file->notes[i];
}

static float one_float(enum stn_safetensors_type type, const uint8_t *p)
{
    uint16_t half;
    float single;
    double twice;
    switch (type) {
    case STN_SAFETENSORS_F64:
        memcpy(&twice, p, sizeof twice);
        return (float)twice;
    case STN_SAFETENSORS_F32:
        memcpy(&single, p, sizeof single);
        return single;
    default:
        memcpy(&half, p, sizeof half);
        return type == STN_SAFETENSORS_F16 ? stn_quant_f16(half) : stn_quant_bf16(half);
    }
}

enum stn_code stn_safetensors_floats(const struct stn_safetensors_array *array, uint64_t first, size_t n, float *ret,
                                     struct stn_err *err)
{
    size_t size = types[array->type].size;
    if (array->type > STN_SAFETENSORS_BF16) {
        return stn_err_set(err, STN_UNSUPPORTED, "array %.150s is of type %s, expected floats", array->name,
                           types[array->type].name);
    }
    if (first > array->n_values || n > array->n_values - first) {
        return stn_err_set(err, STN_INVALID, "array %.150s has %llu values", array->name, (unsigned long long)array->n_values);
    }
    for (size_t i = 0; i < n; i++) {
        ret[i] = one_float(array->type, array->data + (first + i) * size);
    }
    return STN_OK;
}

/* ---- writing ---- */

static json_t *make_header(const struct stn_safetensors_matrix *matrices, size_t n_matrices,
                           const struct stn_safetensors_note *notes, size_t n_notes)
{
    json_t *header = json_object(), *metadata = json_object();
    uint64_t at = 0;
    int status = 0;
    for (size_t i = 0; i < n_notes; i++) {
        status |= json_object_set_new(metadata, notes[i].key, json_string(notes[i].value));
    }
    status |= json_object_set_new(header, METADATA, metadata);
    for (size_t i = 0; i < n_matrices; i++) {
        uint64_t size = matrices[i].rows * matrices[i].cols * sizeof(float);
        status |= json_object_set_new(header, matrices[i].name,
                                      json_pack("{ss s[II] s[II]}", "dtype", "F32", "shape", (json_int_t)matrices[i].rows,
                                                (json_int_t)matrices[i].cols, "data_offsets", (json_int_t)at,
                                                (json_int_t)(at + size)));
        at += size;
    }
    if (status != 0) {
        json_decref(header);
        return NULL;
    }
    return header;
}

static enum stn_code put_all(struct stn_file_draft *draft, const char *text, const struct stn_safetensors_matrix *matrices,
                             size_t n_matrices, struct stn_err *err)
{
    static const char blanks[8] = "       ";
    uint8_t size[8];
    size_t n = strlen(text), padding = (8 - n % 8) % 8; /* data begin at a multiple of 8 */
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's order is the machine's");
    stn_buf_put_u64(size, n + padding);
    enum stn_code code = stn_file_draft_put(draft, size, sizeof size, err);
    code = code != STN_OK ? code : stn_file_draft_put(draft, text, n, err);
    code = code != STN_OK || padding == 0 ? code : stn_file_draft_put(draft, blanks, padding, err);
    for (size_t i = 0; i < n_matrices && code == STN_OK; i++) {
        code = stn_file_draft_put(draft, matrices[i].values, (size_t)(matrices[i].rows * matrices[i].cols) * sizeof(float), err);
    }
    return code;
}

enum stn_code stn_safetensors_save(const char *path, const struct stn_safetensors_matrix *matrices, size_t n_matrices,
                                   const struct stn_safetensors_note *notes, size_t n_notes, struct stn_err *err)
{
    struct stn_file_draft draft;
    json_t *header = make_header(matrices, n_matrices, notes, n_notes);
    char *text = header == NULL ? NULL : json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(header);
    if (text == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for the header of %.150s", path);
    }
    enum stn_code code = stn_file_draft(&draft, path, STN_FILE_MODE, err);
    if (code == STN_OK) {
        code = put_all(&draft, text, matrices, n_matrices, err);
        if (code == STN_OK) {
            code = stn_file_draft_keep(&draft, err);
        } else {
            stn_file_draft_drop(&draft);
        }
    }
    free(text);
    return code;
}
