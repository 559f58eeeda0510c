#include "io/local.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/loop.h"

#define READ_SIZE 65536
#define BACKLOG 16

struct connection {
    struct stn_local_request request;
    struct stn_local *local;
    struct stn_list list;
    uv_pipe_t pipe;
    uv_write_t write;
    struct stn_buf in; /* from the line that is asked, or that comes in */
    size_t n_scanned;  /* of in: without a newline */
    struct stn_buf out;
    bool held; /* a line is with the daemon */
};

struct stn_local {
    uv_pipe_t listener;
    uv_loop_t *loop;
    char path[STN_LOCAL_PATH_MAX];
    struct stat file;                   /* the socket file as we made it */
    struct stn_list connections, spare; /* in use and not */
    bool waiting;                       /* somebody, for a spare one */
    size_t n_open;                      /* handles: connections and the listener */
    bool closing;
    void (*on_request)(void *user, struct stn_local_request *request);
    void *user;
    void (*on_closed)(void *user);
    void *closed_user;
    struct connection pool[STN_LOCAL_CONNECTIONS];
};

static enum stn_code address_of(struct sockaddr_un *ret, const char *path, struct stn_err *err)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    return stn_str_copy(ret->sun_path, sizeof ret->sun_path, path)
               ? STN_OK
               : stn_err_set(err, STN_LIMIT, "%.120s: a socket path of more than %zu bytes", path,
                             sizeof ret->sun_path - 1);
}

/* ---- the daemon's side ---- */

static void handle_is_closed(struct stn_local *local)
{
    if (--local->n_open > 0) {
        return;
    }
    void (*on_closed)(void *user) = local->on_closed;
    void *user = local->closed_user;
    stn_mem_free(local);
    if (on_closed != NULL) {
        on_closed(user);
    }
}

static void on_connection(uv_stream_t *listener, int status);

static void after_close(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct stn_local *local = connection->local;
    stn_buf_fini(&connection->in);
    stn_buf_fini(&connection->out);
    stn_list_add(&local->spare, &connection->list);
    if (local->waiting && !local->closing) {
        local->waiting = false;
        on_connection((uv_stream_t *)&local->listener, 0);
    }
    handle_is_closed(local);
}

