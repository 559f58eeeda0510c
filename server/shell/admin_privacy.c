#include "server/shell/admin_privacy.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secagg/bound.h"

/* Of what lies beside the directory's socket; "": the folder. */
static bool place(const struct stn_settings *settings, const char *name, char ret[static STN_FILE_PATH_MAX])
{
    const char *slash = strrchr(settings->directory, '/');
    int n_folder = slash == NULL ? 0 : (int)(slash - settings->directory) + 1;
    int n = snprintf(ret, STN_FILE_PATH_MAX, "%.*s%s", n_folder, settings->directory, name);
    return n > 0 && n < STN_FILE_PATH_MAX;
}

/* Whether this process could open it. */
static bool is_open(const struct stn_settings *settings, const char *name, int how)
{
    char path[STN_FILE_PATH_MAX];
    return place(settings, name, path) && access(path, how) == 0;
}

/* Whether it could put others there in the place of the directory's files: it may write, or let itself write. */
static bool is_ours(const struct stn_settings *settings)
{
    char path[STN_FILE_PATH_MAX];
    struct stat st;
    return place(settings, "", path) && (access(path, W_OK) == 0 || (stat(path, &st) == 0 && st.st_uid == geteuid()));
}

/* The directory is asked over a local socket, so both share this host. Tokens lie in its database. Where its files are not
 * beside its socket nobody knows from here who can read them. */
static json_t *json_directory(const struct stn_settings *settings)
{
    const bool is_known = is_open(settings, "directory.conf", F_OK), can_all = is_ours(settings);
    const bool can_read = can_all || is_open(settings, "keys/directory.key", R_OK);
    const bool can_invite = can_all || is_open(settings, "invite.sock", W_OK) || is_open(settings, "directory.db", R_OK);
    return json_pack("{ss sb so so}", "socket", settings->directory, "shares_host", 1, "key_is_readable",
                     can_read || is_known ? json_boolean(can_read) : json_null(), "can_invite",
                     can_invite || is_known ? json_boolean(can_invite) : json_null());
}

/* What a full roster and the smallest one come to. */
static json_t *json_secure(const struct stn_task_spec *spec, uint32_t n)
{
    const struct stn_bound_params params = {
        .gamma = spec->gamma, .delta = spec->delta, .sigma = spec->sigma, .eta = spec->eta};
    struct stn_bound bound = {0};
    if (stn_bound_for(n, &params, &bound, NULL) != STN_OK) {
        return json_null();
    }
    return json_pack("{sI sI sI sI sI}", "devices", (json_int_t)n, "adversaries", (json_int_t)(spec->gamma * n), "losses",
                     (json_int_t)(spec->delta * n), "neighbours", (json_int_t)bound.k, "threshold", (json_int_t)bound.t);
}

static json_t *json_task(const struct stn_task_spec *spec)
{
    json_t *object = json_pack("{ss sb sb sI}", "task", spec->name, "secure", (int)spec->secure, "differential_privacy", 0,
                               "n_min", (json_int_t)spec->n_min);
    if (spec->secure) {
        json_t *secure =
            json_pack("{sf sf sI sI so so}", "gamma", spec->gamma, "delta", spec->delta, "sigma", (json_int_t)spec->sigma,
                      "eta", (json_int_t)spec->eta, "full", json_secure(spec, spec->target), "smallest",
                      json_secure(spec, spec->n_min));
        (void)json_object_update(object, secure);
        json_decref(secure);
    }
    return object;
}

enum stn_code stn_admin_privacy(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err)
{
    (void)request;
    (void)err;
    struct stn_coordinator_view view;
    json_t *tasks = json_array();
    for (size_t i = 0; stn_coordinator_view(service->coordinator, i, &view); i++) {
        (void)json_array_append_new(tasks, json_task(&view.task->spec));
    }
    (void)json_object_set_new(reply, "directory", json_directory(&service->settings));
    (void)json_object_set_new(reply, "tasks", tasks);
    return STN_OK;
}
