#include "proto/codec.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "proto/codec_table.h"

/* What protobuf-c itself wants to unpack a message without data: descriptors' structs and its list
 * of members seen. */
#define BUDGET_BASE ((size_t)128 << 10)
#define ENVELOPE_MAX                                                                               \
    64 /* field numbers below it are messages; nothing else may be in an envelope of this version  \
        */

static void *member(const struct stn_codec_row *row, const void *message)
{
    return (char *)(uintptr_t)message + row->at;
}

static uint32_t *count_of(const struct stn_codec_row *row, const void *message)
{
    return (uint32_t *)(void *)((char *)(uintptr_t)message + row->n_at);
}

static bool *has_of(const struct stn_codec_row *row, const void *message)
{
    return row->has_at == STN_CODEC_NOWHERE
               ? NULL
               : (bool *)(void *)((char *)(uintptr_t)message + row->has_at);
}

static const ProtobufCFieldDescriptor *field_of(const struct stn_codec_shape *shape,
                                                const struct stn_codec_row *row)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(shape->descriptor, row->number);
    assert(field != NULL); /* a row without its line in sterna.proto */
    return field;
}

static enum stn_code wrong(const struct stn_codec_shape *shape, const struct stn_codec_row *row,
                           enum stn_code code, uint64_t got, uint64_t limit, struct stn_err *err)
{
    return stn_err_set(err, code, "%s of %s: %llu, the limit is %llu", field_of(shape, row)->name,
                       shape->descriptor->short_name, (unsigned long long)got,
                       (unsigned long long)limit);
}

static enum stn_code check_number(const struct stn_codec_shape *shape,
                                  const struct stn_codec_row *row, uint64_t v, struct stn_err *err)
{
    if (v < row->min) {
        return wrong(shape, row, STN_INVALID, v, row->min, err);
    }
    return v <= row->max ? STN_OK : wrong(shape, row, STN_INVALID, v, row->max, err);
}

static enum stn_code check_count(const struct stn_codec_shape *shape,
                                 const struct stn_codec_row *row, uint64_t n, struct stn_err *err)
{
    return n <= row->max ? STN_OK : wrong(shape, row, STN_LIMIT, n, row->max, err);
}

static enum stn_code check_real(const struct stn_codec_shape *shape,
                                const struct stn_codec_row *row, double v, struct stn_err *err)
{
    if (!isfinite(v)) {
        return stn_err_set(err, STN_INVALID, "%s of %s is not finite", field_of(shape, row)->name,
                           shape->descriptor->short_name);
    }
    return STN_OK;
}

static enum stn_code check_name(const struct stn_codec_shape *shape,
                                const struct stn_codec_row *row, const void *p, size_t size,
                                struct stn_err *err)
{
    char name[STN_MSG_NAME] = {0};
    if (size < sizeof name && size > 0) {
        memcpy(name, p, size);
    }
    if (strlen(name) != size || !stn_msg_is_task_name(name)) {
        return stn_err_set(err, STN_INVALID, "%s of %s is no name", field_of(shape, row)->name,
                           shape->descriptor->short_name);
    }
    return STN_OK;
}

/* ---- encoding: ours -> protobuf-c's structs, in an arena that borrows the big data ---- */

static enum stn_code pack(const struct stn_codec_shape *shape, const void *ours, uint32_t skip,
                          struct stn_arena *arena, ProtobufCMessage **ret, struct stn_err *err);

static enum stn_code no_memory(struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "no memory for a message");
}

static enum stn_code pack_bytes(const struct stn_codec_shape *shape,
                                const struct stn_codec_row *row, const void *ours,
                                ProtobufCBinaryData *to, struct stn_err *err)
{
    const bool *has = has_of(row, ours);
    void *from = member(row, ours);
    if (row->kind == STN_CODEC_FIXED) {
        to->len = has == NULL || *has ? row->size : 0;
        to->data = from;
        return STN_OK;
    }
    if (row->kind == STN_CODEC_NAME) {
        to->len = strnlen(from, STN_MSG_NAME);
        to->data = from;
        return check_name(shape, row, from, to->len, err);
    }
    uint32_t n = *count_of(row, ours);
    to->len = n * row->size;
    memcpy(&to->data, from, sizeof to->data);
    return check_count(shape, row, n, err);
}

