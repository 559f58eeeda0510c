#include "server/core/member.h"

#include <assert.h>

void stn_member_unpark(stn_ticket *at, struct stn_map *tickets)
{
    if (*at != 0) {
        (void)stn_map_remove(tickets, at, sizeof *at);
        *at = 0;
    }
}

void stn_member_park(struct stn_member *member, struct stn_emit *emit, stn_ticket *at,
                     stn_ticket ticket)
{
    assert(*at == 0);
    if (ticket != 0) {
        *at = ticket;
        stn_emit_set(emit->tickets, &ticket, sizeof ticket, member);
    }
}

stn_ticket stn_member_take(stn_ticket *at, struct stn_emit *emit)
{
    stn_ticket ticket = *at;
    stn_member_unpark(at, emit->tickets);
    return ticket;
}

struct stn_server_upload stn_member_upload(const struct stn_member *member)
{
    return (struct stn_server_upload){.round = member->record.round,
                                      .device = member->record.device,
                                      .digest = member->record.upload,
                                      .size = member->record.upload_size};
}
