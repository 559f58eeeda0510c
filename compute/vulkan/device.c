#include "compute/vulkan/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/vulkan/device_caps.h"

#define MOST_DEVICES 16
#define LAYER "VK_LAYER_KHRONOS_validation"

enum stn_code stn_device_check(struct stn_device *device, VkResult result, const char *what, struct stn_err *err)
{
    switch (result) {
    case VK_SUCCESS:
        return STN_OK;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_POOL_MEMORY:
    case VK_ERROR_FRAGMENTED_POOL:
        return stn_err_set(err, STN_MEMORY, "%.100s: no memory for %s", device->caps.name, what);
    case VK_ERROR_DEVICE_LOST:
        device->lost = true;
        return stn_err_set(err, STN_IO, "%.100s: the device was lost during %s", device->caps.name, what);
    default:
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s: %s failed, the driver says %d", device->caps.name, what, (int)result);
    }
}

static VkBool32 complain(VkDebugUtilsMessageSeverityFlagBitsEXT severity, VkDebugUtilsMessageTypeFlagsEXT types,
                         const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    struct stn_device *device = user;
    (void)severity, (void)types;
    device->n_complaints++;
    (void)fprintf(stderr, "vulkan: %s\n", data->pMessage);
    return VK_FALSE;
}

/* ---- the instance ---- */

static enum stn_code open_library(struct stn_device *device, PFN_vkGetInstanceProcAddr *ret, struct stn_err *err)
{
    static const char *const names[] = {"libvulkan.so.1", "libvulkan.so"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && device->library == NULL; i++) {
        device->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    }
    void *symbol = device->library == NULL ? NULL : dlsym(device->library, "vkGetInstanceProcAddr");
    if (symbol == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED, "no Vulkan here: libvulkan.so.1 is not installed");
    }
    memcpy(ret, &symbol, sizeof *ret); /* C has no cast from an object's pointer to a function's */
    return STN_OK;
}

static bool has_layer(const struct stn_device *device)
{
    uint32_t n = 0;
    bool found = false;
    if (device->vk.EnumerateInstanceLayerProperties(&n, NULL) != VK_SUCCESS) {
        return false;
    }
    VkLayerProperties *list = stn_mem_new(n, sizeof *list);
    if (list != NULL && device->vk.EnumerateInstanceLayerProperties(&n, list) == VK_SUCCESS) {
        for (uint32_t i = 0; i < n && !found; i++) {
            found = strcmp(list[i].layerName, LAYER) == 0;
        }
    }
    stn_mem_free(list);
    return found;
}

static bool has_instance_extension(const struct stn_device *device, const char *name)
{
    uint32_t n = 0;
    bool found = false;
    if (device->vk.EnumerateInstanceExtensionProperties(NULL, &n, NULL) != VK_SUCCESS) {
        return false;
    }
    VkExtensionProperties *list = stn_mem_new(n, sizeof *list);
    if (list != NULL && device->vk.EnumerateInstanceExtensionProperties(NULL, &n, list) == VK_SUCCESS) {
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

static VkResult make_instance(struct stn_device *device)
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
        .pUserData = device};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    if (device->validates) {
        info.pNext = &messages;
        info.enabledLayerCount = 1;
        info.ppEnabledLayerNames = layers;
        extensions[info.enabledExtensionCount++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    }
    if (has_instance_extension(device, PORTABILITY)) {
        info.flags |= PORTABILITY_FLAG;
        extensions[info.enabledExtensionCount++] = PORTABILITY;
    }
    info.ppEnabledExtensionNames = extensions;
    return device->vk.CreateInstance(&info, NULL, &device->instance);
}

static void listen(struct stn_device *device, PFN_vkGetInstanceProcAddr get)
{
    PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)get(device->instance, "vkCreateDebugUtilsMessengerEXT");
    VkDebugUtilsMessengerCreateInfoEXT messages = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = complain,
        .pUserData = device};
    device->validates = create != NULL && create(device->instance, &messages, NULL, &device->messenger) == VK_SUCCESS;
    if (device->validates) {
        device->destroy_messenger =
            (PFN_vkDestroyDebugUtilsMessengerEXT)get(device->instance, "vkDestroyDebugUtilsMessengerEXT");
    }
}