static enum stn_code pack_messages(const struct stn_codec_shape *shape,
                                   const struct stn_codec_row *row, const void *ours,
                                   struct stn_arena *arena, void *to, size_t *ret_n,
                                   struct stn_err *err)
{
    const bool *has = has_of(row, ours);
    if (row->kind == STN_CODEC_ONE) {
        return has == NULL || *has ? pack(row->shape, member(row, ours), 0, arena, to, err)
                                   : STN_OK;
    }
    uint32_t n = *count_of(row, ours);
    enum stn_code code = check_count(shape, row, n, err);
    ProtobufCMessage **array = stn_arena_new(arena, n, sizeof *array);
    if (code != STN_OK || array == NULL) {
        return code != STN_OK ? code : no_memory(err);
    }
    for (uint32_t i = 0; i < n && code == STN_OK; i++) {
        code =
            pack(row->shape, (char *)member(row, ours) + i * row->size, 0, arena, &array[i], err);
    }
    *ret_n = n;
    memcpy(to, &array, sizeof array);
    return code;
}

static enum stn_code pack_row(const struct stn_codec_shape *shape, const struct stn_codec_row *row,
                              const void *ours, struct stn_arena *arena, ProtobufCMessage *message,
                              struct stn_err *err)
{
    const ProtobufCFieldDescriptor *field = field_of(shape, row);
    void *to = (char *)message + field->offset;
    const void *from = member(row, ours);
    switch (row->kind) {
    case STN_CODEC_BOOL:
        *(protobuf_c_boolean *)to = *(const bool *)from;
        return STN_OK;
    case STN_CODEC_U32:
        *(uint32_t *)to = *(const uint32_t *)from;
        return check_number(shape, row, *(const uint32_t *)from, err);
    case STN_CODEC_U64:
        *(uint64_t *)to = *(const uint64_t *)from;
        return check_number(shape, row, *(const uint64_t *)from, err);
    case STN_CODEC_F32:
        *(float *)to = *(const float *)from;
        return check_real(shape, row, (double)*(const float *)from, err);
    case STN_CODEC_F64:
        *(double *)to = *(const double *)from;
        return check_real(shape, row, *(const double *)from, err);
    case STN_CODEC_FIXED:
    case STN_CODEC_NAME:
    case STN_CODEC_DATA:
        return pack_bytes(shape, row, ours, to, err);
    case STN_CODEC_LIST:
        *(size_t *)(void *)((char *)message + field->quantifier_offset) = *count_of(row, ours);
        memcpy(to, from, sizeof(uint32_t *));
        return check_count(shape, row, *count_of(row, ours), err);
    case STN_CODEC_ONE:
    case STN_CODEC_MANY:
        break;
    }
    return pack_messages(shape, row, ours, arena, to,
                         (void *)((char *)message + field->quantifier_offset), err);
}

/* skip: the number of a field to leave out, or 0. */
static enum stn_code pack(const struct stn_codec_shape *shape, const void *ours, uint32_t skip,
                          struct stn_arena *arena, ProtobufCMessage **ret, struct stn_err *err)
{
    ProtobufCMessage *message = stn_arena_new(arena, 1, shape->descriptor->sizeof_message);
    if (message == NULL) {
        return no_memory(err);
    }
    protobuf_c_message_init(shape->descriptor, message);
    for (size_t i = 0; i < shape->n_rows; i++) {
        if (shape->rows[i].number == skip) {
            continue;
        }
        enum stn_code code = pack_row(shape, &shape->rows[i], ours, arena, message, err);
        if (code != STN_OK) {
            return code;
        }
    }
    *ret = message;
    return shape->check == NULL ? STN_OK : shape->check(ours, err);
}

static enum stn_code append(const ProtobufCMessage *message, size_t limit, struct stn_buf *buf,
                            struct stn_err *err)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > limit) {
        return stn_err_set(err, STN_LIMIT, "a message of %zu bytes, at most %zu", size, limit);
    }
    uint8_t *to = stn_buf_extend(buf, size);
    if (to == NULL) {
        return stn_err_set(err, STN_MEMORY, "no room for a message of %zu bytes", size);
    }
    (void)protobuf_c_message_pack(message, to);
    return STN_OK;
}

