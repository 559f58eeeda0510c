#include "client/cli/cli.h"

#include <stdio.h>

#include "client/cli/session.h"
#include "compute/backend.h"

struct options {
    bool unused; /* there are none, and a struct has something */
};

static const struct options defaults = {0};

/* What is seen of one backend after the other. */
struct listing {
    json_t *list; /* NULL: as text */
    const char *backend;
};

static void see(void *user, const struct stn_backend_device *device)
{
    const struct listing *listing = user;
    if (listing->list != NULL) {
        json_t *row = json_pack("{ss sI ss ss sI ss}", "backend", listing->backend, "number", (json_int_t)device->number, "name",
                                device->name, "type", device->type, "memory_bytes", (json_int_t)device->memory, "caps",
                                device->caps);
        (void)json_array_append_new(listing->list, row);
        return;
    }
    (void)printf("%-8s %u  %s (%s", listing->backend, device->number, device->name, device->type);
    if (device->memory > 0) {
        (void)printf(", %llu MiB", (unsigned long long)(device->memory >> 20));
    }
    (void)printf(")%s%s\n", device->caps[0] != '\0' ? ": " : "", device->caps);
}

/* A machine without Vulkan has its processor. */
static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    struct listing listing = {.list = line->json ? json_array() : NULL};
    const struct stn_backend_row *row;
    (void)parsed;
    for (size_t i = 0; (row = stn_backend_row(i)) != NULL; i++) {
        struct stn_err why;
        listing.backend = row->name;
        if (row->devices(see, &listing, &why) != STN_OK && !line->json) {
            (void)printf("%-8s -  %s\n", row->name, why.text);
        }
    }
    return line->json ? stn_session_take_json(json_pack("{so}", "devices", listing.list), err) : STN_OK;
}

const struct stn_command stn_cmd_bench_devices = {
    .name = "bench devices", .args = "", .summary = "what this machine can compute on",
    .example = "sterna bench devices", .defaults = &defaults, .size = sizeof(struct options), .run = run,
};
