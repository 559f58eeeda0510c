#include "client/include/sterna_agent.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "client/shell/device.h"
#include "client/shell/joining.h"
#include "crypto/entropy.h"

#define ANSWER_MS 10000

_Static_assert((int)STERNA_AGENT_LATE == (int)STN_LATE && (int)STN_N_CODES == (int)STERNA_AGENT_LATE + 1 &&
                   (int)STERNA_AGENT_UPLOADED == (int)STN_AGENT_UPLOADED && STERNA_AGENT_PATH == STN_FILE_PATH_MAX,
               "the public numbers are ours");

struct seen { /* what the app was told last */
    uint32_t phase;
    char task[STN_MSG_NAME];
    uint64_t version, n_parts;
    bool may_work, is_paused;
    char why[sizeof((struct stn_conditions_host *)0)->why];
    char error[sizeof((struct stn_device *)0)->last_error];
};

struct sterna_agent {
    struct stn_device *device; /* the thread's, from the start of the thread to its end */
    struct stn_place place;
    pthread_t thread;
    struct seen seen;
    bool was_told;
    void (*changed)(void *user, const struct sterna_agent_status *status);
    void *user;
};

static int give(enum stn_code code, const struct stn_err *err, char *error, size_t error_size)
{
    if (error != NULL && error_size > 0) {
        (void)snprintf(error, error_size, "%s", code == STN_OK ? "" : err->text);
    }
    return (int)code;
}

/* ---- on the agent's thread ---- */

static void on_changed(void *user)
{
    struct sterna_agent *agent = user;
    const struct stn_device *device = agent->device;
    const struct stn_agent_record *record = stn_agent_record(device->core);
    struct seen now;
    memset(&now, 0, sizeof now); /* compared as bytes */
    now.phase = record->phase;
    now.n_parts = device->journal.n_spent;
    now.may_work = device->may_work;
    now.is_paused = device->is_paused;
    (void)stn_str_copy(now.task, sizeof now.task, record->lease.task);
    (void)stn_str_copy(now.why, sizeof now.why, device->is_paused ? "paused" : device->conditions.why);
    (void)stn_str_copy(now.error, sizeof now.error, device->last_error);
    for (uint32_t i = 0; i < record->n_installed; i++) {
        now.version = record->installed[i].version > now.version ? record->installed[i].version : now.version;
    }
    if (agent->was_told && memcmp(&now, &agent->seen, sizeof now) == 0) {
        return;
    }
    agent->seen = now;
    agent->was_told = true;
    const struct sterna_agent_status status = {.phase = (enum sterna_agent_phase)now.phase, .task = now.task,
                                               .version = now.version, .n_parts = now.n_parts, .may_work = now.may_work,
                                               .is_paused = now.is_paused, .why = now.why, .error = now.error};
    agent->changed(agent->user, &status);
}

static void *run(void *user)
{
    struct sterna_agent *agent = user;
    struct stn_err err;
    if (stn_device_run(agent->device, false, &err) != STN_OK) {
        stn_log_err(STN_LOG_ERROR, "agent_failed", &err);
    }
    return NULL;
}

/* ---- on the app's ---- */

/* Over the socket, as anybody: the agent's thread owns everything else. */
static enum stn_code ask(struct sterna_agent *agent, const char *command, struct stn_buf *reply, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX], question[64];
    stn_place_path(&agent->place, STN_PLACE_SOCKET, path);
    int n = snprintf(question, sizeof question, "{\"command\":\"%s\"}", command);
    enum stn_code code = stn_local_ask(path, question, (size_t)n, ANSWER_MS, reply, err);
    if (code == STN_OK) {
        json_t *answer = json_loadb((const char *)reply->data, reply->size, 0, NULL);
        const char *text = json_string_value(json_object_get(json_object_get(answer, "error"), "text"));
        if (answer == NULL || text != NULL) {
            code = stn_err_set(err, STN_AGAIN, "%s", text != NULL ? text : "the agent's answer is no JSON");
        }
        json_decref(answer);
    }
    return code;
}