enum stn_code stn_codec_encode(const struct stn_msg *msg, struct stn_buf *buf, struct stn_err *err)
{
    const struct stn_codec_shape *shape = stn_codec_table_shape(msg->type);
    const ProtobufCMessageDescriptor *envelope = stn_codec_table_envelope();
    assert(shape != NULL);
    struct stn_arena arena = {0};
    ProtobufCMessage *body = NULL;
    enum stn_code code = pack(shape, &msg->check_in, 0, &arena, &body, err);
    ProtobufCMessage *outer = stn_arena_new(&arena, 1, envelope->sizeof_message);
    if (code == STN_OK && outer == NULL) {
        code = no_memory(err);
    }
    if (code == STN_OK) {
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(envelope, msg->type);
        protobuf_c_message_init(envelope, outer);
        *(uint32_t *)(void *)((char *)outer + field->quantifier_offset) = msg->type;
        memcpy((char *)outer + field->offset, &body, sizeof body);
        code = append(outer, STN_MSG_BYTES, buf, err);
    }
    stn_arena_fini(&arena);
    return code;
}

static enum stn_code encode_bare(const struct stn_codec_shape *shape, const void *ours,
                                 uint32_t skip, size_t limit, struct stn_buf *buf,
                                 struct stn_err *err)
{
    struct stn_arena arena = {0};
    ProtobufCMessage *message = NULL;
    enum stn_code code = pack(shape, ours, skip, &arena, &message, err);
    if (code == STN_OK) {
        code = append(message, limit, buf, err);
    }
    stn_arena_fini(&arena);
    return code;
}

enum stn_code stn_codec_round_config_bytes(const struct stn_msg_round_config *config,
                                           struct stn_buf *buf, struct stn_err *err)
{
    const uint32_t signature = 15; /* its number in sterna.proto */
    return encode_bare(stn_codec_table_shape(STN_MSG_ROUND_CONFIG), config, signature,
                       STN_MSG_BYTES, buf, err);
}

enum stn_code stn_codec_hello(const struct stn_hello *hello, struct stn_buf *buf,
                              struct stn_err *err)
{
    return encode_bare(&stn_codec_table_hello, hello, 0, STN_HELLO_BYTES, buf, err);
}

enum stn_code stn_codec_hello_reply(const struct stn_hello_reply *reply, struct stn_buf *buf,
                                    struct stn_err *err)
{
    return encode_bare(&stn_codec_table_hello_reply, reply, 0, STN_HELLO_BYTES, buf, err);
}

/* ---- decoding: bytes -> protobuf-c's structs in the arena, under a budget -> ours ---- */

struct budget {
    struct stn_arena *arena;
    size_t left;
    bool is_spent;
    bool is_starved; /* the arena had no more */
};

static void *budget_alloc(void *data, size_t size)
{
    struct budget *budget = data;
    if (size > budget->left) {
        budget->is_spent = true;
        return NULL;
    }
    budget->left -= size;
    void *p = stn_arena_room(budget->arena, size);
    budget->is_starved |= p == NULL;
    return p;
}

static void budget_free(void *data, void *p)
{
    (void)data; /* everything lives as long as the arena */
    (void)p;
}

static enum stn_code unpack(const ProtobufCMessageDescriptor *descriptor, struct stn_arena *arena,
                            const void *p, size_t size, ProtobufCMessage **ret, struct stn_err *err)
{
    struct budget budget = {.arena = arena, .left = BUDGET_BASE + 2 * size};
    ProtobufCAllocator allocator = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
    *ret = protobuf_c_message_unpack(descriptor, &allocator, size, p);
    if (*ret != NULL) {
        return STN_OK;
    }
    if (budget.is_starved) {
        return no_memory(err);
    }
    return budget.is_spent
               ? stn_err_set(err, STN_LIMIT, "a message of %zu bytes has too many parts", size)
               : stn_err_set(err, STN_INVALID, "these %zu bytes are no %s", size,
                             descriptor->short_name);
}

static enum stn_code adopt(const struct stn_codec_shape *shape, const ProtobufCMessage *message,
                           void *ours, struct stn_err *err);

