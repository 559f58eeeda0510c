/* app: an app with an agent inside, through the public library alone: joined already, it takes part until SIGTERM, is
 * paused and resumed on the way, and at the end has an adapter.
 *   app AGENT.CONF TASK
 *   app join URL DIR TLS_CA: joins, and nothing else */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/include/sterna_agent.h"

static char error[STERNA_AGENT_ERROR];

static void must(int code, const char *what)
{
    if (code != STERNA_AGENT_OK) {
        (void)fprintf(stderr, "app: %s: %s\n", what, error);
        exit(EXIT_FAILURE);
    }
}

static void on_changed(void *user, const struct sterna_agent_status *status)
{
    (void)user;
    (void)fprintf(stderr, "app: phase=%d task=%s version=%llu parts=%llu may_work=%d paused=%d why=%s error=%s\n",
                  status->phase, status->task, (unsigned long long)status->version, (unsigned long long)status->n_parts,
                  status->may_work, status->is_paused, status->why, status->error);
}

int main(int argc, char **argv)
{
    struct sterna_agent *agent = NULL, *second = NULL;
    static char path[STERNA_AGENT_PATH], text[65536];
    sigset_t set;
    int number = 0;
    if (argc == 5 && strcmp(argv[1], "join") == 0) {
        must(sterna_agent_join(argv[2], argv[3], NULL, argv[4], 30000, error, sizeof error), "join");
        return EXIT_SUCCESS;
    }
    if (argc != 3) {
        return 2;
    }
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    const struct sterna_agent_options options = {.config = argv[1], .changed = on_changed};
    must(sterna_agent_open(&agent, &options, error, sizeof error), "open");
    must(sterna_agent_pause(agent, error, sizeof error), "pause");
    must(sterna_agent_resume(agent, error, sizeof error), "resume");
    if (sterna_agent_open(&second, &options, error, sizeof error) != STERNA_AGENT_EXISTS) {
        (void)fprintf(stderr, "app: two agents in one folder\n");
        return EXIT_FAILURE;
    }
    (void)sigwait(&set, &number);
    must(sterna_agent_status_json(agent, text, sizeof text, error, sizeof error), "status");
    if (strstr(text, "\"phase\"") == NULL) {
        (void)fprintf(stderr, "app: no status: %s\n", text);
        return EXIT_FAILURE;
    }
    must(sterna_agent_adapter(agent, argv[2], path, error, sizeof error), "adapter");
    if (sterna_agent_adapter(agent, "other", path, error, sizeof error) != STERNA_AGENT_NOT_FOUND) {
        (void)fprintf(stderr, "app: an adapter of a task that there is not\n");
        return EXIT_FAILURE;
    }
    sterna_agent_close(agent);
    return EXIT_SUCCESS;
}
