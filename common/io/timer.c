#include "io/timer.h"

#include <assert.h>
#include <stddef.h>

static bool comes_before(const struct stn_timer *a, const struct stn_timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->number < b->number;
}

/* Both are roots without siblings; the later becomes the eldest child of the earlier. */
static struct stn_timer *meld(struct stn_timer *a, struct stn_timer *b)
{
    if (a == NULL || b == NULL) {
        return a == NULL ? b : a;
    }
    if (comes_before(b, a)) {
        struct stn_timer *t = a;
        a = b;
        b = t;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child != NULL) {
        a->child->prev = b;
    }
    a->child = b;
    return a;
}

/* Two passes over a list of siblings: meld them in pairs from the left, then the pairs from the
 * right. */
static struct stn_timer *meld_siblings(struct stn_timer *first)
{
    struct stn_timer *pairs = NULL;
    while (first != NULL) {
        struct stn_timer *a = first, *b = first->next;
        first = b == NULL ? NULL : b->next;
        a->prev = a->next = NULL;
        if (b != NULL) {
            b->prev = b->next = NULL;
        }
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    struct stn_timer *root = NULL;
    while (pairs != NULL) {
        struct stn_timer *a = pairs;
        pairs = a->next;
        a->next = NULL;
        root = meld(root, a);
    }
    return root;
}

struct stn_timer *stn_timer_add(struct stn_timer *root, struct stn_timer *timer)
{
    assert(!timer->armed);
    timer->armed = true;
    timer->child = timer->next = timer->prev = NULL;
    return meld(root, timer);
}

struct stn_timer *stn_timer_remove(struct stn_timer *root, struct stn_timer *timer)
{
    assert(timer->armed);
    struct stn_timer *below = meld_siblings(timer->child);
    if (timer == root) {
        root = below;
    } else {
        if (timer->prev->child == timer) {
            timer->prev->child = timer->next;
        } else {
            timer->prev->next = timer->next;
        }
        if (timer->next != NULL) {
            timer->next->prev = timer->prev;
        }
        root = meld(root, below);
    }
    timer->armed = false;
    timer->child = timer->next = timer->prev = NULL;
    return root;
}