int sterna_agent_join(const char *url, const char *dir, const char *config, const char *tls_ca, uint32_t timeout_ms,
                      char *error, size_t error_size)
{
    struct stn_err err = {0};
    struct stn_joining_result *result = stn_mem_new(1, sizeof *result);
    const struct stn_joining joining = {.url = url, .dir = dir, .config = config, .tls_ca = tls_ca,
                                        .timeout_ms = timeout_ms};
    enum stn_code code = result == NULL ? stn_err_set(&err, STN_MEMORY, "no memory to join") : stn_entropy_start(&err);
    code = code == STN_OK ? stn_joining_run(&joining, result, &err) : code;
    stn_mem_free(result);
    return give(code, &err, error, error_size);
}

int sterna_agent_open(struct sterna_agent **ret, const struct sterna_agent_options *options, char *error,
                      size_t error_size)
{
    struct stn_err err = {0};
    struct sterna_agent *agent = stn_mem_new(1, sizeof *agent);
    enum stn_code code = agent == NULL ? stn_err_set(&err, STN_MEMORY, "no memory for an agent") : stn_entropy_start(&err);
    if (options->is_quiet) {
        stn_log_level(STN_LOG_WARN);
    }
    code = code == STN_OK ? stn_device_open(&agent->device, options->config, &err) : code;
    if (code == STN_OK) {
        agent->place = agent->device->place;
        agent->changed = options->changed;
        agent->user = options->user;
        agent->device->changed = options->changed == NULL ? NULL : on_changed;
        agent->device->user = agent;
        int failed = pthread_create(&agent->thread, NULL, run, agent);
        code = failed == 0 ? STN_OK : stn_err_errno(&err, failed, "a thread for the agent");
    }
    if (code != STN_OK) {
        if (agent != NULL) {
            stn_device_close(agent->device);
        }
        stn_mem_free(agent);
    } else {
        *ret = agent;
    }
    return give(code, &err, error, error_size);
}

void sterna_agent_close(struct sterna_agent *agent)
{
    struct stn_buf reply = {0};
    if (agent == NULL) {
        return;
    }
    stn_err_ignore(ask(agent, "stop", &reply, NULL)); /* it may have ended already */
    stn_buf_fini(&reply);
    (void)pthread_join(agent->thread, NULL);
    stn_device_close(agent->device);
    stn_mem_free(agent);
}

static int tell(struct sterna_agent *agent, const char *command, char *error, size_t error_size)
{
    struct stn_err err = {0};
    struct stn_buf reply = {0};
    enum stn_code code = ask(agent, command, &reply, &err);
    stn_buf_fini(&reply);
    return give(code, &err, error, error_size);
}

int sterna_agent_pause(struct sterna_agent *agent, char *error, size_t error_size)
{
    return tell(agent, "pause", error, error_size);
}

int sterna_agent_resume(struct sterna_agent *agent, char *error, size_t error_size)
{
    return tell(agent, "resume", error, error_size);
}

int sterna_agent_status_json(struct sterna_agent *agent, char *text, size_t text_size, char *error, size_t error_size)
{
    struct stn_err err = {0};
    struct stn_buf reply = {0};
    enum stn_code code = ask(agent, "status", &reply, &err);
    if (code == STN_OK && !stn_str_copy(text, text_size, (const char *)reply.data)) {
        code = stn_err_set(&err, STN_LIMIT, "the status has %zu bytes, there is room for %zu", reply.size + 1, text_size);
    }
    stn_buf_fini(&reply);
    return give(code, &err, error, error_size);
}

int sterna_agent_adapter(struct sterna_agent *agent, const char *task, char path[STERNA_AGENT_PATH], char *error,
                         size_t error_size)
{
    struct stn_err err = {0};
    enum stn_code code = STN_OK;
    if (!stn_msg_is_task_name(task)) {
        code = stn_err_set(&err, STN_INVALID, "\"%.70s\" is no task's name", task);
    } else {
        stn_place_adapter(&agent->place, task, path);
        if (!stn_file_exists(path)) {
            code = stn_err_set(&err, STN_NOT_FOUND, "no adapter for %s is in place yet", task);
        }
    }
    return give(code, &err, error, error_size);
}
