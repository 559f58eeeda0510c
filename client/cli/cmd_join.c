#include "client/cli/cli.h"

#include <stdio.h>

#include "base/hex.h"
#include "channel/url.h"
#include "client/cli/session.h"
#include "client/shell/joining.h"
#include "crypto/entropy.h"

struct options {
    const char *dir, *config, *tls_ca;
    uint64_t timeout_s;
};

static const struct options defaults = {.timeout_s = 15};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"dir", 0, STN_OPTION_STR, AT(dir), "DIR", "the agent's folder ($XDG_STATE_HOME/sterna)"},
    {"config", 'c', STN_OPTION_STR, AT(config), "FILE", "its agent.conf (DIR/agent.conf or $XDG_CONFIG_HOME/sterna/agent.conf)"},
    {"tls-ca", 0, STN_OPTION_STR, AT(tls_ca), "FILE", "the authorities to believe, PEM, of a URL over TLS (the system's)"},
    {"timeout", 0, STN_OPTION_U64, AT(timeout_s), "SECONDS", "how long to wait for the coordinator (15)", 1, 3600},
    {0},
};

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    struct stn_url url;
    (void)parsed;
    enum stn_code code = stn_url_get(&url, line->args[0], err);
    stn_entropy_wipe(&url, sizeof url); /* it has the token */
    return code;
}

static enum stn_code join(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    char device[65];
    struct stn_joining_result result;
    const struct stn_joining joining = {.url = line->args[0], .dir = o->dir, .config = o->config, .tls_ca = o->tls_ca,
                                        .timeout_ms = (uint32_t)(o->timeout_s * 1000), .stopping = stn_command_stopping};
    enum stn_code code = stn_joining_run(&joining, &result, err);
    if (code != STN_OK) {
        return code;
    }
    stn_hex_put(device, result.device, sizeof result.device);
    if (line->json) {
        return stn_session_take_json(json_pack("{ss ss ss sb}", "device", device, "config", result.config, "folder",
                                               result.folder, "kept_config", result.kept_config), err);
    }
    (void)printf("this device has joined\n"
                 "  device   %s\n"
                 "  folder   %s\n"
                 "  config   %s%s\n"
                 "next: name your data for a task under [data] in the config, then\n"
                 "  sterna-agent run --config %s\n",
                 device, result.folder, result.config, result.kept_config ? " (kept as it was)" : "", result.config);
    return STN_OK;
}

const struct stn_command stn_cmd_join = {
    .name = "join", .args = "URL", .min_args = 1, .max_args = 1,
    .summary = "enrol this device in a fleet, with the URL of an invite",
    .example = "sterna join 'sterna://fleet.example.org:7740/?key=...&dir=...&token=...'",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .check = check, .run = join,
};
