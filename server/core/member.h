/* member: one device in one round, and the tickets by which it waits for news. A parked ticket is
 * in the map of all tickets, so that its loss finds the member. */
#ifndef STN_SERVER_CORE_MEMBER_H
#define STN_SERVER_CORE_MEMBER_H

#include "server/core/emit.h"

struct stn_cohort;

struct stn_member {
    struct stn_cohort *cohort;
    struct stn_member_record record;
    stn_ticket poll;    /* parked, or 0 */
    uint32_t stage;     /* that the poll waits for */
    stn_ticket put_end; /* waits for the check, or 0 */
    bool checking;
    uint8_t signature[64]; /* of the upload that is checked, in a secure round */
};

/* at is one of the member's two, and free. Ticket 0 is not parked. */
void stn_member_park(struct stn_member *member, struct stn_emit *emit, stn_ticket *at,
                     stn_ticket ticket);
/* Takes the ticket out, to reply to it; 0: none. */
stn_ticket stn_member_take(stn_ticket *at, struct stn_emit *emit);
/* Nobody waits by it any more. */
void stn_member_unpark(stn_ticket *at, struct stn_map *tickets);

struct stn_server_upload stn_member_upload(const struct stn_member *member);

#endif
