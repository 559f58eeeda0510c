#include "tests/lib/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

static char folder[64];

static void go(void)
{
    stn_err_ignore(stn_file_remove_tree(folder, NULL));
}

void stn_scratch_require(bool ok)
{
    if (!ok) {
        abort();
    }
}

const char *stn_scratch_folder(void)
{
    if (folder[0] == '\0') {
        (void)snprintf(folder, sizeof folder, "/dev/shm/sterna-fuzz-XXXXXX");
        if (mkdtemp(folder) == NULL) {
            (void)snprintf(folder, sizeof folder, "/tmp/sterna-fuzz-XXXXXX");
            stn_scratch_require(mkdtemp(folder) != NULL);
        }
        stn_scratch_require(atexit(go) == 0);
    }
    return folder;
}

const char *stn_scratch_path(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    stn_scratch_require((size_t)snprintf(path, sizeof paths[0], "%s/%s", stn_scratch_folder(), name) < sizeof paths[0]);
    return path;
}

void stn_scratch_put(const char *name, const void *p, size_t size)
{
    const char *path = stn_scratch_path(name);
    FILE *f = fopen(path, "wb");
    stn_scratch_require(f != NULL && chmod(path, 0600) == 0);
    bool ok = fwrite(p, 1, size, f) == size;
    stn_scratch_require(fclose(f) == 0 && ok);
}

void stn_scratch_remove(const char *name)
{
    (void)unlink(stn_scratch_path(name));
}
