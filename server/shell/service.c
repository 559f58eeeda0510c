#include "server/shell/service.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "server/shell/admin.h"
#include "server/shell/apply.h"
#include "server/shell/enrol.h"
#include "server/shell/inbox.h"
#include "server/shell/keys.h"

#define HALF_OPEN 1024  /* handshakes whose device has not said anything yet */
#define ENROLMENTS 256  /* under way at once: more than may wait for the directory, so that none of those is pushed out */
#define FILES_OWN 64    /* open when nobody is connected, the operators' connections, and some that are being refused */
#define FILES_A_THREAD 4
#define FILES_BESIDE 8  /* kept back for the loop, as are those of the threads */
#define PEERS_LEAST 16

/* ---- what is on disk ---- */

static enum stn_code load_keys(const struct stn_settings *settings, struct stn_ident *ret,
                               uint8_t ret_directory[static STN_IDENT_PUBLIC], struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_settings_path(settings, "keys/directory.pub", path, err);
    code = code == STN_OK ? stn_keys_get_public(ret_directory, path, err) : code;
    code = code == STN_OK ? stn_settings_path(settings, "keys/coordinator.key", path, err) : code;
    return code == STN_OK ? stn_keys_load(ret, path, err) : code;
}

static enum stn_code open_store(const struct stn_settings *settings, struct stn_store **ret, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_settings_path(settings, "state.db", path, err);
    if (code == STN_OK && !stn_file_exists(path)) {
        return stn_err_set(err, STN_NOT_FOUND, "%s: there is no state here: sternad init makes a folder", path);
    }
    return code == STN_OK ? stn_store_open(ret, path, err) : code;
}

static enum stn_code open_folder(struct stn_service *service, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_settings_path(&service->settings, "lock", path, err);
    code = code == STN_OK ? stn_file_lock(&service->lock, path, err) : code;
    code = code == STN_OK ? load_keys(&service->settings, &service->identity, service->directory_key, err) : code;
    code = code == STN_OK ? open_store(&service->settings, &service->store, err) : code;
    code = code == STN_OK ? stn_settings_path(&service->settings, "blobs", path, err) : code;
    code = code == STN_OK ? stn_blob_open(&service->blobs, path, err) : code;
    if (code == STN_OK) {
        stn_blob_sweep(&service->blobs, NULL, 0);
        code = stn_settings_path(&service->settings, "rounds", path, err);
    }
    code = code == STN_OK ? stn_spool_open(&service->spool, path, err) : code;
    if (code == STN_OK && service->settings.keep_updates) {
        code = stn_settings_path(&service->settings, "kept", service->kept, err);
        code = code == STN_OK ? stn_file_make_folder(service->kept, 0700, err) : code;
    }
    return code;
}

enum stn_code stn_service_check(struct stn_settings *ret, uint8_t ret_key[static STN_IDENT_PUBLIC], const char *config,
                                struct stn_err *err)
{
    struct stn_ident identity = {0};
    uint8_t directory[STN_IDENT_PUBLIC];
    struct stn_store *store = NULL;
    enum stn_code code = stn_settings_read(ret, config, err);
    code = code == STN_OK ? load_keys(ret, &identity, directory, err) : code;
    code = code == STN_OK ? open_store(ret, &store, err) : code;
    if (code == STN_OK) {
        memcpy(ret_key, identity.pub, STN_IDENT_PUBLIC);
    }
    stn_store_close(store);
    stn_ident_fini(&identity);
    return code;
}

/* ---- the network ---- */

static bool find_device(void *data, const uint8_t key[static 32], struct stn_id *ret)
{
    struct stn_service *service = data;
    return stn_store_find_device(service->store, key, ret);
}

static size_t n_threads(const struct stn_settings *settings)
{
    long n = settings->threads > 0 ? (long)settings->threads : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > STN_WORKER_THREADS_MAX ? STN_WORKER_THREADS_MAX : (size_t)n;
}

