/* store_table: which member of a record (server/core/record.h) is which column of state.db, and the schema. store.c
 * reads the rows in loops. A new member is a row here and a step of the schema. Thread: any; constants. */
#ifndef STN_SERVER_SHELL_STORE_TABLE_H
#define STN_SERVER_SHELL_STORE_TABLE_H

#include <stddef.h>

#include "server/core/record.h"

enum stn_store_kind {
    STN_STORE_TEXT, /* char[size] with its zero */
    STN_STORE_BYTES, /* size bytes, exactly */
    STN_STORE_U32,
    STN_STORE_U64, /* as the int64 of the same bits: UINT64_MAX, "never", is -1 */
    STN_STORE_F32,
    STN_STORE_F64,
    STN_STORE_BOOL,
    STN_STORE_BLOB, /* a const uint8_t *; size is where in the record its size_t is */
    STN_STORE_CONFIG /* struct stn_msg_round_config, as the codec encodes the message */
};

struct stn_store_column {
    const char *name;
    enum stn_store_kind kind;
    size_t at; /* in struct stn_record */
    size_t size;
};

struct stn_store_table {
    const char *name;
    const struct stn_store_column *columns; /* the key's come first; a row without a name ends them */
    size_t n_key;
    size_t n_forget; /* FORGET goes by the first so many of them */
};

#define STN_STORE_TABLES 7   /* one for each enum stn_record_type */
#define STN_STORE_COLUMNS 56 /* most columns of one */

extern const struct stn_store_table stn_store_table_rows[STN_STORE_TABLES];

/* The steps of the schema, for stn_db_open. */
extern const char *const stn_store_table_steps[];
extern const size_t stn_store_table_n_steps;

#endif