static void end_connection(struct connection *connection)
{
    uv_handle_t *handle = (uv_handle_t *)&connection->pipe;
    if (!uv_is_closing(handle)) {
        stn_list_remove(&connection->list);
        uv_close(handle, after_close);
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct connection *connection = handle->data;
    (void)suggested;
    *ret = (uv_buf_t){0}; /* no room: on_read is told so */
    uint8_t *to = stn_buf_extend(&connection->in, READ_SIZE);
    if (to != NULL) {
        connection->in.size -= READ_SIZE;
        *ret = uv_buf_init((char *)to, READ_SIZE);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* Hands the next whole line over, or waits for the rest of it. */
static void next_line(struct connection *connection)
{
    struct stn_buf *in = &connection->in;
    uint8_t *end =
        in->size == connection->n_scanned
            ? NULL
            : memchr(in->data + connection->n_scanned, '\n', in->size - connection->n_scanned);
    if (end == NULL) {
        connection->n_scanned = in->size;
        if (in->size > STN_LOCAL_LINE_MAX ||
            uv_read_start((uv_stream_t *)&connection->pipe, on_room, on_read) != 0) {
            end_connection(connection);
        }
        return;
    }
    *end = '\0';
    connection->request.text = (const char *)in->data;
    connection->request.size = (size_t)(end - in->data);
    if (connection->request.size > STN_LOCAL_LINE_MAX) {
        end_connection(connection);
        return;
    }
    connection->held = true;
    connection->local->on_request(connection->local->user, &connection->request);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *connection = stream->data;
    (void)buf;
    if (n < 0) {
        end_connection(connection); /* the end, an error, or no room */
        return;
    }
    connection->in.size += (size_t)n;
    if (n > 0) {
        (void)uv_read_stop(stream); /* until this line is answered */
        next_line(connection);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct connection *connection = write->data;
    if (status != 0 || uv_is_closing((uv_handle_t *)&connection->pipe)) {
        end_connection(connection);
        return;
    }
    struct stn_buf *in = &connection->in;
    size_t used = connection->request.size + 1;
    memmove(in->data, in->data + used, in->size - used);
    in->size -= used;
    connection->n_scanned = 0;
    next_line(connection);
}

void stn_local_reply(struct stn_local_request *request, const char *text, size_t size)
{
    struct connection *connection = STN_LIST_OF(request, struct connection, request);
    assert(connection->held && size <= STN_LOCAL_LINE_MAX);
    assert(size == 0 || memchr(text, '\n', size) == NULL);
    connection->held = false;
    stn_buf_clear(&connection->out);
    uv_buf_t buf;
    if (stn_buf_add(&connection->out, text, size) && stn_buf_add_u8(&connection->out, '\n')) {
        buf = uv_buf_init((char *)connection->out.data, (unsigned)connection->out.size);
        connection->write.data = connection;
        if (uv_write(&connection->write, (uv_stream_t *)&connection->pipe, &buf, 1, on_written) ==
            0) {
            return;
        }
    }
    end_connection(connection);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct stn_local *local = listener->data;
    struct stn_list *spare = status == 0 ? stn_list_pop(&local->spare) : NULL;
    if (spare == NULL) {
        local->waiting = status == 0;
        return;
    }
    struct connection *connection = STN_LIST_OF(spare, struct connection, list);
    *connection =
        (struct connection){.local = local, .in.limit = STN_LOCAL_LINE_MAX + 2 * READ_SIZE};
    (void)uv_pipe_init(local->loop, &connection->pipe, 0); /* cannot fail on a loop that is */
    connection->pipe.data = connection;
    local->n_open++;
    stn_list_add(&local->connections, &connection->list);
    if (uv_accept(listener, (uv_stream_t *)&connection->pipe) != 0) {
        end_connection(connection);
        return;
    }
    next_line(connection);
}

/* Whether a process answers at the socket file. */
static bool is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                 errno != ECONNREFUSED;
    if (fd >= 0) {
        (void)close(fd);
    }
    return alive;
}

/* In a folder whose set-group-ID bit is on, the file is the group's already. */
static enum stn_code let_in(const char *path, int64_t group, struct stat *ret, struct stn_err *err)
{
    if (lstat(path, ret) != 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    if (group != STN_LOCAL_OWNER && ret->st_gid != (gid_t)group &&
        chown(path, (uid_t)-1, (gid_t)group) != 0) {
        return stn_err_errno(err, errno, "%s: cannot be given to group %lld", path,
                             (long long)group);
    }
    if (chmod(path, group == STN_LOCAL_OWNER ? 0600 : 0660) != 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    return STN_OK;
}

/* Nobody can connect before listen, which comes after the mode is set. */
static enum stn_code bind_file(int fd, const struct sockaddr_un *address, int64_t group,
                               struct stat *ret, struct stn_err *err)
{
    const char *path = address->sun_path;
    int rc = bind(fd, (const struct sockaddr *)address, sizeof *address);
    if (rc != 0 && errno == EADDRINUSE) {
        if (lstat(path, ret) == 0 && !S_ISSOCK(ret->st_mode)) {
            return stn_err_set(err, STN_EXISTS, "%s: exists and is no socket", path);
        }
        if (is_alive(address)) {
            return stn_err_set(err, STN_EXISTS, "%s: another process answers there", path);
        }
        (void)unlink(path);
        rc = bind(fd, (const struct sockaddr *)address, sizeof *address);
    }
    if (rc != 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    enum stn_code code = let_in(path, group, ret, err);
    if (code != STN_OK) {
        (void)unlink(path);
    }
    return code;
}

static void remove_file(const struct stn_local *local)
{
    struct stat now;
    /* not one that another process has put there since */
    if (lstat(local->path, &now) == 0 && now.st_ino == local->file.st_ino &&
        now.st_dev == local->file.st_dev) {
        (void)unlink(local->path);
    }
}

static void after_listener_close(uv_handle_t *handle)
{
    handle_is_closed(handle->data);
}

enum stn_code stn_local_listen(struct stn_local **ret, struct stn_loop *loop, const char *path,
                               int64_t group,
                               void (*on_request)(void *user, struct stn_local_request *request),
                               void *user, struct stn_err *err)
{
    struct sockaddr_un address;
    enum stn_code code = address_of(&address, path, err);
    if (code != STN_OK) {
        return code;
    }
    struct stn_local *local = stn_mem_new(1, sizeof *local);
    if (local == NULL) {
        return stn_err_set(err, STN_MEMORY, "%s: no memory for a socket", path);
    }
    (void)stn_str_copy(local->path, sizeof local->path, path);
    local->loop = stn_loop_uv(loop);
    local->on_request = on_request;
    local->user = user;
    stn_list_init(&local->connections);
    stn_list_init(&local->spare);
    for (size_t i = 0; i < STN_LOCAL_CONNECTIONS; i++) {
        stn_list_add(&local->spare, &local->pool[i].list);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    code = fd < 0 ? stn_err_errno(err, errno, "%s", path)
                  : bind_file(fd, &address, group, &local->file, err);
    if (code != STN_OK) {
        if (fd >= 0) {
            (void)close(fd);
        }
        stn_mem_free(local);
        return code;
    }
    (void)uv_pipe_init(local->loop, &local->listener, 0);
    local->listener.data = local;
    local->n_open = 1;
    int rc = uv_pipe_open(&local->listener, fd);
    if (rc != 0) {
        (void)close(fd);
    } else {
        rc = uv_listen((uv_stream_t *)&local->listener, BACKLOG, on_connection);
    }
    if (rc != 0) {
        stn_local_close(local, NULL, NULL); /* freed when the loop next turns */
        return stn_loop_uv_err(err, rc, path);
    }
    *ret = local;
    return STN_OK;
}

void stn_local_close(struct stn_local *local, void (*on_closed)(void *user), void *user)
{
    if (local == NULL) {
        return;
    }
    assert(!local->closing);
    local->closing = true;
    local->on_closed = on_closed;
    local->closed_user = user;
    remove_file(local);
    while (!stn_list_is_empty(&local->connections)) {
        end_connection(STN_LIST_OF(local->connections.next, struct connection, list));
    }
    uv_close((uv_handle_t *)&local->listener, after_listener_close);
}

/* ---- the command's side ---- */

/* Waits until fd is ready. STN_AGAIN when the deadline came first. */
static enum stn_code wait_for(int fd, short events, uint64_t deadline_ms, const char *path,
                              struct stn_err *err)
{
    for (;;) {
        uint64_t now_ms = stn_loop_clock_ms();
        uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
        struct pollfd poller = {.fd = fd, .events = events};
        int n = poll(&poller, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
        if (n > 0) {
            return STN_OK;
        }
        if (n < 0 && errno != EINTR) {
            return stn_err_errno(err, errno, "%s", path);
        }
        if (n == 0 && left_ms == 0) {
            return stn_err_set(err, STN_AGAIN, "%s: no answer in time", path);
        }
    }
}

static enum stn_code send_all(int fd, const void *p, size_t size, uint64_t deadline_ms,
                              const char *path, struct stn_err *err)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, (const char *)p + at, size - at, MSG_NOSIGNAL);
        if (n >= 0) {
            at += (size_t)n;
            continue;
        }
        enum stn_code code = errno == EINTR    ? STN_OK
                             : errno == EAGAIN ? wait_for(fd, POLLOUT, deadline_ms, path, err)
                                               : stn_err_errno(err, errno, "%s", path);
        if (code != STN_OK) {
            return code;
        }
    }
    return STN_OK;
}

/* Appends what comes up to the newline, which becomes a zero that does not count. */
static enum stn_code receive_line(int fd, struct stn_buf *reply, uint64_t deadline_ms,
                                  const char *path, struct stn_err *err)
{
    for (size_t total = 0; total <= STN_LOCAL_LINE_MAX;) {
        uint8_t *to = stn_buf_extend(reply, READ_SIZE);
        if (to == NULL) {
            return stn_err_set(err, STN_MEMORY, "%s: no memory for the answer", path);
        }
        ssize_t n = recv(fd, to, READ_SIZE, 0);
        int number = errno;
        size_t got = n > 0 ? (size_t)n : 0;
        reply->size -= READ_SIZE - got;
        total += got;
        if (got > 0 && to[got - 1] == '\n') { /* one answer, so it is the last byte */
            to[got - 1] = '\0';
            reply->size--;
            return STN_OK;
        }
        if (n == 0) {
            return stn_err_set(err, STN_IO, "%s: the connection ended before the answer", path);
        }
        enum stn_code code = n > 0 || number == EINTR ? STN_OK
                             : number == EAGAIN       ? wait_for(fd, POLLIN, deadline_ms, path, err)
                                                      : stn_err_errno(err, number, "%s", path);
        if (code != STN_OK) {
            return code;
        }
    }
    return stn_err_set(err, STN_LIMIT, "%s: an answer of more than %zu bytes", path,
                       STN_LOCAL_LINE_MAX);
}

/* Who bound the socket file: the kernel says so, not its name. */
static enum stn_code check_peer(int fd, const char *path, struct stn_err *err)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    return peer.uid == geteuid() ? STN_OK
                                 : stn_err_set(err, STN_DENIED, "%s: user %lu answers there, and user %lu asks", path,
                                               (unsigned long)peer.uid, (unsigned long)geteuid());
}

static enum stn_code ask(int fd, const struct sockaddr_un *address, bool own, const char *text,
                         size_t size, uint64_t deadline_ms, struct stn_buf *reply, struct stn_err *err)
{
    const char *path = address->sun_path;
    while (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        if (errno == ECONNREFUSED || errno == ENOENT) {
            return stn_err_set(err, STN_NOT_FOUND,
                               "%s: nobody answers there: is the service running?", path);
        }
        if (errno != EINTR && errno != EAGAIN) {
            return stn_err_errno(err, errno, "%s", path);
        }
        if (stn_loop_clock_ms() >= deadline_ms) {
            return stn_err_set(err, STN_AGAIN, "%s: too many ask at once", path);
        }
        (void)poll(NULL, 0, 10); /* a full backlog cannot be waited for */
    }
    enum stn_code code = own ? check_peer(fd, path, err) : STN_OK;
    if (code == STN_OK) {
        code = send_all(fd, text, size, deadline_ms, path, err);
    }
    if (code == STN_OK) {
        code = send_all(fd, "\n", 1, deadline_ms, path, err);
    }
    return code == STN_OK ? receive_line(fd, reply, deadline_ms, path, err) : code;
}

static enum stn_code ask_at(const char *path, bool own, const char *text, size_t size,
                            uint32_t timeout_ms, struct stn_buf *reply, struct stn_err *err)
{
    assert(size <= STN_LOCAL_LINE_MAX && (size == 0 || memchr(text, '\n', size) == NULL));
    struct sockaddr_un address;
    enum stn_code code = address_of(&address, path, err);
    if (code != STN_OK) {
        return code;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return stn_err_errno(err, errno, "%s", path);
    }
    size_t before = reply->size;
    code = ask(fd, &address, own, text, size, stn_loop_clock_ms() + timeout_ms, reply, err);
    if (code != STN_OK) {
        reply->size = before;
    }
    (void)close(fd);
    return code;
}

enum stn_code stn_local_ask(const char *path, const char *text, size_t size, uint32_t timeout_ms,
                            struct stn_buf *reply, struct stn_err *err)
{
    return ask_at(path, false, text, size, timeout_ms, reply, err);
}

enum stn_code stn_local_ask_own(const char *path, const char *text, size_t size,
                                uint32_t timeout_ms, struct stn_buf *reply, struct stn_err *err)
{
    return ask_at(path, true, text, size, timeout_ms, reply, err);
}
