#include "compute/model/fit.h"

#include <assert.h>

#include "base/mem.h"
#include "compute/model/network_build.h"
#include "compute/plan.h"

/* Raises *ret to what it is with a pass of the graph prepared as well. */
static enum stn_code weigh_pass(struct stn_backend_memory *ret, struct stn_network *network, enum stn_network_pass pass,
                                struct stn_err *err)
{
    struct stn_plan plan;
    stn_network_build_nodes(network, pass);
    enum stn_code code = stn_plan_init(&plan, &network->graph, pass, 0, err);
    if (code == STN_OK) {
        size_t scratch =
            network->row->scratch == NULL ? 0 : network->row->scratch(&network->graph, pass, network->config.n_threads);
        ret->arena = plan.size > ret->arena ? plan.size : ret->arena;
        ret->scratch = scratch > ret->scratch ? scratch : ret->scratch;
        network->is_prepared[pass] = true; /* its books are kept as if it were */
        stn_plan_fini(&plan);
    }
    return code;
}

static size_t lasting_of(const struct stn_graph *graph)
{
    size_t sum = 0;
    for (size_t i = 0; i < graph->n_tensors; i++) {
        const struct stn_tensor *t = &graph->tensors[i];
        sum += t->life == STN_LIFE_LASTING && t->base == STN_OP_NONE ? stn_graph_size(&t->shape) : 0;
    }
    return sum;
}

static enum stn_code weigh_passes(struct stn_network_memory *ret, struct stn_network *network, const struct stn_adapter *adapter,
                                  struct stn_err *err)
{
    const struct stn_network_config *config = &network->config;
    struct stn_backend_memory own = {0};
    stn_graph_init(&network->graph, config->max_tokens, config->max_targets);
    stn_network_build_tensors(network, adapter);
    enum stn_code code = weigh_pass(&own, network, config->train ? STN_NETWORK_TRAIN : STN_NETWORK_EVAL, err);
    if (code == STN_OK && config->train) {
        code = weigh_pass(&own, network, STN_NETWORK_UPDATE, err);
    }
    if (code == STN_OK && config->train && config->evaluates) {
        code = weigh_pass(&own, network, STN_NETWORK_EVAL, err);
    }
    if (code == STN_OK) {
        network->n_values = adapter == NULL ? 0 : adapter->n_values;
        own.lasting = lasting_of(&network->graph);
        *ret = stn_network_sum(network, &own);
    }
    return code;
}

enum stn_code stn_fit_weigh(struct stn_network_memory *ret, const struct stn_model *model, const struct stn_adapter *adapter,
                            const struct stn_network_config *config, struct stn_err *err)
{
    uint32_t n_layers = stn_model_arch(model)->n_layers;
    struct stn_network network = {.model = model, .config = *config, .row = stn_backend_find(config->backend)};
    network.layers = stn_mem_new(n_layers, sizeof *network.layers);
    network.bounds = stn_mem_new(n_layers, sizeof *network.bounds);
    enum stn_code code = STN_OK;
    if (network.row == NULL) {
        code = stn_err_set(err, STN_UNSUPPORTED, "this build has no backend called %.40s", config->backend);
    } else if (network.layers == NULL || network.bounds == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory for %u layers", n_layers);
    } else {
        code = weigh_passes(ret, &network, adapter, err);
        stn_graph_fini(&network.graph);
    }
    stn_mem_free(network.layers);
    stn_mem_free(network.bounds);
    return code;
}

/* ---- choosing ---- */

/* What has to fit where. */
struct ask {
    const struct stn_model *model;
    const struct stn_adapter *adapter;
    const struct stn_network_config *config;
    size_t room;
};

static bool holds(const struct stn_network_memory *m, size_t room)
{
    return m->adapter <= room && m->activations <= room - m->adapter && m->scratch <= room - m->adapter - m->activations;
}

/* Takes so many rows and layers computed again for the answer if that fits; *ret_holds says whether it did. */
static enum stn_code attempt(struct stn_fit *ret, const struct ask *ask, size_t rows, uint32_t recompute, bool *ret_holds,
                             struct stn_err *err)
{
    struct stn_network_config own = *ask->config;
    struct stn_fit fit = {.rows = rows, .recompute = recompute};
    own.max_tokens = own.max_targets = rows;
    own.recompute = recompute;
    enum stn_code code = stn_fit_weigh(&fit.memory, ask->model, ask->adapter, &own, err);
    if (code != STN_OK) {
        return code;
    }
    *ret_holds = holds(&fit.memory, ask->room);
    if (*ret_holds || ret->rows == 0) {
        *ret = fit;
    }
    return STN_OK;
}

/* As few layers in (low, high] as hold; high does. */
static enum stn_code fewest(struct stn_fit *ret, const struct ask *ask, uint32_t low, uint32_t high, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    while (code == STN_OK && high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        bool does = false;
        code = attempt(ret, ask, ret->rows, middle, &does, err);
        *(does ? &high : &low) = middle;
    }
    return code;
}

/* As many rows in [low, high) as hold; low does. */
static enum stn_code most(struct stn_fit *ret, const struct ask *ask, size_t low, size_t high, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    while (code == STN_OK && high - low > 1) {
        size_t middle = low + (high - low) / 2;
        bool does = false;
        code = attempt(ret, ask, middle, ret->recompute, &does, err);
        *(does ? &low : &high) = middle;
    }
    return code;
}

enum stn_code stn_fit_find(struct stn_fit *ret, const struct stn_model *model, const struct stn_adapter *adapter,
                           const struct stn_network_config *config, size_t least, size_t room, struct stn_err *err)
{
    const struct ask ask = {.model = model, .adapter = adapter, .config = config, .room = room};
    uint32_t all = config->train ? stn_model_arch(model)->n_layers - 1 : 0;
    uint32_t kept = config->recompute < all ? config->recompute : all;
    size_t wanted = config->max_tokens;
    bool does = false;
    assert(least > 0 && least <= wanted);
    *ret = (struct stn_fit){0};
    enum stn_code code = attempt(ret, &ask, wanted, kept, &does, err);
    if (code != STN_OK || does) {
        return code;
    }
    code = attempt(ret, &ask, wanted, all, &does, err);
    if (code != STN_OK || does) {
        return code != STN_OK ? code : fewest(ret, &ask, kept, all, err);
    }
    ret->rows = 0;
    code = attempt(ret, &ask, least, all, &does, err);
    if (code == STN_OK && does) {
        return most(ret, &ask, least, wanted, err);
    }
    ret->rows = 0;
    return code;
}
