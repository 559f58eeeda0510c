#include "compute/recompute.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

/* What is known of each tensor. */
struct tensor {
    bool is_written; /* a temporary that the range writes */
    bool is_needed;
    uint32_t again; /* its copy, once there is one */
};

struct job {
    struct stn_graph *graph;
    size_t pass, first, end;
    struct tensor *tensors;
    bool *is_needed; /* by node of the range */
};

static struct stn_node *node_at(const struct job *job, size_t n)
{
    return &job->graph->passes[job->pass].nodes[n];
}

static void find_written(struct job *job)
{
    for (size_t n = job->first; n < job->end; n++) {
        const struct stn_node *node = node_at(job, n);
        for (size_t i = 0; i < stn_op_row(node->op)->n_outputs; i++) {
            uint32_t t = node->out[i];
            job->tensors[t].is_written = job->graph->tensors[t].life == STN_LIFE_TEMPORARY;
            job->tensors[t].again = STN_OP_NONE;
        }
    }
}

static void need_inputs(struct job *job, const struct stn_node *node)
{
    for (size_t i = 0; i < stn_op_row(node->op)->n_inputs; i++) {
        if (node->in[i] != STN_OP_NONE && job->tensors[node->in[i]].is_written) {
            job->tensors[node->in[i]].is_needed = true;
        }
    }
}

/* From the readers back: a node is needed when it writes, or changes, what is needed. */
static void find_needed(struct job *job, size_t at)
{
    for (size_t n = at; n < job->graph->passes[job->pass].n_nodes; n++) {
        need_inputs(job, node_at(job, n));
    }
    for (size_t n = job->end; n-- > job->first;) {
        const struct stn_node *node = node_at(job, n);
        for (size_t i = 0; i < stn_op_row(node->op)->n_outputs; i++) {
            job->is_needed[n - job->first] |= job->tensors[node->out[i]].is_needed;
        }
        if (job->is_needed[n - job->first]) {
            need_inputs(job, node);
        }
    }
}

static void redirect_inputs(const struct job *job, struct stn_node *node)
{
    for (size_t i = 0; i < stn_op_row(node->op)->n_inputs; i++) {
        if (node->in[i] != STN_OP_NONE && job->tensors[node->in[i]].is_written) {
            node->in[i] = job->tensors[node->in[i]].again;
        }
    }
}

static void copy_node(struct job *job, size_t n)
{
    struct stn_node copy = *node_at(job, n);
    redirect_inputs(job, &copy);
    for (size_t i = 0; i < stn_op_row(copy.op)->n_outputs; i++) {
        struct tensor *t = &job->tensors[copy.out[i]];
        assert(t->is_written); /* a node that writes what lasts must not run twice */
        if (t->again == STN_OP_NONE) {
            struct stn_shape shape = *stn_graph_shape(job->graph, copy.out[i]);
            t->again = stn_graph_temporary(job->graph, &shape);
        }
        copy.out[i] = t->again;
    }
    (void)stn_graph_add(job->graph, job->pass, &copy);
}

/* Moves what is behind OLD_END in front of what is behind AT. */
static void move_before(struct job *job, size_t at, size_t old_end)
{
    struct stn_pass *list = &job->graph->passes[job->pass];
    size_t n_new = list->n_nodes - old_end;
    struct stn_node *copies = stn_mem_new(n_new, sizeof *copies);
    if (copies == NULL) {
        job->graph->failed = true;
        return;
    }
    memcpy(copies, list->nodes + old_end, n_new * sizeof *copies);
    memmove(list->nodes + at + n_new, list->nodes + at, (old_end - at) * sizeof *copies);
    memcpy(list->nodes + at, copies, n_new * sizeof *copies);
    stn_mem_free(copies);
}

void stn_recompute_insert(struct stn_graph *graph, size_t pass, size_t first, size_t end, size_t at)
{
    struct job job = {.graph = graph, .pass = pass, .first = first, .end = end};
    size_t old_end = graph->passes[pass].n_nodes;
    assert(first < end && end <= at && at <= old_end);
    job.tensors = stn_mem_new(graph->n_tensors, sizeof *job.tensors);
    job.is_needed = stn_mem_new(end - first, sizeof *job.is_needed);
    if (job.tensors == NULL || job.is_needed == NULL) {
        graph->failed = true;
    }
    if (!graph->failed) {
        find_written(&job);
        find_needed(&job, at);
    }
    for (size_t n = first; n < end && !graph->failed; n++) {
        if (job.is_needed[n - first]) {
            copy_node(&job, n);
        }
    }
    for (size_t n = at; n < old_end && !graph->failed; n++) {
        redirect_inputs(&job, node_at(&job, n));
    }
    if (!graph->failed && graph->passes[pass].n_nodes > old_end) {
        move_before(&job, at, old_end);
    }
    stn_mem_free(job.tensors);
    stn_mem_free(job.is_needed);
}
