#include "io/link_nng.h"

#include <arpa/inet.h>
#include <assert.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/mailbox.h"

#define RECONNECT_MIN_MS 100
#define RECONNECT_MAX_MS 10000
#define CLOSE_S 1

static atomic_size_t n_stuck; /* of the process */

/* LeakSanitizer's, where a program has it. */
void __lsan_ignore_object(const void *p) __attribute__((weak));

struct stn_link_nng {
    nng_socket socket;
    nng_listener listener;
    nng_dialer dialer;
    bool listens;
    bool closed;
    bool stuck; /* nng may still call on_pipe: never freed */
    size_t n_peers_max;
    atomic_size_t n_peers;
    char *url;
};

/* The one place where nng's numbers become codes. */
static enum stn_code code_of(int rv)
{
    switch (rv) {
    case NNG_ENOMEM:
        return STN_MEMORY;
    case NNG_ETIMEDOUT:
    case NNG_EAGAIN:
        return STN_AGAIN;
    case NNG_EADDRINUSE:
        return STN_EXISTS;
    case NNG_EPERM:
    case NNG_EPEERAUTH:
    case NNG_ECRYPTO:
        return STN_DENIED;
    case NNG_EINVAL:
    case NNG_EADDRINVAL:
        return STN_INVALID;
    case NNG_ENOTSUP:
        return STN_UNSUPPORTED;
    case NNG_ENOENT:
        return STN_NOT_FOUND;
    case NNG_EMSGSIZE:
        return STN_LIMIT;
    case NNG_ENOSPC:
        return STN_FULL;
    case NNG_ECANCELED:
        return STN_CANCELLED;
    default:
        return STN_IO;
    }
}

static enum stn_code fail(struct stn_err *err, int rv, const char *url)
{
    switch (rv) {
    case NNG_EADDRINUSE:
        return stn_err_set(err, STN_EXISTS, "%.160s: the address is in use by another program",
                           url);
    case NNG_EINVAL:
    case NNG_EADDRINVAL:
        return stn_err_set(err, STN_INVALID,
                           "%.160s: not an address that can be used here, expected as in "
                           "tcp://HOST:PORT",
                           url);
    case NNG_ENOTSUP:
        return stn_err_set(err, STN_UNSUPPORTED, "%.160s: no such transport in this build of nng",
                           url);
    default:
        return stn_err_set(err, code_of(rv), "%.160s: %s", url, nng_strerror(rv));
    }
}

/* On nng's threads. Each pipe comes and goes once, also one that is refused. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct stn_link_nng *socket = arg;
    if (event == NNG_PIPE_EV_REM_POST) {
        atomic_fetch_sub(&socket->n_peers, 1);
    } else if (atomic_fetch_add(&socket->n_peers, 1) >= socket->n_peers_max) {
        (void)nng_pipe_close(pipe);
    }
}

static int set_up_socket(struct stn_link_nng *socket, const struct stn_link_options *options)
{
    nng_socket s = socket->socket;
    int rv = nng_socket_set_size(s, NNG_OPT_RECVMAXSZ, STN_LINK_RECORD_MAX + 4096);
    if (rv == 0) {
        rv = nng_pipe_notify(s, NNG_PIPE_EV_ADD_PRE, on_pipe, socket);
    }
    if (rv == 0) {
        rv = nng_pipe_notify(s, NNG_PIPE_EV_REM_POST, on_pipe, socket);
    }
    if (rv == 0 && !socket->listens) {
        /* a lost connection then fails what was asked on it, at once */
        rv = nng_socket_set_ms(s, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    }
    uint32_t min = options->reconnect_min_ms, max = options->reconnect_max_ms;
    if (rv == 0 && !socket->listens) {
        rv = nng_socket_set_ms(s, NNG_OPT_RECONNMINT,
                               (nng_duration)(min == 0 ? RECONNECT_MIN_MS : min));
    }
    if (rv == 0 && !socket->listens) {
        rv = nng_socket_set_ms(s, NNG_OPT_RECONNMAXT,
                               (nng_duration)(max == 0 ? RECONNECT_MAX_MS : max));
    }
    return rv;
}

static int set_up_listener(struct stn_link_nng *socket, const struct stn_link_options *options)
{
    int rv = nng_listener_create(&socket->listener, socket->socket, socket->url);
    if (rv != 0) {
        return rv;
    }
    /* only TCP has it: a peer that vanished without a word is noticed in the end */
    (void)nng_listener_set_bool(socket->listener, NNG_OPT_TCP_KEEPALIVE, true);
    return options->tls_cert_key == NULL
               ? 0
               : nng_listener_set_string(socket->listener, NNG_OPT_TLS_CERT_KEY_FILE,
                                         options->tls_cert_key);
}

