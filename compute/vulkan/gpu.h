/* gpu: one GPU through Vulkan 1.1, and what it can do. libvulkan is opened at run time: where there is none, or no gpu,
 * opening says so and nothing else happens. What the device can do is decided once, when it is opened; everybody else asks the
 * caps. Nothing here is touched before somebody opens a device: a process that forks does so first.
 * Thread: one at a time for each device. */
#ifndef STN_COMPUTE_VULKAN_GPU_H
#define STN_COMPUTE_VULKAN_GPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vulkan/vulkan_core.h>

#include "base/err.h"
#include "compute/vulkan/gpu_khr.h"

/* What we call, by where its address comes from. */
#define STN_GPU_GLOBAL(X)                                                                                           \
    X(CreateInstance)                                                                                                  \
    X(EnumerateInstanceVersion)                                                                                        \
    X(EnumerateInstanceLayerProperties)                                                                                \
    X(EnumerateInstanceExtensionProperties)
#define STN_GPU_INSTANCE(X)                                                                                         \
    X(DestroyInstance)                                                                                                 \
    X(EnumeratePhysicalDevices)                                                                                        \
    X(GetPhysicalDeviceProperties)                                                                                     \
    X(GetPhysicalDeviceProperties2)                                                                                    \
    X(GetPhysicalDeviceFeatures2)                                                                                      \
    X(GetPhysicalDeviceMemoryProperties)                                                                               \
    X(GetPhysicalDeviceQueueFamilyProperties)                                                                          \
    X(EnumerateDeviceExtensionProperties)                                                                              \
    X(GetPhysicalDeviceCooperativeMatrixPropertiesKHR)                                                                 \
    X(CreateDevice)                                                                                                    \
    X(GetDeviceProcAddr)
#define STN_GPU_DEVICE(X)                                                                                           \
    X(DestroyDevice)                                                                                                   \
    X(GetDeviceQueue)                                                                                                  \
    X(DeviceWaitIdle)                                                                                                  \
    X(QueueSubmit)                                                                                                     \
    X(CreateFence)                                                                                                     \
    X(DestroyFence)                                                                                                    \
    X(ResetFences)                                                                                                     \
    X(WaitForFences)                                                                                                   \
    X(AllocateMemory)                                                                                                  \
    X(FreeMemory)                                                                                                      \
    X(MapMemory)                                                                                                       \
    X(CreateBuffer)                                                                                                    \
    X(DestroyBuffer)                                                                                                   \
    X(GetBufferMemoryRequirements)                                                                                     \
    X(BindBufferMemory)                                                                                                \
    X(CreateShaderModule)                                                                                              \
    X(DestroyShaderModule)                                                                                             \
    X(CreatePipelineCache)                                                                                             \
    X(GetPipelineCacheData)                                                                                            \
    X(DestroyPipelineCache)                                                                                            \
    X(CreateComputePipelines)                                                                                          \
    X(DestroyPipeline)                                                                                                 \
    X(CreatePipelineLayout)                                                                                            \
    X(DestroyPipelineLayout)                                                                                           \
    X(CreateDescriptorSetLayout)                                                                                       \
    X(DestroyDescriptorSetLayout)                                                                                      \
    X(CreateDescriptorPool)                                                                                            \
    X(DestroyDescriptorPool)                                                                                           \
    X(AllocateDescriptorSets)                                                                                          \
    X(UpdateDescriptorSets)                                                                                            \
    X(CreateCommandPool)                                                                                               \
    X(DestroyCommandPool)                                                                                              \
    X(AllocateCommandBuffers)                                                                                          \
    X(FreeCommandBuffers)                                                                                              \
    X(BeginCommandBuffer)                                                                                              \
    X(EndCommandBuffer)                                                                                                \
    X(CmdBindPipeline)                                                                                                 \
    X(CmdBindDescriptorSets)                                                                                           \
    X(CmdPushConstants)                                                                                                \
    X(CmdDispatchIndirect)                                                                                             \
    X(CmdPipelineBarrier)                                                                                              \
    X(CmdCopyBuffer)                                                                                                   \
    X(CmdFillBuffer)                                                                                                   \
    X(CmdResetQueryPool)                                                                                               \
    X(CmdWriteTimestamp)                                                                                               \
    X(CreateQueryPool)                                                                                                 \
    X(DestroyQueryPool)                                                                                                \
    X(GetQueryPoolResults)

struct stn_gpu_calls {
#define X(name) PFN_vk##name name;
    STN_GPU_GLOBAL(X)
    STN_GPU_INSTANCE(X)
    STN_GPU_DEVICE(X)
#undef X
};

