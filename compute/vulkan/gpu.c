#include "compute/vulkan/gpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/vulkan/gpu_caps.h"

#define MOST_DEVICES 16
#define LAYER "VK_LAYER_KHRONOS_validation"

enum stn_code stn_gpu_check(struct stn_gpu *gpu, VkResult result, const char *what, struct stn_err *err)
{
    switch (result) {
    case VK_SUCCESS:
        return STN_OK;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_POOL_MEMORY:
    case VK_ERROR_FRAGMENTED_POOL:
        return stn_err_set(err, STN_MEMORY, "%.100s: no memory for %s", gpu->caps.name, what);
    case VK_ERROR_DEVICE_LOST:
        gpu->lost = true;
        return stn_err_set(err, STN_IO, "%.100s: the device was lost during %s", gpu->caps.name, what);
    default:
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s: %s failed, the driver says %d", gpu->caps.name, what, (int)result);
    }
}

bool stn_gpu_fails(uint64_t *fault)
{
    return *fault > 0 && --*fault == 0;
}

static VkBool32 complain(VkDebugUtilsMessageSeverityFlagBitsEXT severity, VkDebugUtilsMessageTypeFlagsEXT types,
                         const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    struct stn_gpu *gpu = user;
    (void)severity, (void)types;
    gpu->n_complaints++;
    (void)fprintf(stderr, "vulkan: %s\n", data->pMessage);
    return VK_FALSE;
}

/* ---- the instance ---- */

static enum stn_code open_library(struct stn_gpu *gpu, PFN_vkGetInstanceProcAddr *ret, struct stn_err *err)
{
    static const char *const names[] = {"libvulkan.so.1", "libvulkan.so"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && gpu->library == NULL; i++) {
        gpu->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    }
    void *symbol = gpu->library == NULL ? NULL : dlsym(gpu->library, "vkGetInstanceProcAddr");
    if (symbol == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED, "no Vulkan here: libvulkan.so.1 is not installed");
    }
    memcpy(ret, &symbol, sizeof *ret); /* C has no cast from an object's pointer to a function's */
    return STN_OK;
}

static bool has_layer(const struct stn_gpu *gpu)
{
    uint32_t n = 0;
    bool found = false;
    if (gpu->vk.EnumerateInstanceLayerProperties(&n, NULL) != VK_SUCCESS) {
        return false;
    }
    VkLayerProperties *list = stn_mem_new(n, sizeof *list);
    if (list != NULL && gpu->vk.EnumerateInstanceLayerProperties(&n, list) == VK_SUCCESS) {
        for (uint32_t i = 0; i < n && !found; i++) {
            found = strcmp(list[i].layerName, LAYER) == 0;
        }
    }
    stn_mem_free(list);
    return found;
}

static bool has_instance_extension(const struct stn_gpu *gpu, const char *name)
{
    uint32_t n = 0;
    bool found = false;
    if (gpu->vk.EnumerateInstanceExtensionProperties(NULL, &n, NULL) != VK_SUCCESS) {
        return false;
    }
    VkExtensionProperties *list = stn_mem_new(n, sizeof *list);
    if (list != NULL && gpu->vk.EnumerateInstanceExtensionProperties(NULL, &n, list) == VK_SUCCESS) {
        for (uint32_t i = 0; i < n && !found; i++) {
            found = strcmp(list[i].extensionName, name) == 0;
        }
    }
    stn_mem_free(list);
    return found;
}

/* VK_KHR_portability_enumeration shows devices that are Vulkan over something else, as on Apple's. */
#define PORTABILITY "VK_KHR_portability_enumeration"
#define PORTABILITY_FLAG 1

static VkResult make_instance(struct stn_gpu *gpu)
{
    const char *layers[] = {LAYER}, *extensions[2];
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                     .pApplicationName = "sterna",
                                     .apiVersion = VK_API_VERSION_1_1};
    VkDebugUtilsMessengerCreateInfoEXT messages = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = complain,
        .pUserData = gpu};
    const VkValidationFeatureEnableEXT hazards = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    VkValidationFeaturesEXT features = {.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                        .pNext = &messages,
                                        .enabledValidationFeatureCount = 1,
                                        .pEnabledValidationFeatures = &hazards};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    if (gpu->validates) {
        info.pNext = &features;
        info.enabledLayerCount = 1;
        info.ppEnabledLayerNames = layers;
        extensions[info.enabledExtensionCount++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    }
    if (has_instance_extension(gpu, PORTABILITY)) {
        info.flags |= PORTABILITY_FLAG;
        extensions[info.enabledExtensionCount++] = PORTABILITY;
    }
    info.ppEnabledExtensionNames = extensions;
    return gpu->vk.CreateInstance(&info, NULL, &gpu->instance);
}