static enum stn_code open_instance(struct stn_device *device, bool validate, struct stn_err *err)
{
    PFN_vkGetInstanceProcAddr get = NULL;
    enum stn_code code = open_library(device, &get, err);
    if (code != STN_OK) {
        return code;
    }
#define X(name) device->vk.name = (PFN_vk##name)get(NULL, "vk" #name);
    STN_DEVICE_GLOBAL(X)
#undef X
    uint32_t version = VK_API_VERSION_1_0;
    if (device->vk.EnumerateInstanceVersion == NULL || device->vk.EnumerateInstanceVersion(&version) != VK_SUCCESS ||
        version < VK_API_VERSION_1_1) {
        return stn_err_set(err, STN_UNSUPPORTED, "libvulkan is older than 1.1");
    }
    device->validates = validate && has_layer(device);
    VkResult result = make_instance(device);
    if (result != VK_SUCCESS) {
        device->instance = VK_NULL_HANDLE;
        return stn_err_set(err, STN_UNSUPPORTED, "Vulkan does not start, it says %d", (int)result);
    }
#define X(name) device->vk.name = (PFN_vk##name)get(device->instance, "vk" #name);
    STN_DEVICE_INSTANCE(X)
#undef X
    if (device->validates) {
        listen(device, get);
    }
    return STN_OK;
}

/* ---- the choice ---- */

static size_t find_devices(const struct stn_device *device, VkPhysicalDevice list[static MOST_DEVICES])
{
    uint32_t n = MOST_DEVICES, kept = 0;
    VkResult result = device->vk.EnumeratePhysicalDevices(device->instance, &n, list);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) {
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        VkPhysicalDeviceProperties p;
        device->vk.GetPhysicalDeviceProperties(list[i], &p);
        if (p.apiVersion >= VK_API_VERSION_1_1) {
            list[kept++] = list[i];
        }
    }
    return kept;
}

static unsigned strength(const struct stn_device_caps *caps)
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

static bool is_wanted(const char *wanted, size_t number, const struct stn_device_caps *caps)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%zu", number);
    return wanted == NULL || strcmp(wanted, text) == 0 || (strlen(wanted) > 2 && strstr(caps->name, wanted) != NULL);
}

static enum stn_code choose(struct stn_device *device, const char *wanted, struct stn_err *err)
{
    VkPhysicalDevice list[MOST_DEVICES];
    size_t n = find_devices(device, list);
    if (n == 0) {
        return stn_err_set(err, STN_UNSUPPORTED, "Vulkan finds no device here");
    }
    for (size_t i = 0; i < n; i++) {
        struct stn_device_caps caps;
        stn_device_caps_read(device, list[i], &caps);
        if (is_wanted(wanted, i, &caps) &&
            (device->physical == VK_NULL_HANDLE || strength(&caps) > strength(&device->caps))) {
            device->physical = list[i];
            device->caps = caps;
        }
    }
    if (device->physical == VK_NULL_HANDLE) {
        return stn_err_set(err, STN_NOT_FOUND, "no Vulkan device is called %.60s, there are %zu", wanted, n);
    }
    if (device->caps.n_buffers < STN_DEVICE_FLOOR_BUFFERS || device->caps.shared < STN_DEVICE_FLOOR_SHARED ||
        device->caps.invocations < STN_DEVICE_FLOOR_INVOCATIONS) {
        return stn_err_set(err, STN_UNSUPPORTED,
                           "%.100s: %u storage buffers, %u bytes of shared memory, %u invocations; at least %u, %u, %u",
                           device->caps.name, device->caps.n_buffers, device->caps.shared, device->caps.invocations,
                           STN_DEVICE_FLOOR_BUFFERS, STN_DEVICE_FLOOR_SHARED, STN_DEVICE_FLOOR_INVOCATIONS);
    }
    return STN_OK;
}

