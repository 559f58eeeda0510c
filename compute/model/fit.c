#include "compute/model/fit.h"

#include <assert.h>

#define FEW 4 /* rows of the smaller network */

/* What passes of any length take: at + step for each row. */
struct line {
    double at, step, scratch_at, scratch_step;
    struct stn_network_memory rest; /* the parts that do not depend on rows */
};

static enum stn_code measure(struct stn_network_memory *ret, const struct stn_model *model, const struct stn_adapter *adapter,
                             const struct stn_network_config *config, size_t rows, struct stn_err *err)
{
    struct stn_network *network = NULL;
    struct stn_network_config own = *config;
    own.max_tokens = own.max_targets = rows;
    enum stn_code code = stn_network_new(&network, model, adapter, &own, err);
    if (code == STN_OK) {
        *ret = stn_network_memory(network);
        stn_network_free(network);
    }
    return code;
}

static enum stn_code draw(struct line *ret, const struct stn_model *model, const struct stn_adapter *adapter,
                          const struct stn_network_config *config, struct stn_err *err)
{
    struct stn_network_memory small, large;
    enum stn_code code = measure(&small, model, adapter, config, FEW, err);
    code = code != STN_OK ? code : measure(&large, model, adapter, config, 2 * FEW, err);
    if (code == STN_OK) {
        ret->step = ((double)large.activations - (double)small.activations) / FEW;
        ret->at = (double)small.activations - FEW * ret->step;
        ret->scratch_step = ((double)large.scratch - (double)small.scratch) / FEW;
        ret->scratch_at = (double)small.scratch - FEW * ret->scratch_step;
        ret->rest = small;
    }
    return code;
}

static struct stn_network_memory at(const struct line *line, size_t rows)
{
    struct stn_network_memory m = line->rest;
    m.activations = (size_t)(line->at + line->step * (double)rows);
    m.scratch = (size_t)(line->scratch_at + line->scratch_step * (double)rows);
    return m;
}

static bool holds(const struct stn_network_memory *m, size_t room)
{
    return m->adapter <= room && m->activations <= room - m->adapter && m->scratch <= room - m->adapter - m->activations;
}

enum stn_code stn_fit_find(struct stn_fit *ret, const struct stn_model *model, const struct stn_adapter *adapter,
                           const struct stn_network_config *config, size_t least, size_t room, struct stn_err *err)
{
    size_t wanted = config->max_tokens;
    struct stn_network_config own = *config;
    struct line line = {0};
    assert(least > 0 && least <= wanted);
    for (int again = config->recompute ? 1 : 0; again <= (config->train ? 1 : 0); again++) {
        own.recompute = again == 1;
        enum stn_code code = draw(&line, model, adapter, &own, err);
        if (code != STN_OK) {
            return code;
        }
        *ret = (struct stn_fit){.rows = wanted, .recompute = own.recompute, .memory = at(&line, wanted)};
        if (holds(&ret->memory, room)) {
            return STN_OK;
        }
    }
    ret->memory = at(&line, least);
    if (!holds(&ret->memory, room)) {
        ret->rows = 0;
        return STN_OK;
    }
    double left = (double)room - (double)ret->memory.adapter - line.at - line.scratch_at;
    size_t rows = (size_t)(left / (line.step + line.scratch_step));
    ret->rows = rows < least ? least : rows > wanted ? wanted : rows;
    ret->memory = at(&line, ret->rows);
    return STN_OK;
}