static enum stn_code adopt_bytes(const struct stn_codec_shape *shape,
                                 const struct stn_codec_row *row, const ProtobufCBinaryData *from,
                                 void *ours, struct stn_err *err)
{
    bool *has = has_of(row, ours);
    if (row->kind == STN_CODEC_FIXED) {
        if (has != NULL) {
            *has = from->len > 0;
        }
        if (has != NULL && !*has) {
            return STN_OK;
        }
        if (from->len != row->size) {
            return stn_err_set(err, STN_INVALID, "%s of %s has %zu bytes, not %zu",
                               field_of(shape, row)->name, shape->descriptor->short_name, from->len,
                               row->size);
        }
        memcpy(member(row, ours), from->data, from->len);
        return STN_OK;
    }
    if (row->kind == STN_CODEC_NAME) {
        enum stn_code code = check_name(shape, row, from->data, from->len, err);
        if (code == STN_OK) {
            memcpy(member(row, ours), from->data, from->len);
        }
        return code;
    }
    if (from->len % row->size != 0) {
        return stn_err_set(err, STN_INVALID, "%s of %s has %zu bytes, no multiple of %zu",
                           field_of(shape, row)->name, shape->descriptor->short_name, from->len,
                           row->size);
    }
    enum stn_code code = check_count(shape, row, from->len / row->size, err);
    if (code == STN_OK) {
        *count_of(row, ours) = (uint32_t)(from->len / row->size);
        memcpy(member(row, ours), &from->data, sizeof from->data);
    }
    return code;
}

static enum stn_code adopt_messages(const struct stn_codec_shape *shape,
                                    const struct stn_codec_row *row, const void *from, size_t n,
                                    void *ours, struct stn_err *err)
{
    if (row->kind == STN_CODEC_ONE) {
        const ProtobufCMessage *one;
        bool *has = has_of(row, ours);
        memcpy(&one, from, sizeof one);
        if (has != NULL) {
            *has = one != NULL;
        }
        if (one == NULL && has == NULL) {
            return stn_err_set(err, STN_INVALID, "%s of %s is missing", field_of(shape, row)->name,
                               shape->descriptor->short_name);
        }
        return one == NULL ? STN_OK : adopt(row->shape, one, member(row, ours), err);
    }
    enum stn_code code = check_count(shape, row, n, err);
    if (code != STN_OK) {
        return code;
    }
    ProtobufCMessage *const *array;
    memcpy(&array, from, sizeof array);
    for (size_t i = 0; i < n && code == STN_OK; i++) {
        code = adopt(row->shape, array[i], (char *)member(row, ours) + i * row->size, err);
    }
    *count_of(row, ours) = (uint32_t)n;
    return code;
}

static enum stn_code adopt_row(const struct stn_codec_shape *shape, const struct stn_codec_row *row,
                               const ProtobufCMessage *message, void *ours, struct stn_err *err)
{
    const ProtobufCFieldDescriptor *field = field_of(shape, row);
    const void *from = (const char *)message + field->offset;
    const void *count = (const char *)message + field->quantifier_offset;
    void *to = member(row, ours);
    switch (row->kind) {
    case STN_CODEC_BOOL:
        *(bool *)to = *(const protobuf_c_boolean *)from != 0;
        return STN_OK;
    case STN_CODEC_U32:
        *(uint32_t *)to = *(const uint32_t *)from;
        return check_number(shape, row, *(const uint32_t *)from, err);
    case STN_CODEC_U64:
        *(uint64_t *)to = *(const uint64_t *)from;
        return check_number(shape, row, *(const uint64_t *)from, err);
    case STN_CODEC_F32:
        *(float *)to = *(const float *)from;
        return check_real(shape, row, (double)*(const float *)from, err);
    case STN_CODEC_F64:
        *(double *)to = *(const double *)from;
        return check_real(shape, row, *(const double *)from, err);
    case STN_CODEC_FIXED:
    case STN_CODEC_NAME:
    case STN_CODEC_DATA:
        return adopt_bytes(shape, row, from, ours, err);
    case STN_CODEC_LIST:
        if (check_count(shape, row, *(const size_t *)count, err) != STN_OK) {
            return STN_LIMIT;
        }
        *count_of(row, ours) = (uint32_t) * (const size_t *)count;
        memcpy(to, from, sizeof(uint32_t *));
        return STN_OK;
    case STN_CODEC_ONE:
        return adopt_messages(shape, row, from, 1, ours, err);
    case STN_CODEC_MANY:
        return adopt_messages(shape, row, from, *(const size_t *)count, ours, err);
    }
    return STN_INVALID;
}

static enum stn_code adopt(const struct stn_codec_shape *shape, const ProtobufCMessage *message,
                           void *ours, struct stn_err *err)
{
    for (size_t i = 0; i < shape->n_rows; i++) {
        enum stn_code code = adopt_row(shape, &shape->rows[i], message, ours, err);
        if (code != STN_OK) {
            return code;
        }
    }
    return shape->check == NULL ? STN_OK : shape->check(ours, err);
}