/* What the weakest phone that we support gives: valid for every kernel's plain variant. */
#define STN_GPU_FLOOR_RANGE ((uint64_t)128 << 20)
#define STN_GPU_FLOOR_ALLOCATION ((uint64_t)1 << 30)
#define STN_GPU_FLOOR_SHARED 16384u
#define STN_GPU_FLOOR_INVOCATIONS 128u
#define STN_GPU_FLOOR_SUBGROUP 4u
#define STN_GPU_FLOOR_BUFFERS 12u

#define STN_GPU_SUBGROUPS 4u        /* of a work group that multiplies cooperative matrices */
#define STN_GPU_MATRIX_SHARED 10240u /* bytes that its tiles take, beside a result for each subgroup */
#define STN_GPU_SPLIT_SHARED 15360u  /* where one side is split in two */

/* A cooperative matrix product that a subgroup does at once: (m, k) by (k, n). m 0: there is none. */
struct stn_gpu_matrix {
    uint32_t m, n, k;
};

struct stn_gpu_caps {
    char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE];
    VkPhysicalDeviceType type;
    uint32_t vendor, model, driver, api;
    uint8_t cache_id[VK_UUID_SIZE]; /* of pipelines that the driver has compiled */
    uint64_t memory;                /* bytes of the largest heap that is the device's own */
    uint64_t range;                 /* bytes that one binding of a storage buffer spans, at most */
    uint64_t allocation;            /* bytes of one piece of memory, at most */
    uint32_t shared;                /* bytes of shared memory */
    uint32_t invocations;           /* of a work group */
    uint32_t subgroup;
    uint32_t n_buffers;             /* storage buffers that a shader may see */
    uint32_t offset_align;          /* bytes, of a binding's offset */
    uint32_t max_groups;            /* in each direction */
    bool storage8, storage16;
    bool f16;                       /* arithmetic in shaders */
    bool dot8;                      /* sums of four products of int8, in one instruction */
    struct stn_gpu_matrix matrix_i8, matrix_f16; /* int8 into int32, f16 into f32 */
    bool emulates;                  /* a processor that plays a gpu: what is fast elsewhere is slow here */
    bool unified;                   /* all memory is the processor's too: nothing is copied */
    float timestamp_ns;             /* 0: it measures no time */
};

/* What is made to fail, to see that it is survived: each counts from 1 and is met once; 0: never. */
struct stn_gpu_faults {
    uint64_t lost;   /* the submission that the device is lost at */
    uint64_t broken; /* the submission that is taken, and the device lost before it is done */
    uint64_t late;   /* the submission that is given up while the device computes it */
    uint64_t oom;    /* the piece of memory that the device does not have */
};

struct stn_gpu_config {
    bool floor;         /* caps are clamped to the weakest phone's */
    bool validate;      /* with the validation layer, where it is installed */
    bool emulated;      /* variants of kernels that a processor only plays are taken all the same */
    bool staged;        /* copies to and from the device even where its memory is ours */
    const char *wanted; /* a part of the name, or the number in the list; NULL: the strongest */
    struct stn_gpu_faults faults;
};

struct stn_gpu {
    struct stn_gpu_calls vk;
    void *library;
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice handle;
    VkQueue queue;
    uint32_t family;
    VkPhysicalDeviceMemoryProperties memory;
    struct stn_gpu_caps caps;
    VkDebugUtilsMessengerEXT messenger;
    PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger;
    unsigned n_complaints; /* of the validation layer, which also go to stderr */
    struct stn_gpu_faults faults; /* that are still to come */
    bool validates, lost;
    struct stn_err failed; /* what a write or a read could not say: what is asked next does */
};

/* STN_UNSUPPORTED when there is no Vulkan or no device for us, STN_NOT_FOUND when none is the wanted one. The caller closes
 * *ret. */
enum stn_code stn_gpu_open(struct stn_gpu **ret, const struct stn_gpu_config *config, struct stn_err *err) STN_CHECKED;
void stn_gpu_close(struct stn_gpu *gpu);

/* Calls SEE for each device that could be opened, in the order of their numbers. */
enum stn_code stn_gpu_list(void (*see)(void *user, const struct stn_gpu_caps *caps), void *user,
                              struct stn_err *err) STN_CHECKED;

/* Whether a device's name or number is what is wanted; NULL wants any. */
bool stn_gpu_is_wanted(const char *wanted, size_t number, const struct stn_gpu_caps *caps);

/* What VkResult means for us: WHAT names what was being done. A lost device is marked as lost and stays so. */
enum stn_code stn_gpu_check(struct stn_gpu *gpu, VkResult result, const char *what, struct stn_err *err) STN_CHECKED;

/* Whether a fault's time has come; it is one nearer. */
bool stn_gpu_fails(uint64_t *fault);

#endif