static enum stn_code find_family(struct stn_device *device, struct stn_err *err)
{
    enum { MOST = 16 };
    VkQueueFamilyProperties list[MOST];
    uint32_t n = MOST, best = MOST;
    device->vk.GetPhysicalDeviceQueueFamilyProperties(device->physical, &n, list);
    for (uint32_t i = 0; i < n; i++) {
        bool computes = (list[i].queueFlags & VK_QUEUE_COMPUTE_BIT) != 0;
        bool alone = (list[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) == 0; /* better than in the way of what draws the screen */
        bool best_alone = best != MOST && (list[best].queueFlags & VK_QUEUE_GRAPHICS_BIT) == 0;
        if (computes && (best == MOST || (alone && !best_alone))) {
            best = i;
        }
    }
    if (best == MOST) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s: it does not compute", device->caps.name);
    }
    device->family = best;
    if (list[best].timestampValidBits < 36) {
        device->caps.timestamp_ns = 0; /* it would run over within seconds */
    }
    return STN_OK;
}

static enum stn_code open_device(struct stn_device *device, struct stn_err *err)
{
    enum stn_code code = find_family(device, err);
    if (code != STN_OK) {
        return code;
    }
    const float priority = 0.5f;
    const char *extensions[1];
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = device->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .ppEnabledExtensionNames = extensions};
    if (stn_device_caps_extension(device, device->physical, "VK_KHR_portability_subset")) {
        extensions[info.enabledExtensionCount++] = "VK_KHR_portability_subset"; /* who has it must be told so */
    }
    VkResult result = device->vk.CreateDevice(device->physical, &info, NULL, &device->handle);
    if (result != VK_SUCCESS) {
        device->handle = VK_NULL_HANDLE;
        return stn_device_check(device, result, "opening it", err);
    }
#define X(name) device->vk.name = (PFN_vk##name)device->vk.GetDeviceProcAddr(device->handle, "vk" #name);
    STN_DEVICE_DEVICE(X)
#undef X
    device->vk.GetDeviceQueue(device->handle, device->family, 0, &device->queue);
    device->vk.GetPhysicalDeviceMemoryProperties(device->physical, &device->memory);
    return STN_OK;
}

enum stn_code stn_device_open(struct stn_device **ret, const struct stn_device_config *config, struct stn_err *err)
{
    struct stn_device *device = stn_mem_new(1, sizeof *device);
    if (device == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a device");
    }
    enum stn_code code = open_instance(device, config->validate, err);
    if (code == STN_OK) {
        code = choose(device, config->wanted, err);
    }
    if (code == STN_OK) {
        code = open_device(device, err);
    }
    if (code != STN_OK) {
        stn_device_close(device);
        return code;
    }
    if (config->floor) {
        stn_device_caps_clamp(&device->caps);
    }
    device->caps.unified = device->caps.unified && !config->staged;
    *ret = device;
    return STN_OK;
}

void stn_device_close(struct stn_device *device)
{
    if (device == NULL) {
        return;
    }
    if (device->handle != VK_NULL_HANDLE) {
        (void)device->vk.DeviceWaitIdle(device->handle); /* a lost device is idle */
        device->vk.DestroyDevice(device->handle, NULL);
    }
    if (device->messenger != VK_NULL_HANDLE) {
        device->destroy_messenger(device->instance, device->messenger, NULL);
    }
    if (device->instance != VK_NULL_HANDLE) {
        device->vk.DestroyInstance(device->instance, NULL);
    }
    /* the library stays: drivers leave threads and thread-local destructors behind that point into it */
    stn_mem_free(device);
}

enum stn_code stn_device_list(void (*see)(void *user, const struct stn_device_caps *caps), void *user, struct stn_err *err)
{
    struct stn_device *device = stn_mem_new(1, sizeof *device);
    if (device == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a device");
    }
    enum stn_code code = open_instance(device, false, err);
    if (code == STN_OK) {
        VkPhysicalDevice list[MOST_DEVICES];
        size_t n = find_devices(device, list);
        for (size_t i = 0; i < n; i++) {
            struct stn_device_caps caps;
            stn_device_caps_read(device, list[i], &caps);
            see(user, &caps);
        }
    }
    stn_device_close(device);
    return code;
}