static int set_up_dialer(struct stn_link_nng *socket, const struct stn_link_options *options)
{
    int rv = nng_dialer_create(&socket->dialer, socket->socket, socket->url);
    if (rv != 0) {
        return rv;
    }
    (void)nng_dialer_set_bool(socket->dialer, NNG_OPT_TCP_KEEPALIVE, true);
    return options->tls_ca == NULL
               ? 0
               : nng_dialer_set_string(socket->dialer, NNG_OPT_TLS_CA_FILE, options->tls_ca);
}

/* nng finds a wrong port only when it dials, in the background, and tells nobody. */
static bool has_good_port(const char *url, bool listens)
{
    const char *start = strstr(url, "://");
    if (start == NULL || stn_str_starts(url, "ipc:") || stn_str_starts(url, "inproc:")) {
        return start != NULL;
    }
    start += 3;
    char text[8];
    uint64_t port;
    size_t end = strcspn(start, "/?#"), colon = end;
    while (colon > 0 && start[colon - 1] != ':' && start[colon - 1] != ']') {
        colon--;
    }
    if (colon == 0 || start[colon - 1] != ':') {
        return stn_str_starts(url, "ws"); /* these have a usual one */
    }
    size_t size = end - colon;
    if (size >= sizeof text) {
        return false;
    }
    memcpy(text, start + colon, size);
    text[size] = '\0';
    return stn_str_u64(text, &port) && port <= UINT16_MAX && (port > 0 || listens);
}

enum stn_code stn_link_nng_new(struct stn_link_nng **ret, bool listens, const char *url,
                               const struct stn_link_options *options, struct stn_err *err)
{
    if (!has_good_port(url, listens)) {
        return fail(err, NNG_EADDRINVAL, url);
    }
    struct stn_link_nng *socket = stn_mem_new(1, sizeof *socket);
    char *copy = stn_mem_str(url);
    if (socket == NULL || copy == NULL) {
        stn_mem_free(socket);
        stn_mem_free(copy);
        return stn_err_set(err, STN_MEMORY, "%.160s: no memory for a socket", url);
    }
    socket->url = copy;
    socket->listens = listens;
    socket->n_peers_max = !listens                ? SIZE_MAX
                          : options->n_peers == 0 ? STN_LINK_PEERS
                                                  : options->n_peers;
    int rv = listens ? nng_rep0_open(&socket->socket) : nng_req0_open(&socket->socket);
    if (rv != 0) {
        socket->closed = true;
    }
    if (rv == 0) {
        rv = set_up_socket(socket, options);
    }
    if (rv == 0) {
        rv = (listens ? set_up_listener : set_up_dialer)(socket, options);
    }
    if (rv != 0) {
        stn_link_nng_free(socket);
        return fail(err, rv, url);
    }
    *ret = socket;
    return STN_OK;
}

enum stn_code stn_link_nng_start(struct stn_link_nng *socket, struct stn_err *err)
{
    int rv = socket->listens ? nng_listener_start(socket->listener, 0)
                             : nng_dialer_start(socket->dialer, NNG_FLAG_NONBLOCK);
    return rv == 0 ? STN_OK : fail(err, rv, socket->url);
}

static void *close_socket(void *arg)
{
    struct stn_link_nng *socket = arg;
    (void)nng_close(socket->socket); /* no pipe's callback runs after this */
    return NULL;
}

/* nng 1.5.2 forgets an operation when a pipe is closed between two parts of one message (its change
 * a1bc737b mends that in 1.6), and nng_close then waits for it for ever, after all contexts came
 * back. The loop must not: it waits a while, and what nng cannot let go of is left to it. */
void stn_link_nng_close(struct stn_link_nng *socket)
{
    if (socket->closed) {
        return;
    }
    socket->closed = true;
    pthread_t thread;
    if (pthread_create(&thread, NULL, close_socket, socket) != 0) {
        (void)close_socket(socket);
        return;
    }
    struct timespec limit;
    (void)clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += CLOSE_S;
    if (pthread_timedjoin_np(thread, NULL, &limit) != 0) {
        (void)pthread_detach(thread);
        socket->stuck = true;
        atomic_fetch_add(&n_stuck, 1);
    }
}

size_t stn_link_nng_n_stuck(void)
{
    return atomic_load(&n_stuck);
}

void stn_link_nng_free(struct stn_link_nng *socket)
{
    if (socket != NULL) {
        stn_link_nng_close(socket);
    }
    if (socket != NULL && !socket->stuck) {
        stn_mem_free(socket->url);
        stn_mem_free(socket);
    }
}

