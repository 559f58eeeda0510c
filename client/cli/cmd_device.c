#include <stdio.h>

#include "client/cli/cli.h"
#include "client/cli/operator.h"
#include "client/cli/session.h"

static const struct stn_operator defaults = {0};
static const struct stn_option options[] = {STN_OPERATOR_OPTIONS, {0}};

static enum stn_code list(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    json_t *reply = NULL;
    char enrolled[STN_OPERATOR_TIME], seen[STN_OPERATOR_TIME], since[STN_OPERATOR_TIME];
    enum stn_code code = stn_operator_ask(parsed, json_pack("{ss}", "command", "device.list"), STN_OPERATOR_MS, &reply, err);
    if (code != STN_OK || line->json) {
        return code != STN_OK ? code : stn_session_take_json(reply, err);
    }
    const json_t *devices = json_object_get(reply, "devices");
    (void)printf("%-64s  %-19s  %-19s  %s\n", "device", "enrolled (UTC)", "last seen (UTC)", "quarantined (UTC)");
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const json_t *device = json_array_get(devices, i);
        bool is_out = json_object_get(device, "quarantined_ms") != NULL;
        (void)printf("%-64s  %-19s  %-19s  %s\n", stn_operator_text(device, "device"),
                     stn_operator_time(device, "enrolled_ms", enrolled), stn_operator_time(device, "seen_ms", seen),
                     is_out ? stn_operator_time(device, "quarantined_ms", since) : "");
    }
    json_decref(reply);
    return STN_OK;
}

static enum stn_code release(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    json_t *reply = NULL, *request = json_pack("{ss ss}", "command", "device.release", "device", line->args[0]);
    enum stn_code code = stn_operator_ask(parsed, request, STN_OPERATOR_MS, &reply, err);
    if (code != STN_OK || line->json) {
        return code != STN_OK ? code : stn_session_take_json(reply, err);
    }
    json_decref(reply);
    (void)printf("device %s may take part again\n", line->args[0]);
    return STN_OK;
}

static enum stn_code adapters(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    json_t *reply = NULL, *request = json_pack("{ss}", "command", "adapter.list");
    char created[STN_OPERATOR_TIME];
    if (request != NULL && line->n_args > 0) {
        (void)json_object_set_new(request, "task", json_string(line->args[0]));
    }
    enum stn_code code = stn_operator_ask(parsed, request, STN_OPERATOR_MS, &reply, err);
    if (code != STN_OK || line->json) {
        return code != STN_OK ? code : stn_session_take_json(reply, err);
    }
    const json_t *list_of = json_object_get(reply, "adapters");
    (void)printf("%-20s %7s %8s %8s  %-19s  %s\n", "task", "version", "devices", "loss", "made (UTC)", "file");
    for (size_t i = 0; i < json_array_size(list_of); i++) {
        const json_t *a = json_array_get(list_of, i);
        (void)printf("%-20s %7lld %8lld %8.4f  %-19s  %s\n", stn_operator_text(a, "task"), stn_operator_number(a, "version"),
                     stn_operator_number(a, "included"), json_real_value(json_object_get(a, "loss")),
                     stn_operator_time(a, "created_ms", created), stn_operator_text(a, "path"));
    }
    json_decref(reply);
    return STN_OK;
}

const struct stn_command stn_cmd_device_list = {
    .name = "device list", .args = "", .summary = "every enrolled device, when it was last seen, and who lied in a round",
    .example = "sterna device list --dir /var/lib/sterna", .options = options, .defaults = &defaults,
    .size = sizeof defaults, .run = list,
};
const struct stn_command stn_cmd_device_release = {
    .name = "device release", .args = "DEVICE", .min_args = 1, .max_args = 1,
    .summary = "let a quarantined device take part again", .example = "sterna device release 3f9c... --dir /var/lib/sterna",
    .options = options, .defaults = &defaults, .size = sizeof defaults, .run = release,
};
const struct stn_command stn_cmd_adapter_list = {
    .name = "adapter list", .args = "[TASK]", .max_args = 1, .summary = "the versions that the fleet has made",
    .example = "sterna adapter list home --dir /var/lib/sterna", .options = options, .defaults = &defaults,
    .size = sizeof defaults, .run = adapters,
};
