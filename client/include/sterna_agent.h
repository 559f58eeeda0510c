/* libsterna-agent: the agent of one device inside an app. It fine-tunes adapters of a language model on this device's
 * own data together with other devices, and puts what is released in place; the data never leave the device.
 *
 *   sterna_agent_join      once: the URL of an invite -> an identity and an agent.conf
 *   (the app or the owner names data under [data] in agent.conf: no line, no part)
 *   sterna_agent_open      the agent works on a thread of its own from here on
 *   sterna_agent_adapter   the path of the released adapter of a task, a GGUF file: load it beside the base model
 *   sterna_agent_close     stops cleanly; what was under way goes on at the next open, also after a crash
 *
 * Functions that return int give 0, or one of the codes below with a line of text in error (which may be NULL). Apart from
 * the callback everything is called from the app's threads, any of them; a call may block for as long as the disk does,
 * and none may be made from within the callback. One process at a time has an agent's folder.
 *
 *   cc app.c $(pkg-config --cflags --libs sterna-agent) */
#ifndef STERNA_AGENT_H
#define STERNA_AGENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STERNA_AGENT_API __attribute__((visibility("default")))

#define STERNA_AGENT_ERROR 256 /* bytes of an error's text that are enough */
#define STERNA_AGENT_PATH 4096

enum sterna_agent_code { /* the values never change */
    STERNA_AGENT_OK = 0,
    STERNA_AGENT_INVALID = 1,      /* a URL, a config, an argument: the text says which */
    STERNA_AGENT_LIMIT = 2,        /* too long for the room there is */
    STERNA_AGENT_NOT_FOUND = 3,    /* no such file; the device has not joined; no adapter yet */
    STERNA_AGENT_EXISTS = 4,       /* another process has the folder, or it is another fleet's */
    STERNA_AGENT_AGAIN = 5,        /* not now */
    STERNA_AGENT_DENIED = 6,       /* a spent token, a wrong key, a key that others may read */
    STERNA_AGENT_CORRUPT = 7,
    STERNA_AGENT_UNSUPPORTED = 8,
    STERNA_AGENT_IO = 9,           /* nobody answers, or the disk fails */
    STERNA_AGENT_FULL = 10,
    STERNA_AGENT_MEMORY = 11,
    STERNA_AGENT_CANCELLED = 12,
    STERNA_AGENT_LATE = 13
};

enum sterna_agent_phase {
    STERNA_AGENT_IDLE = 0,
    STERNA_AGENT_FETCHING = 1,
    STERNA_AGENT_TRAINING = 2,
    STERNA_AGENT_READY = 3,     /* has trained, waits for others */
    STERNA_AGENT_JOINED = 4,
    STERNA_AGENT_UPLOADING = 5,
    STERNA_AGENT_UPLOADED = 6   /* waits for what comes out */
};

/* Borrowed for the callback. */
struct sterna_agent_status {
    enum sterna_agent_phase phase;
    const char *task;    /* in hand; "": none */
    uint64_t version;    /* of the newest released adapter that is in place, of any task; 0: none */
    uint64_t n_parts;    /* uploads that were begun: rounds that this device's work may have gone into */
    int may_work;        /* the owner's conditions hold */
    int is_paused;
    const char *why;     /* it may not: one line for people */
    const char *error;   /* what went wrong last; "": nothing */
};

struct sterna_agent;

struct sterna_agent_options {
    const char *config; /* agent.conf; NULL: $XDG_CONFIG_HOME/sterna/agent.conf */
    /* On the agent's thread, when something of the status is new; what the conditions say is looked at every three seconds.
     * It must return soon. NULL: nobody wants to know. */
    void (*changed)(void *user, const struct sterna_agent_status *status);
    void *user;
    int is_quiet; /* only warnings and errors on stderr */
};

/* Enrols this device; blocks for at most timeout_ms. dir and config may be NULL: the XDG places. The same URL may be
 * tried again after an interruption. tls_ca is a PEM file of the authorities to believe, for a URL over TLS and no other, and
 * stays where it is: agent.conf names it. NULL: the system's, where it has them in one file as Linux distributions and macOS do;
 * elsewhere (Android has a folder of them) STERNA_AGENT_NOT_FOUND. */
STERNA_AGENT_API int sterna_agent_join(const char *url, const char *dir, const char *config, const char *tls_ca,
                                       uint32_t timeout_ms, char *error, size_t error_size);

/* The caller closes *ret. SIGPIPE is ignored in the whole process from then on: a peer that is gone is an error of a write,
 * and no signal. agent.conf is read here: what is changed in it later holds from the next open. */
STERNA_AGENT_API int sterna_agent_open(struct sterna_agent **ret, const struct sterna_agent_options *options, char *error,
                                       size_t error_size);

/* NULL is fine. */
STERNA_AGENT_API void sterna_agent_close(struct sterna_agent *agent);

/* The user's wish, kept until it is taken back, across restarts too. */
STERNA_AGENT_API int sterna_agent_pause(struct sterna_agent *agent, char *error, size_t error_size);
STERNA_AGENT_API int sterna_agent_resume(struct sterna_agent *agent, char *error, size_t error_size);

/* The whole status as `sterna-agent status --json` prints it. STERNA_AGENT_LIMIT when it does not fit. */
STERNA_AGENT_API int sterna_agent_status_json(struct sterna_agent *agent, char *text, size_t text_size, char *error,
                                              size_t error_size);

/* The path of the adapter in place. A newer one replaces the file whole: what is open stays as it was. */
STERNA_AGENT_API int sterna_agent_adapter(struct sterna_agent *agent, const char *task, char path[STERNA_AGENT_PATH],
                                          char *error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
