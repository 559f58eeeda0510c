#include <stdio.h>
#include <string.h>

#include "compute/vulkan/gpu_caps.h"
#include "compute/vulkan/vulkan.h"
#include "compute/vulkan/vulkan_env.h"

struct seeing {
    void (*see)(void *user, const struct stn_backend_device *device);
    void *user;
    unsigned number;
    const struct stn_gpu_config *config;
};

static void print_matrix(char *text, size_t size, const char *of, const struct stn_gpu_matrix *matrix)
{
    size_t n = strlen(text);
    if (matrix->m > 0) {
        (void)snprintf(text + n, size - n, ", matrix %s %ux%ux%u", of, matrix->m, matrix->n, matrix->k);
    }
}

static void see_caps(void *user, const struct stn_gpu_caps *caps)
{
    struct seeing *seeing = user;
    char text[256];
    (void)snprintf(text, sizeof text,
                   "vulkan %u.%u, driver %08x, range %llu MiB, shared %u KiB, %u invocations, subgroup %u, %u buffers%s%s%s%s%s",
                   VK_API_VERSION_MAJOR(caps->api), VK_API_VERSION_MINOR(caps->api), caps->driver, (unsigned long long)(caps->range >> 20),
                   caps->shared >> 10, caps->invocations, caps->subgroup, caps->n_buffers, caps->storage16 ? ", storage16" : "",
                   caps->storage8 ? ", storage8" : "", caps->f16 ? ", f16" : "", caps->dot8 ? ", dot8" : "",
                   caps->unified ? ", unified" : "");
    print_matrix(text, sizeof text, "i8", &caps->matrix_i8);
    print_matrix(text, sizeof text, "f16", &caps->matrix_f16);
    const struct stn_backend_device device = {
        .name = caps->name, .type = stn_gpu_caps_type(caps), .number = seeing->number, .memory = caps->memory, .caps = text,
        .is_gpu = !caps->emulates || seeing->config->emulated,
        .is_wanted = stn_gpu_is_wanted(seeing->config->wanted, seeing->number, caps)};
    seeing->number++;
    seeing->see(seeing->user, &device);
}

enum stn_code stn_vulkan_devices(void (*see)(void *user, const struct stn_backend_device *device), void *user, struct stn_err *err)
{
    struct stn_vulkan_env env;
    struct seeing seeing = {see, user, 0, &env.device};
    enum stn_code code = stn_vulkan_env_read(&env, err);
    return code != STN_OK ? code : stn_gpu_list(see_caps, &seeing, err);
}
