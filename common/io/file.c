#include "io/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/fd.h"
#include "io/names.h"
#include "io/usage.h"

#define LOCK_TRIES 50
#define LOCK_PAUSE_US 20000
#define CHUNK ((size_t)1 << 20)
#define COPY_MOST ((size_t)1 << 30)

static enum stn_code too_long(const char *path, struct stn_err *err)
{
    return stn_err_set(err, STN_LIMIT, "%.80s...: a path of more than %d bytes", path,
                       STN_FILE_PATH_MAX - 1);
}

/* The folder part of path, "." when it has none. path is at most STN_FILE_PATH_MAX bytes. */
static void folder_of(char ret[static STN_FILE_PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(ret, path, size);
    ret[size] = '\0';
    if (size == 0) {
        (void)stn_str_copy(ret, STN_FILE_PATH_MAX, ".");
    }
}

static int sync_with(int (*sync)(int fd), int fd)
{
    uint64_t began_ns = stn_usage_now_ns();
    int rc = sync(fd), number = errno;
    stn_usage_waited(STN_USAGE_SYNC, began_ns);
    errno = number;
    return rc;
}

static enum stn_code sync_folder_of(const char *path, struct stn_err *err)
{
    char folder[STN_FILE_PATH_MAX];
    folder_of(folder, path);
    int fd = stn_fd_open(folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        sync(); /* of everything: it needs no descriptor, and what was renamed cannot be asked to wait for one */
        return STN_OK;
    }
    if (fd < 0) {
        return stn_err_errno(err, errno, "%s", folder);
    }
    enum stn_code code = STN_OK;
    /* EINVAL: a file system that has no such thing */
    if (sync_with(fsync, fd) != 0 && errno != EINVAL) {
        code = stn_err_errno(err, errno, "%s", folder);
    }
    (void)stn_fd_close(fd);
    return code;
}

/* ---- open files ---- */

enum stn_code stn_file_open(int *ret, const char *path, enum stn_file_how how, unsigned mode,
                            struct stn_err *err)
{
    static const int flags[] = {
        [STN_FILE_READ] = O_RDONLY,
        [STN_FILE_WRITE] = O_RDWR | O_CREAT,
        [STN_FILE_APPEND] = O_RDWR | O_CREAT | O_APPEND,
        [STN_FILE_NEW] = O_RDWR | O_CREAT | O_EXCL,
    };
    if (strlen(path) >= STN_FILE_PATH_MAX) {
        return too_long(path, err);
    }
    int fd = stn_fd_open(path, flags[how], mode);
    if (fd < 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    *ret = fd;
    return STN_OK;
}

void stn_file_close(int fd)
{
    if (fd >= 0) {
        (void)stn_fd_close(fd); /* what must not be lost was synced */
    }
}

enum stn_code stn_file_pread(int fd, const char *path, void *p, size_t size, uint64_t offset,
                             struct stn_err *err)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = pread(fd, (char *)p + at, size - at, (off_t)(offset + at));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return stn_err_errno(err, errno, "%s", path);
        }
        if (n == 0) {
            return stn_err_set(err, STN_CORRUPT, "%s: ends at byte %llu, expected %llu", path,
                               (unsigned long long)(offset + at),
                               (unsigned long long)(offset + size));
        }
        at += (size_t)n;
    }
    return STN_OK;
}

enum stn_code stn_file_pwrite(int fd, const char *path, const void *p, size_t size, uint64_t offset,
                              struct stn_err *err)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = pwrite(fd, (const char *)p + at, size - at, (off_t)(offset + at));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return stn_err_errno(err, errno, "%s", path);
        }
        at += (size_t)n; /* a short write: the next one says why */
    }
    return STN_OK;
}

enum stn_code stn_file_append(int fd, const char *path, const void *p, size_t size,
                              struct stn_err *err)
{
    off_t start = lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) != 0 ? SEEK_END : SEEK_CUR);
    if (start < 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    for (size_t at = 0; at < size;) {
        ssize_t n = write(fd, (const char *)p + at, size - at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            enum stn_code code = stn_err_errno(err, errno, "%s", path);
            if (ftruncate(fd, start) != 0 || lseek(fd, start, SEEK_SET) < 0) {
                (void)stn_err_prefix(err, "half a record is left at byte %lld", (long long)start);
            }
            return code;
        }
        at += (size_t)n;
    }
    return STN_OK;
}

enum stn_code stn_file_sync(int fd, const char *path, struct stn_err *err)
{
    return sync_with(fdatasync, fd) == 0 ? STN_OK : stn_err_errno(err, errno, "%s", path);
}

