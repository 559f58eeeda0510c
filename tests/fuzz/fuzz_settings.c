/* The doors of the operator's and the owner's files, each by its own table: a task, sternad.conf, directory.conf and agent.conf.
 * Every input is read as each of them. */
#include "tests/lib/fuzz.h"

#include <math.h>
#include <string.h>

#include "client/shell/owner.h"
#include "server/shell/settings.h"
#include "server/shell/task_file.h"
#include "tests/lib/scratch.h"

static void read_task(const uint8_t *data, size_t size)
{
    struct stn_task_file task;
    stn_task_file_defaults(&task);
    if (stn_task_file_parse(&task, "input", (const char *)data, size, NULL) == STN_OK) {
        struct stn_digest one = stn_task_file_digest(&task.spec), two = stn_task_file_digest(&task.spec);
        stn_scratch_require(memcmp(&one, &two, sizeof one) == 0);
        stn_scratch_require(task.spec.name[0] != '\0' && task.base[0] != '\0' && task.spec.n_min <= task.spec.target);
        stn_scratch_require(isfinite(task.spec.train.lr) && task.spec.train.rank >= 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stn_owner owner;
    static struct stn_settings settings;
    static struct stn_settings_directory directory;
    struct stn_err err;
    read_task(data, size);
    stn_scratch_put("x.conf", data, size);
    const char *path = stn_scratch_path("x.conf");
    if (stn_settings_read(&settings, path, &err) == STN_OK) {
        stn_scratch_require(settings.requests >= 16 && settings.snapshot >= 1 && settings.directory[0] == '/');
    }
    if (stn_settings_read_directory(&directory, path, &err) == STN_OK) {
        stn_scratch_require(directory.token_days >= 1 && directory.socket[0] == '/' && strlen(directory.coordinator) == 64);
    }
    if (stn_owner_read(&owner, path, &err) == STN_OK) {
        stn_scratch_require(owner.n_data <= STN_MSG_TASKS && owner.n_min >= STN_OWNER_N_MIN_LEAST);
        for (uint32_t i = 0; i < owner.n_data; i++) {
            stn_scratch_require(stn_owner_data(&owner, owner.data[i].task) != NULL);
        }
    }
    return 0;
}
