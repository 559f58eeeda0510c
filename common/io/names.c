#include "io/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/fd.h"

#define READ_SIZE 8192

/* Appends each name with its zero, and counts them. By the system's own call: closedir(3) would close the descriptor where
 * it has to be kept. */
static enum stn_code read_all(int fd, const char *path, struct stn_buf *ret, size_t *ret_n, struct stn_err *err)
{
    _Alignas(uint64_t) char entries[READ_SIZE]; /* each: inode (8), offset (8), its size (2), type (1), name, zero */
    enum { SIZE_AT = 16, NAME_AT = 19 };
    for (;;) {
        long size = syscall(SYS_getdents64, fd, entries, sizeof entries);
        if (size < 0) {
            return stn_err_errno(err, errno, "%s", path);
        }
        if (size == 0) {
            return ret->failed ? stn_err_set(err, STN_MEMORY, "%s: no memory for %zu names", path, *ret_n) : STN_OK;
        }
        for (size_t at = 0; at < (size_t)size;) {
            uint16_t entry_size = 0;
            const char *name = entries + at + NAME_AT;
            memcpy(&entry_size, entries + at + SIZE_AT, sizeof entry_size);
            at += entry_size;
            if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
                (void)stn_buf_add(ret, name, strlen(name) + 1);
                ++*ret_n;
            }
        }
    }
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum stn_code stn_names_read(struct stn_names *ret, const char *path, struct stn_err *err)
{
    struct stn_buf bytes = {0};
    size_t n = 0;
    int fd = stn_fd_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    enum stn_code code = read_all(fd, path, &bytes, &n, err);
    (void)stn_fd_close(fd);
    char **names = code == STN_OK ? stn_mem_new(n + 1, sizeof *names) : NULL;
    if (names == NULL) {
        stn_buf_fini(&bytes);
        return code != STN_OK ? code : stn_err_set(err, STN_MEMORY, "%s: no memory for %zu names", path, n);
    }
    char *name = (char *)bytes.data;
    for (size_t i = 0; i < n; i++) {
        names[i] = name;
        name += strlen(name) + 1;
    }
    qsort(names, n, sizeof *names, by_bytes);
    *ret = (struct stn_names){.names = names, .n = n, .bytes = (char *)bytes.data};
    return STN_OK;
}

void stn_names_fini(struct stn_names *names)
{
    stn_mem_free(names->names);
    stn_mem_free(names->bytes);
    *names = (struct stn_names){0};
}
