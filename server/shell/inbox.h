/* inbox: what devices ask, from the link through the channel to the core, and the way back. Every request has a ticket
 * until it is answered once; one that waits for news is answered WAIT after STN_INBOX_WAIT_MS, or earlier when
 * those that wait leave no room for those that come. Blobs and chunks of
 * uploads are moved here, when the core says that the device may. All answers leave after the turn's commit, but chunks of
 * blobs, which promise nothing.
 * Thread: the loop's. */
#ifndef STN_SERVER_SHELL_INBOX_H
#define STN_SERVER_SHELL_INBOX_H

#include "server/shell/service.h"

#define STN_INBOX_WAIT_MS 55000

/* A link's request: for stn_link_listen, with the service as user. */
void stn_inbox_take(void *service, struct stn_link_request *request);

/* The one reply to a ticket. A ticket that is gone needs none. */
void stn_inbox_reply(struct stn_service *service, stn_ticket ticket, const struct stn_msg *msg);

/* The same with what the core says of a TELL when its turn has come (pace.h). */
void stn_inbox_tell(struct stn_service *service, stn_ticket ticket, const struct stn_server_tell *tell);
size_t stn_inbox_told(struct stn_list *answer); /* for stn_pace_open */

/* Sends the bytes after the commit, and takes them out of *bytes; nothing at all drops the request. */
void stn_inbox_send(struct stn_service *service, struct stn_link_request *request, struct stn_buf *bytes);

/* The link is closed: every ticket is gone. */
void stn_inbox_clear(struct stn_service *service);

#endif