/* As many connections as leave enough descriptors for the files of a round: who connects must not take them all. */
static enum stn_code count_peers(const struct stn_settings *settings, size_t *ret, struct stn_err *err)
{
    const uint64_t allowed = stn_fd_allow(), own = FILES_OWN + FILES_A_THREAD * n_threads(settings);
    uint64_t wanted = settings->sessions > settings->requests ? settings->sessions : settings->requests;
    if (allowed < own + PEERS_LEAST) {
        return stn_err_set(err, STN_LIMIT, "this process may hold %llu files open, it needs %llu at least (ulimit -n, LimitNOFILE)",
                           (unsigned long long)allowed, (unsigned long long)own + PEERS_LEAST);
    }
    if (wanted > allowed - own) {
        stn_log(STN_LOG_WARN, "few_files", "files=%llu connections=%llu requests=%llu sessions=%llu hint=\"ulimit -n, LimitNOFILE\"",
                (unsigned long long)allowed, (unsigned long long)(allowed - own), (unsigned long long)settings->requests,
                (unsigned long long)settings->sessions);
    }
    wanted = wanted > STN_LINK_PEERS ? wanted : STN_LINK_PEERS;
    *ret = (size_t)(wanted < allowed - own ? wanted : allowed - own);
    return STN_OK;
}

static enum stn_code listen_on(struct stn_service *service, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    const struct stn_settings *settings = &service->settings;
    size_t n_peers = 0;
    enum stn_code code = count_peers(settings, &n_peers, err);
    const struct stn_link_options options = {
        .n_contexts = (size_t)settings->requests,
        .n_peers = n_peers,
        .tls_cert_key = settings->tls_cert_key[0] == '\0' ? NULL : settings->tls_cert_key};
    code = code == STN_OK ? stn_settings_path(settings, STN_SERVICE_SOCKET, path, err) : code;
    if (code == STN_OK) {
        code = stn_local_listen(&service->local, service->loop, path, STN_LOCAL_OWNER, stn_admin_take, service, err);
    }
    return code == STN_OK ? stn_link_listen(&service->link, service->mailbox, settings->listen, &options, stn_inbox_take,
                                            service, err)
                          : code;
}

_Static_assert(FILES_A_THREAD * STN_WORKER_THREADS_MAX + FILES_BESIDE <= STN_FD_KEPT_MAX, "there is room for them");
_Static_assert(ENROLMENTS > STN_ENROL_JOBS, "who waits for the directory is not pushed out");

static enum stn_code open_channel(struct stn_service *service, struct stn_err *err)
{
    const struct stn_channel_server_config config = {
        .coordinator = &service->identity, .version_min = STN_MSG_VERSION, .version_max = STN_MSG_VERSION,
        .n_open = (size_t)service->settings.sessions, .n_half_open = HALF_OPEN, .n_enrolments = ENROLMENTS,
        .find_device = find_device, .data = service};
    return stn_channel_server_new(&service->channel, &config, err);
}

/* ---- adding ---- */

static void on_told(void *user, struct stn_server_event *event)
{
    stn_apply_event(user, event);
}

static enum stn_code open_adder(struct stn_service *service, struct stn_err *err)
{
    const struct stn_adder_config config = {.worker = service->worker, .n_threads = n_threads(&service->settings),
                                            .turn = &service->turn, .store = service->store,
                                            .spool = &service->spool, .blobs = &service->blobs,
                                            .snapshot = service->settings.snapshot,
                                            .kept = service->kept[0] == '\0' ? NULL : service->kept,
                                            .tell = on_told, .user = service};
    return stn_adder_new(&service->adder, &config, err);
}

/* ---- stopping: the link first, so that nothing new comes; the mailbox last, when nobody posts any more ---- */

static void close_mailbox(void *user)
{
    struct stn_service *service = user;
    service->link = NULL;
    stn_mailbox_close(service->mailbox, NULL, NULL);
    service->mailbox = NULL;
}