enum stn_code stn_file_reserve(int fd, const char *path, uint64_t size, struct stn_err *err)
{
    if (size == 0) {
        return STN_OK;
    }
    int rc = size > INT64_MAX ? EFBIG : posix_fallocate(fd, 0, (off_t)size);
    return rc == 0 ? STN_OK
                   : stn_err_errno(err, rc, "%s: %llu bytes", path, (unsigned long long)size);
}

enum stn_code stn_file_truncate(int fd, const char *path, uint64_t size, struct stn_err *err)
{
    int rc = size > INT64_MAX ? (errno = EFBIG, -1) : ftruncate(fd, (off_t)size);
    return rc == 0 ? STN_OK : stn_err_errno(err, errno, "%s", path);
}

/* ---- drafts and whole files ---- */

enum stn_code stn_file_draft(struct stn_file_draft *draft, const char *path, unsigned mode,
                             struct stn_err *err)
{
    static _Atomic unsigned counter;
    draft->fd = -1;
    draft->size = 0;
    if (!stn_str_copy(draft->path, sizeof draft->path, path)) {
        return too_long(path, err);
    }
    int n = snprintf(draft->temporary, sizeof draft->temporary, "%s.%ld.%u.tmp", path,
                     (long)getpid(), atomic_fetch_add(&counter, 1));
    if (n < 0 || (size_t)n >= sizeof draft->temporary) {
        return too_long(path, err);
    }
    /* a file of this name is what a killed process of our number left */
    (void)unlink(draft->temporary);
    int fd;
    enum stn_code code = stn_file_open(&fd, draft->temporary, STN_FILE_NEW, mode, err);
    if (code == STN_OK) {
        draft->fd = fd;
    }
    return code;
}

enum stn_code stn_file_draft_put(struct stn_file_draft *draft, const void *p, size_t size,
                                 struct stn_err *err)
{
    assert(draft->fd >= 0);
    enum stn_code code = stn_file_pwrite(draft->fd, draft->path, p, size, draft->size, err);
    if (code == STN_OK) {
        draft->size += size;
    }
    return code;
}

enum stn_code stn_file_draft_keep(struct stn_file_draft *draft, struct stn_err *err)
{
    assert(draft->fd >= 0);
    enum stn_code code = STN_OK;
    if (sync_with(fsync, draft->fd) != 0) {
        code = stn_err_errno(err, errno, "%s", draft->path);
    }
    int rc = stn_fd_close(draft->fd);
    draft->fd = -1;
    if (code == STN_OK && rc != 0) {
        code = stn_err_errno(err, errno, "%s", draft->path);
    }
    if (code == STN_OK && rename(draft->temporary, draft->path) != 0) {
        code = stn_err_errno(err, errno, "%s", draft->path);
    }
    if (code != STN_OK) {
        (void)unlink(draft->temporary);
        return code;
    }
    return sync_folder_of(draft->path, err);
}

void stn_file_draft_drop(struct stn_file_draft *draft)
{
    if (draft->fd >= 0) {
        (void)stn_fd_close(draft->fd);
        (void)unlink(draft->temporary);
        draft->fd = -1;
    }
}

enum stn_code stn_file_replace(const char *path, const void *p, size_t size, unsigned mode,
                               struct stn_err *err)
{
    struct stn_file_draft draft;
    enum stn_code code = stn_file_draft(&draft, path, mode, err);
    if (code == STN_OK) {
        code = stn_file_draft_put(&draft, p, size, err);
    }
    if (code == STN_OK) {
        code = stn_file_draft_keep(&draft, err);
    }
    stn_file_draft_drop(&draft);
    return code;
}

static enum stn_code copy_bytes(int from, const char *path, struct stn_file_draft *draft, struct stn_err *err)
{
    uint8_t *bytes = stn_mem_new(CHUNK, 1);
    if (bytes == NULL) {
        return stn_err_set(err, STN_MEMORY, "%s: no memory to copy it", path);
    }
    enum stn_code code = STN_OK;
    for (ssize_t n = 1; n != 0 && code == STN_OK;) {
        n = pread(from, bytes, CHUNK, (off_t)draft->size);
        if (n < 0 && errno != EINTR) {
            code = stn_err_errno(err, errno, "%s", path);
        } else if (n > 0) {
            code = stn_file_draft_put(draft, bytes, (size_t)n, err);
        }
    }
    stn_mem_free(bytes);
    return code;
}

/* The kernel copies, or shares the blocks, as far as it can between these two; the rest goes through our hands. */
static enum stn_code copy(int from, const char *path, struct stn_file_draft *draft, struct stn_err *err)
{
    off_t at_from = 0, at_to = 0;
    ssize_t n;
    do {
        n = copy_file_range(from, &at_from, draft->fd, &at_to, COPY_MOST, 0);
    } while (n > 0 || (n < 0 && errno == EINTR));
    draft->size = (uint64_t)at_to;
    return copy_bytes(from, path, draft, err);
}