static void listen(struct stn_gpu *gpu, PFN_vkGetInstanceProcAddr get)
{
    PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)get(gpu->instance, "vkCreateDebugUtilsMessengerEXT");
    VkDebugUtilsMessengerCreateInfoEXT messages = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = complain,
        .pUserData = gpu};
    gpu->validates = create != NULL && create(gpu->instance, &messages, NULL, &gpu->messenger) == VK_SUCCESS;
    if (gpu->validates) {
        gpu->destroy_messenger =
            (PFN_vkDestroyDebugUtilsMessengerEXT)get(gpu->instance, "vkDestroyDebugUtilsMessengerEXT");
    }
}

static enum stn_code open_instance(struct stn_gpu *gpu, bool validate, struct stn_err *err)
{
    PFN_vkGetInstanceProcAddr get = NULL;
    enum stn_code code = open_library(gpu, &get, err);
    if (code != STN_OK) {
        return code;
    }
#define X(name) gpu->vk.name = (PFN_vk##name)get(NULL, "vk" #name);
    STN_GPU_GLOBAL(X)
#undef X
    uint32_t version = VK_API_VERSION_1_0;
    if (gpu->vk.EnumerateInstanceVersion == NULL || gpu->vk.EnumerateInstanceVersion(&version) != VK_SUCCESS ||
        version < VK_API_VERSION_1_1) {
        return stn_err_set(err, STN_UNSUPPORTED, "libvulkan is older than 1.1");
    }
    gpu->validates = validate && has_layer(gpu);
    VkResult result = make_instance(gpu);
    if (result != VK_SUCCESS) {
        gpu->instance = VK_NULL_HANDLE;
        return stn_err_set(err, STN_UNSUPPORTED, "Vulkan does not start, it says %d", (int)result);
    }
#define X(name) gpu->vk.name = (PFN_vk##name)get(gpu->instance, "vk" #name);
    STN_GPU_INSTANCE(X)
#undef X
    if (gpu->validates) {
        listen(gpu, get);
    }
    return STN_OK;
}

/* ---- the choice ---- */

static size_t find_devices(const struct stn_gpu *gpu, VkPhysicalDevice list[static MOST_DEVICES])
{
    uint32_t n = MOST_DEVICES, kept = 0;
    VkResult result = gpu->vk.EnumeratePhysicalDevices(gpu->instance, &n, list);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) {
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        VkPhysicalDeviceProperties p;
        gpu->vk.GetPhysicalDeviceProperties(list[i], &p);
        if (p.apiVersion >= VK_API_VERSION_1_1) {
            list[kept++] = list[i];
        }
    }
    return kept;
}

static unsigned strength(const struct stn_gpu_caps *caps)
{
    switch (caps->type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return 4;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return 3;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return 0;
    default:
        return 1;
    }
}

bool stn_gpu_is_wanted(const char *wanted, size_t number, const struct stn_gpu_caps *caps)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%zu", number);
    return wanted == NULL || strcmp(wanted, text) == 0 || (strlen(wanted) > 2 && strstr(caps->name, wanted) != NULL);
}

static enum stn_code choose(struct stn_gpu *gpu, const char *wanted, struct stn_err *err)
{
    VkPhysicalDevice list[MOST_DEVICES];
    size_t n = find_devices(gpu, list);
    if (n == 0) {
        return stn_err_set(err, STN_UNSUPPORTED, "Vulkan finds no device here");
    }
    for (size_t i = 0; i < n; i++) {
        struct stn_gpu_caps caps;
        stn_gpu_caps_read(gpu, list[i], &caps);
        if (stn_gpu_is_wanted(wanted, i, &caps) &&
            (gpu->physical == VK_NULL_HANDLE || strength(&caps) > strength(&gpu->caps))) {
            gpu->physical = list[i];
            gpu->caps = caps;
        }
    }
    if (gpu->physical == VK_NULL_HANDLE) {
        return stn_err_set(err, STN_NOT_FOUND, "no Vulkan device is called %.60s, there are %zu", wanted, n);
    }
    if (gpu->caps.n_buffers < STN_GPU_FLOOR_BUFFERS || gpu->caps.shared < STN_GPU_FLOOR_SHARED ||
        gpu->caps.invocations < STN_GPU_FLOOR_INVOCATIONS) {
        return stn_err_set(err, STN_UNSUPPORTED,
                           "%.100s: %u storage buffers, %u bytes of shared memory, %u invocations; at least %u, %u, %u",
                           gpu->caps.name, gpu->caps.n_buffers, gpu->caps.shared, gpu->caps.invocations,
                           STN_GPU_FLOOR_BUFFERS, STN_GPU_FLOOR_SHARED, STN_GPU_FLOOR_INVOCATIONS);
    }
    return STN_OK;
}

