/* dialog: messages to the coordinator and its replies, over the encrypted channel on a link. It shakes hands when there
 * is no session, and again when the coordinator has forgotten it (a restart): an ask that was under way is then sealed
 * afresh and sent again, which requests are made for. When nobody answers the asks fail, and the core backs off.
 * Thread: the loop's. */
#ifndef STN_CLIENT_SHELL_DIALOG_H
#define STN_CLIENT_SHELL_DIALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "crypto/ident.h"
#include "io/timer.h"
#include "proto/msg.h"

#define STN_DIALOG_WINDOW 8 /* asks that are out at once; more wait */

struct stn_loop;
struct stn_mailbox;
struct stn_dialog;

struct stn_dialog_config { /* borrowed for the call, but for loop and mailbox */
    struct stn_loop *loop;
    struct stn_mailbox *mailbox;
    const char *url, *tls_ca; /* tls_ca: "" for none */
    const struct stn_ident *device;
    const uint8_t *key, *directory;
    const struct stn_ident_cert *certificate; /* NULL: none yet */
    const uint8_t *token;                     /* NULL: none */
    /* What became of a handshake: STN_OK, with the certificate when it enrolled the device; STN_DENIED and other
     * refusals, which are hearsay; STN_IO or STN_AGAIN when nobody answered. NULL: nobody wants to know. */
    void (*greeted)(void *user, enum stn_code code, const struct stn_ident_cert *enrolled);
    void *user;
};

enum stn_code stn_dialog_open(struct stn_dialog **ret, const struct stn_dialog_config *config, struct stn_err *err) STN_CHECKED;
/* What is asked is told nothing any more. on_closed (which may be NULL) comes later. NULL is fine. */
void stn_dialog_close(struct stn_dialog *dialog, void (*on_closed)(void *user), void *user);

/* Shakes hands although nothing is asked. */
void stn_dialog_greet(struct stn_dialog *dialog);
bool stn_dialog_is_open(const struct stn_dialog *dialog);

/* Embedded in its owner; zeroed with told set is ready. */
struct stn_dialog_ask {
    /* Once, never from within stn_dialog_ask: STN_OK with the reply, which is for the call; or why there is none:
     * STN_IO, STN_AGAIN (silence), STN_DENIED (no session), STN_MEMORY, STN_INVALID. It may ask again. */
    void (*told)(struct stn_dialog_ask *ask, enum stn_code code, const struct stn_msg *reply);

    /* the dialog's */
    struct stn_dialog *dialog;
    struct stn_dialog_flight *flight;
    struct stn_buf message;
    struct stn_list link;
    struct stn_timer timer;
    enum stn_code code;
    unsigned n_tries;
    bool is_asked;
};

void stn_dialog_ask(struct stn_dialog *dialog, struct stn_dialog_ask *ask, const struct stn_msg *msg, uint32_t timeout_ms);
/* No reply is wanted any more. One that is not asked is fine. */
void stn_dialog_drop(struct stn_dialog_ask *ask);

#endif
