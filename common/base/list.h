/* list: an intrusive circular doubly linked list. The link lives in the element; the list owns nothing.
 * A head is initialised with stn_list_init; an element's link needs nothing before it is added. Thread: one at a time. */
#ifndef STN_BASE_LIST_H
#define STN_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct stn_list {
    struct stn_list *prev, *next;
};

/* The element that holds a link. */
#define STN_LIST_OF(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))

static inline void stn_list_init(struct stn_list *head)
{
    head->prev = head->next = head;
}

static inline bool stn_list_is_empty(const struct stn_list *head)
{
    return head->next == head;
}

/* Adds at the end. */
static inline void stn_list_add(struct stn_list *head, struct stn_list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void stn_list_remove(struct stn_list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = link;
}

/* Takes the first link off, or NULL. */
static inline struct stn_list *stn_list_pop(struct stn_list *head)
{
    struct stn_list *link = head->next;
    if (link == head) {
        return NULL;
    }
    stn_list_remove(link);
    return link;
}

#endif