enum stn_code stn_file_copy(const char *from, const char *to, unsigned mode, struct stn_err *err)
{
    struct stn_file_draft draft = {.fd = -1};
    int fd = -1;
    enum stn_code code = stn_file_open(&fd, from, STN_FILE_READ, 0, err);
    code = code == STN_OK ? stn_file_draft(&draft, to, mode, err) : code;
    code = code == STN_OK ? copy(fd, from, &draft, err) : code;
    code = code == STN_OK ? stn_file_draft_keep(&draft, err) : code;
    stn_file_draft_drop(&draft);
    stn_file_close(fd);
    return code;
}

/* expected: what it is thought to hold. One byte more is asked for, so that growth cannot pass
 * unseen. */
static enum stn_code read_all(int fd, const char *path, size_t expected, size_t limit,
                              struct stn_buf *buf, struct stn_err *err)
{
    for (size_t total = 0;;) {
        size_t want = (total < expected ? expected - total : CHUNK) + 1;
        want = want > limit - total + 1 ? limit - total + 1 : want;
        uint8_t *to = stn_buf_extend(buf, want);
        if (to == NULL) {
            return stn_err_set(err, STN_MEMORY, "%s: no memory for %zu bytes", path, total + want);
        }
        ssize_t n = read(fd, to, want);
        int number = errno;
        buf->size -= want - (n > 0 ? (size_t)n : 0);
        if (n < 0 && number == EINTR) {
            continue;
        }
        if (n < 0) {
            return stn_err_errno(err, number, "%s", path);
        }
        total += (size_t)n;
        if (total > limit) {
            return stn_err_set(err, STN_LIMIT, "%s: more than %zu bytes", path, limit);
        }
        if (n == 0) {
            return STN_OK;
        }
    }
}

enum stn_code stn_file_read(const char *path, size_t limit, struct stn_buf *buf,
                            struct stn_err *err)
{
    assert(limit < SIZE_MAX);
    int fd;
    enum stn_code code = stn_file_open(&fd, path, STN_FILE_READ, 0, err);
    if (code != STN_OK) {
        return code;
    }
    size_t before = buf->size;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        code = stn_err_errno(err, errno, "%s", path);
    } else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > limit) {
        code = stn_err_set(err, STN_LIMIT, "%s: %lld bytes, at most %zu", path,
                           (long long)st.st_size, limit);
    } else {
        code = read_all(fd, path, S_ISREG(st.st_mode) ? (size_t)st.st_size : 0, limit, buf, err);
    }
    if (code != STN_OK) {
        buf->size = before;
    }
    (void)stn_fd_close(fd);
    return code;
}

/* ---- maps ---- */

enum stn_code stn_file_map(struct stn_file_map *ret, const char *path, enum stn_file_use use,
                           struct stn_err *err)
{
    static const int advice[] = {[STN_FILE_USE_ONCE] = MADV_SEQUENTIAL,
                                 [STN_FILE_USE_RANDOM] = MADV_RANDOM,
                                 [STN_FILE_USE_ALL] = MADV_WILLNEED};
    int fd;
    enum stn_code code = stn_file_open(&fd, path, STN_FILE_READ, 0, err);
    if (code != STN_OK) {
        return code;
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        code = stn_err_errno(err, errno, "%s", path);
    } else if (!S_ISREG(st.st_mode)) {
        code = stn_err_set(err, STN_INVALID, "%s: not a regular file", path);
    } else if ((uint64_t)st.st_size > PTRDIFF_MAX) {
        code = stn_err_set(err, STN_LIMIT, "%s: %lld bytes cannot be mapped", path,
                           (long long)st.st_size);
    } else if (st.st_size == 0) {
        *ret = (struct stn_file_map){0};
    } else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            code = stn_err_errno(err, errno, "%s", path);
        } else {
            (void)madvise(p, (size_t)st.st_size, advice[use]); /* advice may be declined */
            *ret = (struct stn_file_map){.data = p, .size = (size_t)st.st_size};
        }
    }
    (void)stn_fd_close(fd);
    return code;
}

void stn_file_unmap(struct stn_file_map *map)
{
    if (map->data != NULL) {
        (void)munmap((void *)(uintptr_t)map->data, map->size);
        *map = (struct stn_file_map){0};
    }
}

/* ---- names ---- */

enum stn_code stn_file_join(char ret[static STN_FILE_PATH_MAX], const char *folder,
                            const char *name, struct stn_err *err)
{
    size_t n = strlen(folder), m = strlen(name);
    bool slash = n > 0 && folder[n - 1] != '/';
    if (n + m + 2 > STN_FILE_PATH_MAX) {
        return too_long(folder, err);
    }
    memmove(ret, folder, n);
    if (slash) {
        ret[n++] = '/';
    }
    memcpy(ret + n, name, m + 1);
    return STN_OK;
}

