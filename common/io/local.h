/* local: how a command line speaks to the daemon of the same user on the same machine: one line of
 * text asks, one line answers, over a socket file that only its owner may open, or one group too. What
 * the text means (JSON) is the callers' business. Lines end with a newline, which is not part of the text and must
 * not be in it. */
#ifndef STN_IO_LOCAL_H
#define STN_IO_LOCAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define STN_LOCAL_LINE_MAX ((size_t)16 << 20)
#define STN_LOCAL_CONNECTIONS 16 /* one more waits until another ends */
#define STN_LOCAL_PATH_MAX 108   /* with its zero: what the kernel takes */
#define STN_LOCAL_OWNER (-1)     /* no group: the owner alone may open the socket file */

/* ---- the daemon's side. Thread: the loop's ---- */

struct stn_loop;
struct stn_local;

/* A line until it is answered. */
struct stn_local_request {
    const char *text; /* ends with a zero, and may have others in it */
    size_t size;
    void *user; /* for whoever holds it */
};

/* on_request must answer each request once, in the call or later; a connection's next line waits
 * for that. The socket file has mode 0600, or 0660 and the id of a group; one that a dead process
 * left is replaced. STN_EXISTS: a living process answers there, or path is something else.
 * STN_DENIED: this user may not give a file to the group. A line that is too long ends its
 * connection. The caller closes *ret. */
enum stn_code stn_local_listen(struct stn_local **ret, struct stn_loop *loop, const char *path,
                               int64_t group,
                               void (*on_request)(void *user, struct stn_local_request *request),
                               void *user, struct stn_err *err) STN_CHECKED;

/* The request is over. The text is copied; it has no newline and at most STN_LOCAL_LINE_MAX bytes.
 * Who left without waiting does not get it, and nobody is told. */
void stn_local_reply(struct stn_local_request *request, const char *text, size_t size);

/* Requests that were not answered are gone with this call: nobody may touch them any more. The
 * socket file is removed; on_closed (which may be NULL) is called later, and the rest is no more.
 * NULL is fine. */
void stn_local_close(struct stn_local *local, void (*on_closed)(void *user), void *user);

/* ---- the command's side. Thread: any; it blocks ---- */

/* Asks one line and appends the answer to reply, with a zero after it that does not count.
 * STN_NOT_FOUND: nobody listens at path. STN_DENIED: it is another user's. STN_AGAIN: no answer
 * within timeout_ms, or, at once, too few descriptors to ask with. STN_LIMIT: an answer that is too
 * long. STN_IO: the connection ended before the answer. */
enum stn_code stn_local_ask(const char *path, const char *text, size_t size, uint32_t timeout_ms,
                            struct stn_buf *reply, struct stn_err *err) STN_CHECKED;

/* As stn_local_ask, of a process of this very user: STN_DENIED, and nothing was said to it, when another user's answers
 * there. For a path that others could have put there. */
enum stn_code stn_local_ask_own(const char *path, const char *text, size_t size,
                                uint32_t timeout_ms, struct stn_buf *reply, struct stn_err *err) STN_CHECKED;

#endif