uint16_t stn_link_nng_port(const struct stn_link_nng *socket)
{
    int port;
    return nng_listener_get_int(socket->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0
               ? (uint16_t)port
               : 0;
}

size_t stn_link_nng_n_peers(const struct stn_link_nng *socket)
{
    return atomic_load(&socket->n_peers);
}

/* ---- slots ---- */

/* On nng's threads. */
static void on_aio(void *arg)
{
    struct stn_link_nng_slot *slot = arg;
    stn_mailbox_post(slot->mailbox, &slot->letter);
}

enum stn_code stn_link_nng_slot_init(struct stn_link_nng_slot *slot, struct stn_link_nng *socket,
                                     struct stn_mailbox *mailbox, struct stn_err *err)
{
    nng_ctx context;
    nng_aio *aio;
    int rv = nng_aio_alloc(&aio, on_aio, slot);
    if (rv != 0) {
        return fail(err, rv, socket->url);
    }
    rv = nng_ctx_open(&context, socket->socket);
    if (rv != 0) {
        nng_aio_free(aio);
        return fail(err, rv, socket->url);
    }
    slot->aio = aio;
    slot->context = context.id;
    slot->mailbox = mailbox;
    return STN_OK;
}

void stn_link_nng_slot_fini(struct stn_link_nng_slot *slot)
{
    stn_link_nng_drop(slot);
    if (slot->aio != NULL) {
        nng_aio_stop(slot->aio);
        nng_aio_free(slot->aio); /* waits for the callback that posted the last letter to return */
        slot->aio = NULL;
    }
}

void stn_link_nng_recv(struct stn_link_nng_slot *slot, int32_t timeout_ms)
{
    assert(slot->msg == NULL);
    slot->sending = false;
    nng_aio_set_timeout(slot->aio, timeout_ms < 0 ? NNG_DURATION_INFINITE : timeout_ms);
    stn_mailbox_lend(slot->mailbox);
    nng_ctx_recv((nng_ctx){.id = slot->context}, slot->aio);
}

enum stn_code stn_link_nng_send(struct stn_link_nng_slot *slot, const void *p, size_t size,
                                int32_t timeout_ms)
{
    nng_msg *msg;
    assert(size <= STN_LINK_MESSAGE_MAX);
    if (nng_msg_alloc(&msg, size) != 0) {
        return STN_MEMORY;
    }
    if (size > 0) {
        memcpy(nng_msg_body(msg), p, size);
    }
    slot->sending = true;
    slot->sent = msg;
    nng_aio_set_msg(slot->aio, msg);
    nng_aio_set_timeout(slot->aio, timeout_ms < 0 ? NNG_DURATION_INFINITE : timeout_ms);
    stn_mailbox_lend(slot->mailbox);
    nng_ctx_send((nng_ctx){.id = slot->context}, slot->aio);
    return STN_OK;
}

/* What nng has taken is nng's. Before 1.10 it forgets a message that it takes for a connection while
 * that one is being closed: a peer that resets each connection as its answer leaves costs us the
 * answer in about one case of a hundred. */
static void leave_to_nng(const nng_msg *msg)
{
    if (__lsan_ignore_object != NULL) {
        __lsan_ignore_object(msg);
    }
}

enum stn_code stn_link_nng_result(struct stn_link_nng_slot *slot)
{
    int rv = nng_aio_result(slot->aio);
    if (rv != 0) {
        nng_msg *unsent = slot->sending ? nng_aio_get_msg(slot->aio) : NULL;
        if (unsent != NULL) {
            nng_msg_free(unsent);
        }
        nng_aio_set_msg(slot->aio, NULL);
        return code_of(rv);
    }
    if (slot->sending) {
        leave_to_nng(slot->sent);
    } else {
        slot->msg = nng_aio_get_msg(slot->aio);
        nng_aio_set_msg(slot->aio, NULL);
    }
    return STN_OK;
}

uint8_t *stn_link_nng_data(const struct stn_link_nng_slot *slot, size_t *ret_size)
{
    *ret_size = nng_msg_len(slot->msg);
    return nng_msg_body(slot->msg);
}

void stn_link_nng_drop(struct stn_link_nng_slot *slot)
{
    if (slot->msg != NULL) {
        nng_msg_free(slot->msg);
        slot->msg = NULL;
    }
}

uint32_t stn_link_nng_peer(const struct stn_link_nng_slot *slot)
{
    return nng_msg_get_pipe(slot->msg).id;
}

bool stn_link_nng_is_gone(const struct stn_link_nng_slot *slot)
{
    return nng_listener_id(nng_pipe_listener(nng_msg_get_pipe(slot->msg))) < 0;
}

void stn_link_nng_address(const struct stn_link_nng_slot *slot, char ret[static STN_LINK_ADDRESS])
{
    nng_sockaddr address;
    ret[0] = '\0';
    if (nng_pipe_get_addr(nng_msg_get_pipe(slot->msg), NNG_OPT_REMADDR, &address) == 0) {
        if (address.s_family == NNG_AF_INET) {
            (void)inet_ntop(AF_INET, &address.s_in.sa_addr, ret, STN_LINK_ADDRESS);
        } else if (address.s_family == NNG_AF_INET6) {
            (void)inet_ntop(AF_INET6, address.s_in6.sa_addr, ret, STN_LINK_ADDRESS);
        }
    }
    if (ret[0] == '\0') {
        (void)stn_str_copy(ret, STN_LINK_ADDRESS, "local");
    }
}