/* A varint of at most 10 bytes (developers.google.com/protocol-buffers, "Encoding"); sets failed
 * when it is cut. */
static uint64_t take_varint(struct stn_cursor *cursor)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = stn_buf_take_u8(cursor);
        v |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (byte < 0x80) {
            return v;
        }
    }
    cursor->failed = true;
    return 0;
}

static void skip_value(struct stn_cursor *cursor, uint64_t wire_type)
{
    uint64_t size = wire_type == 1 ? 8 : 4;
    if (wire_type == 0) {
        (void)take_varint(cursor);
        return;
    }
    if (wire_type == 2) {
        size = take_varint(cursor);
    }
    if ((wire_type != 1 && wire_type != 2 && wire_type != 5) || size > cursor->size) {
        cursor->failed = true;
        return;
    }
    (void)stn_buf_take(cursor, (size_t)size);
}

/* protobuf-c would quietly keep the last of several members: look for oneself that there is one. */
static enum stn_code find_member(const void *p, size_t size, const struct stn_codec_shape **ret,
                                 uint32_t *ret_type, struct stn_err *err)
{
    struct stn_cursor cursor = stn_buf_cursor(p, size);
    size_t n_members = 0;
    while (cursor.at < cursor.size && !cursor.failed) {
        uint64_t tag = take_varint(&cursor);
        const struct stn_codec_shape *shape =
            tag >> 3 < ENVELOPE_MAX ? stn_codec_table_shape((uint32_t)(tag >> 3)) : NULL;
        if (shape != NULL) {
            *ret = shape;
            *ret_type = (uint32_t)(tag >> 3);
            n_members++;
        }
        skip_value(&cursor, tag & 7);
    }
    if (cursor.failed) {
        return stn_err_set(err, STN_INVALID, "these %zu bytes are no message", size);
    }
    if (n_members != 1) {
        return stn_err_set(err, n_members == 0 ? STN_UNSUPPORTED : STN_INVALID,
                           "an envelope with %zu known messages, not one", n_members);
    }
    return STN_OK;
}

enum stn_code stn_codec_decode(struct stn_msg *ret, struct stn_arena *arena, const void *p,
                               size_t size, struct stn_err *err)
{
    const struct stn_codec_shape *shape = NULL;
    uint32_t type = 0;
    ProtobufCMessage *outer = NULL;
    if (size > STN_MSG_BYTES) {
        return stn_err_set(err, STN_LIMIT, "a message of %zu bytes, at most %u", size,
                           STN_MSG_BYTES);
    }
    enum stn_code code = find_member(p, size, &shape, &type, err);
    if (code == STN_OK) {
        code = unpack(stn_codec_table_envelope(), arena, p, size, &outer, err);
    }
    if (code != STN_OK) {
        return code;
    }
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(stn_codec_table_envelope(), type);
    const ProtobufCMessage *body;
    memcpy(&body, (char *)outer + field->offset, sizeof body);
    if (body == NULL) { /* the member's number with a wire type that is none of a message */
        return stn_err_set(err, STN_INVALID, "these %zu bytes are no %s", size, field->name);
    }
    memset(ret, 0, sizeof *ret);
    ret->type = (enum stn_msg_type)type;
    return adopt(shape, body, &ret->check_in, err);
}

static enum stn_code decode_small(const struct stn_codec_shape *shape, void *ours, const void *p,
                                  size_t size, struct stn_err *err)
{
    struct stn_arena arena = {0};
    ProtobufCMessage *message = NULL;
    if (size > STN_HELLO_BYTES) {
        return stn_err_set(err, STN_LIMIT, "a hello of %zu bytes, at most %d", size,
                           STN_HELLO_BYTES);
    }
    enum stn_code code = unpack(shape->descriptor, &arena, p, size, &message, err);
    if (code == STN_OK) {
        code = adopt(shape, message, ours, err);
    }
    stn_arena_fini(&arena);
    return code;
}

enum stn_code stn_codec_hello_decode(struct stn_hello *ret, const void *p, size_t size,
                                     struct stn_err *err)
{
    memset(ret, 0, sizeof *ret);
    return decode_small(&stn_codec_table_hello, ret, p, size, err);
}

enum stn_code stn_codec_hello_reply_decode(struct stn_hello_reply *ret, const void *p, size_t size,
                                           struct stn_err *err)
{
    memset(ret, 0, sizeof *ret);
    return decode_small(&stn_codec_table_hello_reply, ret, p, size, err);
}
