#include "compute/backend.h"

#include <string.h>

#include "compute/cpu/cpu.h"
#ifdef STN_HAS_VULKAN
#include "compute/vulkan/vulkan.h"
#endif

static const struct stn_backend_row *const rows[] = {
    &stn_cpu_backend,
#ifdef STN_HAS_VULKAN
    &stn_vulkan_backend,
#endif
};

const struct stn_backend_row *stn_backend_find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (name == NULL || strcmp(rows[i]->name, name) == 0) {
            return rows[i];
        }
    }
    return NULL;
}

const struct stn_backend_row *stn_backend_row(size_t number)
{
    return number < sizeof rows / sizeof rows[0] ? rows[number] : NULL;
}

enum stn_code stn_backend_check(const struct stn_backend *backend, struct stn_err *err)
{
    return backend->row->check == NULL ? STN_OK : backend->row->check(backend, err);
}
