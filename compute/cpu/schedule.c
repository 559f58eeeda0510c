#include "compute/cpu/schedule.h"

#include <assert.h>

#define BEHIND 4 /* units of the ternary product at once before what is added to them: few sums of its inputs, and all is near */

static bool meet(const struct stn_schedule_range *a, size_t n_a, const struct stn_schedule_range *b, size_t n_b)
{
    for (size_t i = 0; i < n_a; i++) {
        for (size_t j = 0; j < n_b; j++) {
            if (a[i].from < b[j].to && b[j].from < a[i].to) {
                return true;
            }
        }
    }
    return false;
}

/* One writes what the other reads or writes. */
static bool disturb(const struct stn_schedule_use *a, const struct stn_schedule_use *b)
{
    return meet(a->out, STN_OP_OUTPUTS, b->out, STN_OP_OUTPUTS) || meet(a->out, STN_OP_OUTPUTS, b->in, STN_OP_INPUTS) ||
           meet(a->in, STN_OP_INPUTS, b->out, STN_OP_OUTPUTS);
}

/* Adds to the whole of what the ternary product writes, and reads nothing of it. */
static bool goes_behind(const struct stn_kernel_call *first, const struct stn_kernel_call *next)
{
    return first->node->op == STN_OP_TERNARY && next->node->op == STN_OP_LINEAR && next->node->add &&
           next->out[0].p == first->out[0].p && next->out[0].cols == first->out[0].cols;
}

size_t stn_schedule_length(const struct stn_kernel_call *calls, const struct stn_schedule_use *uses, size_t n)
{
    size_t end = 0;
    for (size_t n_items = 0; end < n && n_items < STN_SCHEDULE_MOST; n_items++) {
        size_t own = end + 1 < n && goes_behind(&calls[end], &calls[end + 1]) ? 2 : 1;
        if (end > 0 && (uses[0].alone || uses[end].alone)) {
            return end;
        }
        for (size_t i = 0; i < end; i++) {
            if (disturb(&uses[i], &uses[end]) || (own == 2 && disturb(&uses[i], &uses[end + 1]))) {
                return end;
            }
        }
        end += own;
    }
    return end;
}

void stn_schedule_fill(struct stn_schedule_step *step, const struct stn_kernel_call *calls, size_t n)
{
    step->n_items = step->n_units = 0;
    for (size_t i = 0; i < n; i++) {
        bool has_next = i + 1 < n && goes_behind(&calls[i], &calls[i + 1]);
        size_t n_units = stn_kernel_row(calls[i].node->op)->units(&calls[i]);
        assert(step->n_items < STN_SCHEDULE_MOST);
        step->items[step->n_items++] =
            (struct stn_schedule_item){.call = &calls[i], .behind = has_next ? &calls[i + 1] : NULL, .n_units = n_units};
        step->n_units += n_units;
        i += has_next ? 1 : 0;
    }
}

static size_t added(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

size_t stn_schedule_work(const struct stn_schedule_step *step)
{
    size_t sum = 0;
    for (size_t i = 0; i < step->n_items; i++) {
        const struct stn_schedule_item *item = &step->items[i];
        sum = added(sum, stn_kernel_row(item->call->node->op)->work(item->call));
        sum = added(sum, item->behind == NULL ? 0 : stn_kernel_row(item->behind->node->op)->work(item->behind));
    }
    return sum;
}

void stn_schedule_run(const struct stn_schedule_step *step, size_t first, size_t count, void *scratch)
{
    for (size_t i = 0; i < step->n_items && count > 0; i++) {
        const struct stn_schedule_item *item = &step->items[i];
        if (first >= item->n_units) {
            first -= item->n_units;
            continue;
        }
        size_t n = item->n_units - first < count ? item->n_units - first : count;
        if (item->behind == NULL) {
            stn_kernel_row(item->call->node->op)->run(item->call, first, n, scratch);
        }
        for (size_t at = first; item->behind != NULL && at < first + n; at += BEHIND) {
            size_t some = first + n - at < BEHIND ? first + n - at : BEHIND;
            stn_kernel_row(item->call->node->op)->run(item->call, at, some, scratch);
            stn_product_linear_columns(item->behind, at, some);
        }
        count -= n;
        first = 0;
    }
}
