/* file: what a program needs of a file system so that a power cut, a full disk or a second process
 * never leaves half a file under a name that counts. Errors name the path; a full disk is STN_FULL,
 * a missing file STN_NOT_FOUND. Paths are at most STN_FILE_PATH_MAX bytes with their zero, else
 * STN_LIMIT. Thread: any. */
#ifndef STN_IO_FILE_H
#define STN_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define STN_FILE_PATH_MAX 4096
#define STN_FILE_MODE 0644   /* what anybody may read */
#define STN_FILE_SECRET 0600 /* keys, state: for its owner alone, whatever the umask */

/* ---- whole files ---- */

/* Puts size bytes under path, all or nothing: written beside it, synced, renamed over it, the
 * folder synced. On failure the old file is as it was and nothing is left behind. */
enum stn_code stn_file_replace(const char *path, const void *p, size_t size, unsigned mode,
                               struct stn_err *err) STN_CHECKED;

/* The same with what another file holds. */
enum stn_code stn_file_copy(const char *from, const char *to, unsigned mode,
                            struct stn_err *err) STN_CHECKED;

/* Appends the whole file to buf. More than limit bytes are STN_LIMIT, before anything is read. */
enum stn_code stn_file_read(const char *path, size_t limit, struct stn_buf *buf,
                            struct stn_err *err) STN_CHECKED;

/* ---- a file that appears whole, written piece by piece ---- */

struct stn_file_draft {
    int fd;        /* of the temporary file: stn_file_pwrite may be used on it */
    uint64_t size; /* bytes put so far */
    char path[STN_FILE_PATH_MAX];
    char temporary[STN_FILE_PATH_MAX];
};

/* Opens the temporary file beside path. The caller keeps or drops the draft. */
enum stn_code stn_file_draft(struct stn_file_draft *draft, const char *path, unsigned mode,
                             struct stn_err *err) STN_CHECKED;
enum stn_code stn_file_draft_put(struct stn_file_draft *draft, const void *p, size_t size,
                                 struct stn_err *err) STN_CHECKED;
/* Syncs it and puts it under its path. The draft is over, also on failure, and then nothing is
 * left. */
enum stn_code stn_file_draft_keep(struct stn_file_draft *draft, struct stn_err *err) STN_CHECKED;
/* Removes it. A draft that is over, or was never opened because stn_file_draft failed, is fine. */
void stn_file_draft_drop(struct stn_file_draft *draft);

/* ---- open files ---- */

enum stn_file_how {
    STN_FILE_READ,   /* it must exist */
    STN_FILE_WRITE,  /* read and write; made when it is missing */
    STN_FILE_APPEND, /* as write, and every write goes to the end */
    STN_FILE_NEW     /* as write; STN_EXISTS when there is one */
};

/* The caller closes *ret with stn_file_close. mode counts when it is made. */
enum stn_code stn_file_open(int *ret, const char *path, enum stn_file_how how, unsigned mode,
                            struct stn_err *err) STN_CHECKED;
/* -1 is fine. */
void stn_file_close(int fd);

/* All size bytes or an error; path is for its text. A file that ends before is STN_CORRUPT. */
enum stn_code stn_file_pread(int fd, const char *path, void *p, size_t size, uint64_t offset,
                             struct stn_err *err) STN_CHECKED;
enum stn_code stn_file_pwrite(int fd, const char *path, const void *p, size_t size, uint64_t offset,
                              struct stn_err *err) STN_CHECKED;
/* To where the file's position is: the end, for STN_FILE_APPEND. On failure what was written of it
 * is cut off. */
enum stn_code stn_file_append(int fd, const char *path, const void *p, size_t size,
                              struct stn_err *err) STN_CHECKED;
/* What was written survives a power cut. */
enum stn_code stn_file_sync(int fd, const char *path, struct stn_err *err) STN_CHECKED;
/* Reserves the room on the disk, so that later writes within size cannot find it full. */
enum stn_code stn_file_reserve(int fd, const char *path, uint64_t size,
                               struct stn_err *err) STN_CHECKED;
enum stn_code stn_file_truncate(int fd, const char *path, uint64_t size,
                                struct stn_err *err) STN_CHECKED;

/* ---- maps ---- */

struct stn_file_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
};

enum stn_file_use {
    STN_FILE_USE_ONCE, /* front to back */
    STN_FILE_USE_RANDOM,
    STN_FILE_USE_ALL /* read ahead: it will be needed whole */
};

/* Maps the whole regular file, read only. Another process that cuts it short while it is mapped
 * kills this one. */
enum stn_code stn_file_map(struct stn_file_map *ret, const char *path, enum stn_file_use use,
                           struct stn_err *err) STN_CHECKED;
/* Zeroed is fine. */
void stn_file_unmap(struct stn_file_map *map);

/* ---- folders and names ---- */

/* "FOLDER/NAME". */
enum stn_code stn_file_join(char ret[static STN_FILE_PATH_MAX], const char *folder,
                            const char *name, struct stn_err *err) STN_CHECKED;
/* Makes it and what is missing above it. One that exists is fine, and keeps its mode. */
enum stn_code stn_file_make_folder(const char *path, unsigned mode,
                                   struct stn_err *err) STN_CHECKED;
/* Calls each(user, name) for every entry but . and .., in the order of the bytes; a code other than
 * STN_OK ends it. */
enum stn_code stn_file_list(const char *path,
                            enum stn_code (*each)(void *user, const char *name,
                                                  struct stn_err *err),
                            void *user, struct stn_err *err) STN_CHECKED;
/* Within one file system; replaces to. Both folders are synced. */
enum stn_code stn_file_rename(const char *from, const char *to, struct stn_err *err) STN_CHECKED;
/* A file or an empty folder. */
enum stn_code stn_file_remove(const char *path, struct stn_err *err) STN_CHECKED;
/* A folder and all below it; links are removed, not followed. */
enum stn_code stn_file_remove_tree(const char *path, struct stn_err *err) STN_CHECKED;
bool stn_file_exists(const char *path);
/* Bytes of a regular file. */
enum stn_code stn_file_size(const char *path, uint64_t *ret, struct stn_err *err) STN_CHECKED;
/* Bytes that an ordinary user may still write on the disk that holds path. */
enum stn_code stn_file_free_space(const char *path, uint64_t *ret, struct stn_err *err) STN_CHECKED;

/* ---- one process a folder ---- */

/* Locks the file at path (made when missing) until *ret is closed with stn_file_close or the process ends. One that
 * another process holds is asked for again for a second: the holder may have been killed just now. Then STN_EXISTS
 * names it. */
enum stn_code stn_file_lock(int *ret, const char *path, struct stn_err *err) STN_CHECKED;

#endif