static void stop(struct stn_service *service)
{
    if (service->is_stopping) {
        return;
    }
    service->is_stopping = true;
    stn_loop_disarm(service->loop, &service->wake);
    stn_inbox_clear(service);
    stn_local_close(service->local, NULL, NULL);
    service->local = NULL;
    stn_adder_stop(service->adder);
    stn_worker_close(service->worker);
    stn_worker_close(service->asker);
    service->worker = service->asker = NULL;
    if (service->link != NULL) {
        stn_link_close(service->link, close_mailbox, service);
    } else if (service->mailbox != NULL) {
        close_mailbox(service);
    }
}

static void on_signal(void *user, int number)
{
    struct stn_service *service = user;
    if (number == SIGHUP) {
        return; /* a terminal that closes, a reload: what it says goes to stderr, and its config is read at its start */
    }
    if (!service->is_stopping) {
        stn_log(STN_LOG_INFO, "stopping", "signal=%d", number);
        stop(service);
    }
}

/* ---- life ---- */

static enum stn_code open_all(struct stn_service *service, const char *config, struct stn_err *err)
{
    enum stn_code code = stn_settings_read(&service->settings, config, err);
    if (code == STN_OK) {
        stn_log_level((enum stn_log_level)service->settings.log_level);
        code = open_folder(service, err);
    }
    code = code == STN_OK ? stn_loop_open(&service->loop, err) : code;
    if (code == STN_OK) {
        stn_turn_open(&service->turn, service->loop, service->store);
        stn_pace_open(&service->pace, service->loop, stn_inbox_told);
        code = stn_loop_catch(service->loop, on_signal, service, err);
    }
    code = code == STN_OK ? stn_mailbox_open(&service->mailbox, service->loop, err) : code;
    if (code == STN_OK) {
        (void)stn_fd_allow();
        stn_fd_keep(FILES_A_THREAD * n_threads(&service->settings) + FILES_BESIDE);
    }
    code = code == STN_OK ? stn_worker_open(&service->worker, service->mailbox, n_threads(&service->settings), err) : code;
    code = code == STN_OK ? stn_worker_open(&service->asker, service->mailbox, 1, err) : code;
    code = code == STN_OK ? open_adder(service, err) : code;
    code = code == STN_OK ? open_channel(service, err) : code;
    code = code == STN_OK ? listen_on(service, err) : code;
    return code == STN_OK ? stn_apply_start(service, err) : code;
}

enum stn_code stn_service_open(struct stn_service **ret, const char *config, struct stn_err *err)
{
    struct stn_service *service = stn_mem_new(1, sizeof *service);
    if (service == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a coordinator");
    }
    service->lock = -1;
    stn_list_init(&service->parked);
    service->started_ms = stn_loop_wall_ms();
    enum stn_code code = open_all(service, config, err);
    if (code != STN_OK) {
        stn_service_close(service);
        return code;
    }
    *ret = service;
    return STN_OK;
}

void stn_service_run(struct stn_service *service)
{
    stn_log(STN_LOG_INFO, "listening", "url=%s operator=%s/%s", service->settings.listen, service->settings.folder,
            STN_SERVICE_SOCKET);
    stn_loop_run(service->loop);
}

void stn_service_close(struct stn_service *service)
{
    if (service == NULL) {
        return;
    }
    if (service->loop != NULL) {
        stop(service);
        stn_loop_run(service->loop); /* until everything is closed */
        stn_turn_close(&service->turn);
    }
    stn_adder_free(service->adder);
    stn_coordinator_free(service->coordinator);
    stn_mem_free(service->effects.items);
    stn_channel_server_free(service->channel);
    stn_store_close(service->store);
    stn_map_fini(&service->tickets);
    stn_map_fini(&service->requests);
    stn_buf_fini(&service->read);
    stn_buf_fini(&service->plain);
    stn_buf_fini(&service->chunk);
    for (size_t i = 0; i < service->n_spare; i++) {
        stn_buf_fini(&service->spare[i]);
    }
    stn_loop_close(service->loop);
    stn_ident_fini(&service->identity);
    stn_file_close(service->lock);
    stn_fd_keep(0);
    stn_mem_free(service);
}