enum stn_code stn_file_rename(const char *from, const char *to, struct stn_err *err)
{
    if (strlen(from) >= STN_FILE_PATH_MAX || strlen(to) >= STN_FILE_PATH_MAX) {
        return too_long(strlen(from) >= STN_FILE_PATH_MAX ? from : to, err);
    }
    if (rename(from, to) != 0) {
        return stn_err_errno(err, errno, "%s to %s", from, to);
    }
    char folder[STN_FILE_PATH_MAX], other[STN_FILE_PATH_MAX];
    folder_of(folder, to);
    folder_of(other, from);
    enum stn_code code = sync_folder_of(to, err);
    return code == STN_OK && strcmp(folder, other) != 0 ? sync_folder_of(from, err) : code;
}

enum stn_code stn_file_remove(const char *path, struct stn_err *err)
{
    return remove(path) == 0 ? STN_OK : stn_err_errno(err, errno, "%s", path);
}

enum stn_code stn_file_make_folder(const char *path, unsigned mode, struct stn_err *err)
{
    char part[STN_FILE_PATH_MAX];
    if (!stn_str_copy(part, sizeof part, path)) {
        return too_long(path, err);
    }
    for (char *end = part; *end != '\0';) {
        end += strspn(end, "/");
        end += strcspn(end, "/");
        char kept = *end;
        *end = '\0';
        if (mkdir(part, (mode_t)mode) != 0 && errno != EEXIST && errno != EISDIR) {
            return stn_err_errno(err, errno, "%s", part);
        }
        *end = kept;
    }
    struct stat st;
    if (stat(path, &st) != 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    return S_ISDIR(st.st_mode) ? STN_OK : stn_err_set(err, STN_EXISTS, "%s: not a folder", path);
}

enum stn_code stn_file_list(const char *path,
                            enum stn_code (*each)(void *user, const char *name,
                                                  struct stn_err *err),
                            void *user, struct stn_err *err)
{
    struct stn_names names;
    enum stn_code code = stn_names_read(&names, path, err);
    if (code != STN_OK) {
        return code;
    }
    for (size_t i = 0; i < names.n && code == STN_OK; i++) {
        code = each(user, names.names[i], err);
    }
    stn_names_fini(&names);
    return code;
}

static enum stn_code remove_entry(void *user, const char *name, struct stn_err *err)
{
    char *path = stn_mem_new(1, STN_FILE_PATH_MAX); /* not on the stack: trees are deep */
    if (path == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a path");
    }
    enum stn_code code = stn_file_join(path, user, name, err);
    if (code == STN_OK) {
        code = stn_file_remove_tree(path, err);
    }
    stn_mem_free(path);
    return code;
}

enum stn_code stn_file_remove_tree(const char *path, struct stn_err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    if (S_ISDIR(st.st_mode)) {
        enum stn_code code = stn_file_list(path, remove_entry, (void *)(uintptr_t)path, err);
        if (code != STN_OK) {
            return code;
        }
    }
    return stn_file_remove(path, err);
}

enum stn_code stn_file_free_space(const char *path, uint64_t *ret, struct stn_err *err)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    *ret = (uint64_t)st.f_bavail * st.f_frsize;
    return STN_OK;
}

bool stn_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

enum stn_code stn_file_size(const char *path, uint64_t *ret, struct stn_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return stn_err_set(err, STN_INVALID, "%s: not a regular file", path);
    }
    *ret = (uint64_t)st.st_size;
    return STN_OK;
}

/* The number in the file, which has room for 32 bytes; "" where there is none. */
static void read_holder(int fd, char text[static 32])
{
    ssize_t n = pread(fd, text, 31, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

enum stn_code stn_file_lock(int *ret, const char *path, struct stn_err *err)
{
    int fd;
    enum stn_code code = stn_file_open(&fd, path, STN_FILE_WRITE, STN_FILE_SECRET, err);
    if (code != STN_OK) {
        return code;
    }
    char text[32];
    for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        int number = errno;
        read_holder(fd, text);
        if (number == EWOULDBLOCK && tries < LOCK_TRIES) {
            (void)usleep(LOCK_PAUSE_US); /* a process that was just killed takes a moment to let go */
            continue;
        }
        (void)stn_fd_close(fd);
        return number != EWOULDBLOCK ? stn_err_errno(err, number, "%s", path)
                                     : stn_err_set(err, STN_EXISTS, "%s: in use by process %s", path,
                                                   text[0] != '\0' ? text : "of unknown number");
    }
    /* the number is for people: a disk too full to hold it does not make the lock worse */
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    bool noted = ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n;
    (void)noted;
    *ret = fd;
    return STN_OK;
}
