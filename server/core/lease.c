#include "server/core/lease.h"

#include <assert.h>

#include "base/mem.h"

#define OF(at) STN_LIST_OF(at, struct stn_lease, link)

void stn_lease_book_init(struct stn_lease_book *book)
{
    *book = (struct stn_lease_book){0};
    stn_list_init(&book->by_number);
}

void stn_lease_book_fini(struct stn_lease_book *book)
{
    for (struct stn_list *link; (link = stn_list_pop(&book->by_number)) != NULL;) {
        stn_mem_free(OF(link));
    }
    stn_map_fini(&book->numbers);
    stn_map_fini(&book->devices);
}

struct stn_lease *stn_lease_get(const struct stn_lease_book *book, uint64_t number)
{
    return stn_map_get(&book->numbers, &number, sizeof number);
}

struct stn_lease *stn_lease_add(struct stn_lease_book *book, const struct stn_lease_record *record)
{
    assert(stn_lease_get(book, record->lease) == NULL);
    struct stn_lease *lease = stn_emit_need(stn_mem_new(1, sizeof *lease));
    lease->record = *record;
    struct stn_list *before = book->by_number.prev;
    while (before != &book->by_number && OF(before)->record.lease > record->lease) {
        before = before->prev;
    }
    stn_list_add(before->next, &lease->link);
    stn_emit_set(&book->numbers, &record->lease, sizeof record->lease, lease);
    lease->older = stn_map_get(&book->devices, &record->device, sizeof record->device);
    stn_emit_set(&book->devices, &record->device, sizeof record->device, lease);
    return lease;
}

struct stn_lease *stn_lease_of(const struct stn_lease_book *book, const struct stn_id *device,
                               uint64_t version, uint64_t now_ms)
{
    struct stn_lease *lease = stn_map_get(&book->devices, device, sizeof *device);
    for (; lease != NULL; lease = lease->older) {
        if (!lease->record.spent && lease->record.version == version &&
            lease->record.expires_ms > now_ms) {
            break;
        }
    }
    return lease;
}

void stn_lease_forget(struct stn_lease_book *book, struct stn_lease *lease, struct stn_emit *emit)
{
    const struct stn_lease_record *record = &lease->record;
    struct stn_lease *newest = stn_map_get(&book->devices, &record->device, sizeof record->device);
    if (newest == lease && lease->older == NULL) {
        (void)stn_map_remove(&book->devices, &record->device, sizeof record->device);
    } else if (newest == lease) {
        stn_emit_set(&book->devices, &record->device, sizeof record->device, lease->older);
    } else {
        while (newest->older != lease) {
            newest = newest->older;
        }
        newest->older = lease->older;
    }
    (void)stn_map_remove(&book->numbers, &record->lease, sizeof record->lease);
    stn_list_remove(&lease->link);
    stn_emit_forget(emit, &(struct stn_record){.type = STN_RECORD_LEASE, .lease = *record});
    stn_mem_free(lease);
}

uint32_t stn_lease_expire(struct stn_lease_book *book, uint64_t version, struct stn_emit *emit)
{
    uint32_t n = 0;
    for (struct stn_list *link = book->by_number.next, *next; link != &book->by_number;
         link = next) {
        next = link->next;
        struct stn_lease *lease = OF(link);
        if (lease->held) {
            continue;
        }
        if (lease->record.expires_ms > emit->now_ms) {
            break; /* all live equally long: those behind it expire later */
        }
        if (!lease->record.spent) {
            n += lease->record.version == version;
            stn_emit_trace(emit, "expired", lease->record.task, &lease->record.device,
                           lease->record.lease, STN_OK);
        }
        stn_lease_forget(book, lease, emit);
    }
    return n;
}

void stn_lease_forget_before(struct stn_lease_book *book, uint64_t oldest, struct stn_emit *emit)
{
    for (struct stn_list *link = book->by_number.next, *next; link != &book->by_number;
         link = next) {
        next = link->next;
        if (OF(link)->record.version < oldest) {
            stn_lease_forget(book, OF(link), emit);
        }
    }
}

uint32_t stn_lease_count(const struct stn_lease_book *book, uint64_t version)
{
    uint32_t n = 0;
    for (struct stn_list *link = book->by_number.next; link != &book->by_number;
         link = link->next) {
        n += OF(link)->record.version == version && !OF(link)->record.spent;
    }
    return n;
}

uint64_t stn_lease_next_ms(const struct stn_lease_book *book)
{
    for (struct stn_list *link = book->by_number.next; link != &book->by_number;
         link = link->next) {
        if (!OF(link)->held) {
            return OF(link)->record.expires_ms;
        }
    }
    return UINT64_MAX;
}