static enum stn_code find_family(struct stn_gpu *gpu, struct stn_err *err)
{
    enum { MOST = 16 };
    VkQueueFamilyProperties list[MOST];
    uint32_t n = MOST, best = MOST;
    gpu->vk.GetPhysicalDeviceQueueFamilyProperties(gpu->physical, &n, list);
    for (uint32_t i = 0; i < n; i++) {
        bool computes = (list[i].queueFlags & VK_QUEUE_COMPUTE_BIT) != 0;
        bool alone = (list[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) == 0; /* better than in the way of what draws the screen */
        bool best_alone = best != MOST && (list[best].queueFlags & VK_QUEUE_GRAPHICS_BIT) == 0;
        if (computes && (best == MOST || (alone && !best_alone))) {
            best = i;
        }
    }
    if (best == MOST) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s: it does not compute", gpu->caps.name);
    }
    gpu->family = best;
    if (list[best].timestampValidBits < 36) {
        gpu->caps.timestamp_ns = 0; /* it would run over within seconds */
    }
    return STN_OK;
}

static enum stn_code open_device(struct stn_gpu *gpu, struct stn_err *err)
{
    enum stn_code code = find_family(gpu, err);
    if (code != STN_OK) {
        return code;
    }
    const float priority = 0.5f;
    struct stn_gpu_caps_features features;
    stn_gpu_caps_features(gpu, gpu->physical, &features);
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = gpu->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &features.all,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .ppEnabledExtensionNames = features.extensions};
    if (stn_gpu_caps_extension(gpu, gpu->physical, "VK_KHR_portability_subset")) {
        features.extensions[features.n_extensions++] = "VK_KHR_portability_subset"; /* who has it must be told so */
    }
    info.enabledExtensionCount = features.n_extensions;
    VkResult result = gpu->vk.CreateDevice(gpu->physical, &info, NULL, &gpu->handle);
    if (result != VK_SUCCESS) {
        gpu->handle = VK_NULL_HANDLE;
        return stn_gpu_check(gpu, result, "opening it", err);
    }
#define X(name) gpu->vk.name = (PFN_vk##name)gpu->vk.GetDeviceProcAddr(gpu->handle, "vk" #name);
    STN_GPU_DEVICE(X)
#undef X
    gpu->vk.GetDeviceQueue(gpu->handle, gpu->family, 0, &gpu->queue);
    gpu->vk.GetPhysicalDeviceMemoryProperties(gpu->physical, &gpu->memory);
    return STN_OK;
}

enum stn_code stn_gpu_open(struct stn_gpu **ret, const struct stn_gpu_config *config, struct stn_err *err)
{
    struct stn_gpu *gpu = stn_mem_new(1, sizeof *gpu);
    if (gpu == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a device");
    }
    enum stn_code code = open_instance(gpu, config->validate, err);
    if (code == STN_OK) {
        code = choose(gpu, config->wanted, err);
    }
    if (code == STN_OK) {
        code = open_device(gpu, err);
    }
    if (code != STN_OK) {
        stn_gpu_close(gpu);
        return code;
    }
    if (config->floor) {
        stn_gpu_caps_clamp(&gpu->caps);
    }
    gpu->faults = config->faults;
    gpu->caps.unified = gpu->caps.unified && !config->staged;
    gpu->caps.emulates = gpu->caps.emulates && !config->emulated;
    *ret = gpu;
    return STN_OK;
}

void stn_gpu_close(struct stn_gpu *gpu)
{
    if (gpu == NULL) {
        return;
    }
    if (gpu->handle != VK_NULL_HANDLE) {
        (void)gpu->vk.DeviceWaitIdle(gpu->handle); /* a lost device is idle */
        gpu->vk.DestroyDevice(gpu->handle, NULL);
    }
    if (gpu->messenger != VK_NULL_HANDLE) {
        gpu->destroy_messenger(gpu->instance, gpu->messenger, NULL);
    }
    if (gpu->instance != VK_NULL_HANDLE) {
        gpu->vk.DestroyInstance(gpu->instance, NULL);
    }
    /* the library stays: drivers leave threads and thread-local destructors behind that point into it */
    stn_mem_free(gpu);
}

enum stn_code stn_gpu_list(void (*see)(void *user, const struct stn_gpu_caps *caps), void *user, struct stn_err *err)
{
    struct stn_gpu *gpu = stn_mem_new(1, sizeof *gpu);
    if (gpu == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a device");
    }
    enum stn_code code = open_instance(gpu, false, err);
    if (code == STN_OK) {
        VkPhysicalDevice list[MOST_DEVICES];
        size_t n = find_devices(gpu, list);
        for (size_t i = 0; i < n; i++) {
            struct stn_gpu_caps caps;
            stn_gpu_caps_read(gpu, list[i], &caps);
            see(user, &caps);
        }
    }
    stn_gpu_close(gpu);
    return code;
}
