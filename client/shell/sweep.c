#include "client/shell/sweep.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

static bool is_installed(const struct stn_device *device, const struct stn_digest *adapter)
{
    const struct stn_agent_record *record = stn_agent_record(device->core);
    for (uint32_t i = 0; i < record->n_installed; i++) {
        if (stn_digest_equal(&record->installed[i].adapter, adapter)) {
            return true;
        }
    }
    return false;
}

void stn_sweep_adapter(const struct stn_device *device, const struct stn_digest *adapter)
{
    bool is_in_hand = stn_digest_equal(&stn_agent_record(device->core)->lease.adapter.digest, adapter);
    bool arrives = device->fetch.is_busy && stn_digest_equal(&device->fetch.blob.digest, adapter);
    if (!is_in_hand && !arrives && !is_installed(device, adapter)) {
        stn_err_ignore(stn_blob_remove(&device->store, adapter, NULL)); /* it is only kept a little longer */
    }
}

struct sweep {
    char folder[STN_FILE_PATH_MAX];
    const char *keep;   /* a name, or "" */
    const char *ending; /* of the names that go; "": any */
};

static enum stn_code each_file(void *user, const char *name, struct stn_err *err)
{
    const struct sweep *sweep = user;
    char path[STN_FILE_PATH_MAX];
    (void)err;
    if (strcmp(name, sweep->keep) != 0 && stn_str_ends(name, sweep->ending) &&
        stn_file_join(path, sweep->folder, name, NULL) == STN_OK) {
        stn_err_ignore(stn_file_remove(path, NULL)); /* the next sweep may */
    }
    return STN_OK;
}

static void sweep_folder(const struct stn_device *device, const char *name, const char *keep, const char *ending)
{
    struct sweep sweep = {.keep = keep, .ending = ending};
    stn_place_path(&device->place, name, sweep.folder);
    stn_err_ignore(stn_file_list(sweep.folder, each_file, &sweep, NULL)); /* as each file */
}

void stn_sweep_work(const struct stn_device *device, uint64_t lease)
{
    char keep[64] = "";
    if (lease != 0) {
        (void)snprintf(keep, sizeof keep, "%016llx.delta", (unsigned long long)lease);
    }
    sweep_folder(device, "work", keep, "");
}

void stn_sweep_start(const struct stn_device *device, const struct stn_agent_record *record)
{
    const struct stn_msg_lease *lease = &record->lease;
    const struct stn_digest needed[] = {lease->base.digest, lease->adapter.digest};
    stn_sweep_work(device, record->phase < STN_AGENT_UPLOADING ? lease->lease : 0);
    stn_blob_sweep(&device->store, needed, lease->lease != 0 ? 2 : 0);
    sweep_folder(device, "adapters", "", ".tmp"); /* TASK.gguf.PID.N.tmp */
}
