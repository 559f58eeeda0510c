#include "client/simulate/lab_data.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "blob/blob.h"
#include "client/simulate/demo.h"
#include "compute/model/tokenizer.h"

enum stn_code stn_lab_data_model(struct stn_lab *lab, const struct stn_lab_config *config, struct stn_err *err)
{
    enum stn_code code = stn_model_open_with(&lab->model, config->model, &config->reading, err);
    if (code == STN_OK) {
        code = stn_tokenizer_new(&lab->tokenizer, stn_model_gguf(lab->model), err);
    }
    return code == STN_OK ? stn_blob_name_file(config->model, &lab->model_digest, &lab->model_size, err) : code;
}

/* Adds example i of a home, with its name as a field, so that it can be told whose it is. */
static enum stn_code add_home_example(struct stn_lab *lab, struct stn_dataset *dataset, size_t home, uint64_t i,
                                      struct stn_err *err)
{
    struct stn_demo_example example;
    char name[32];
    stn_demo_make(lab->seed, home, i, &example);
    (void)snprintf(name, sizeof name, "home-%02zu", home);
    const struct stn_jsonl_field fields[] = {{"home", name}, {"intent", example.intent}};
    const struct stn_jsonl_record record = {.kind = STN_JSONL_PAIR, .prompt = example.prompt,
                                            .completion = example.completion, .fields = fields, .n_fields = 2};
    return stn_dataset_add(dataset, lab->tokenizer, &record, err);
}

static enum stn_code read_homes(struct stn_lab *lab, size_t n_homes, const struct stn_dataset_config *config,
                                struct stn_err *err)
{
    enum stn_code code = stn_dataset_new(&lab->pooled, config, err);
    if (code == STN_OK) {
        code = stn_dataset_new(&lab->test, config, err);
    }
    for (size_t home = 0; code == STN_OK && home < n_homes; home++) {
        for (uint64_t i = 0; code == STN_OK && i < STN_DEMO_EXAMPLES + STN_DEMO_TEST; i++) {
            code = add_home_example(lab, i < STN_DEMO_EXAMPLES ? lab->pooled : lab->test, home, i, err);
        }
    }
    return code;
}

/* Cuts pooled into the clients that owner says. */
static enum stn_code cut(struct stn_lab *lab, const size_t *owner, struct stn_err *err)
{
    const size_t n = lab->pooled->n_examples;
    size_t *order = stn_mem_new(n, sizeof *order), *start = stn_mem_new(lab->n_clients + 1, sizeof *start);
    lab->clients = stn_mem_new(lab->n_clients, sizeof(struct stn_dataset *));
    enum stn_code code = STN_OK;
    if (order == NULL || start == NULL || lab->clients == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory for %zu clients", lab->n_clients);
        goto out;
    }
    stn_partition_list(owner, n, lab->n_clients, start, order);
    for (size_t k = 0; code == STN_OK && k < lab->n_clients; k++) {
        code = stn_dataset_subset(&lab->clients[k], lab->pooled, order + start[k], start[k + 1] - start[k], err);
    }
out:
    stn_mem_free(order);
    stn_mem_free(start);
    return code;
}

/* Without a test set of its own, a seeded tenth of every client's examples becomes it: test[i]. order and
 * start list examples by client. */
static void hold_out(const struct stn_lab *lab, const size_t *start, const size_t *order, bool *test)
{
    struct stn_rng rng;
    stn_rng_fork(&rng, lab->seed, "held out", 0);
    for (size_t k = 0; k < lab->n_clients; k++) {
        size_t n = start[k + 1] - start[k], n_test = 0;
        const size_t wanted = n < 2 ? 0 : (size_t)((double)n * STN_LAB_DATA_HELD_OUT + 0.5);
        for (size_t seen = 0; seen < n; seen++) {
            /* one of those that are left, each with the same chance (Knuth's selection sampling) */
            bool is_test = stn_rng_below(&rng, n - seen) < wanted - n_test;
            test[order[start[k] + seen]] = is_test;
            n_test += is_test;
        }
    }
}

static enum stn_code take_test_set(struct stn_lab *lab, size_t *owner, struct stn_err *err)
{
    const size_t n = lab->pooled->n_examples;
    bool *test = stn_mem_new(n, sizeof *test);
    size_t *indices = stn_mem_new(n, sizeof *indices), *start = stn_mem_new(lab->n_clients + 1, sizeof *start);
    struct stn_dataset *kept = NULL;
    enum stn_code code = STN_OK;
    if (test == NULL || indices == NULL || start == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory to hold out a test set");
        goto out;
    }
    stn_partition_list(owner, n, lab->n_clients, start, indices);
    hold_out(lab, start, indices, test);
    size_t n_test = 0, n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (test[i]) {
            indices[n_test++] = i;
        }
    }
    if (n_test == 0) {
        code = stn_err_set(err, STN_INVALID, "%zu examples of %zu clients are too few to hold out a tenth: give --eval", n,
                           lab->n_clients);
        goto out;
    }
    code = stn_dataset_subset(&lab->test, lab->pooled, indices, n_test, err);
    for (size_t i = 0; i < n; i++) {
        if (!test[i]) {
            indices[n_kept] = i;
            owner[n_kept++] = owner[i];
        }
    }
    if (code == STN_OK) {
        code = stn_dataset_subset(&kept, lab->pooled, indices, n_kept, err);
    }
    if (code == STN_OK) {
        stn_dataset_free(lab->pooled);
        lab->pooled = kept;
    }
out:
    stn_mem_free(test);
    stn_mem_free(indices);
    stn_mem_free(start);
    return code;
}

enum stn_code stn_lab_data_read(struct stn_lab *lab, const struct stn_lab_config *config, struct stn_err *err)
{
    const struct stn_dataset_config dataset = {
        .context = config->train.ctx, .loss = config->train.loss_all ? STN_DATASET_ALL : STN_DATASET_COMPLETION};
    struct stn_partition partition = config->partition;
    if (!config->has_partition) {
        partition = (struct stn_partition){.kind = config->data == NULL ? STN_PARTITION_BY : STN_PARTITION_IID, .field = "home"};
    }
    enum stn_code code = config->data == NULL ? read_homes(lab, config->n_clients, &dataset, err)
                                              : stn_dataset_open(&lab->pooled, config->data, lab->tokenizer, &dataset, err);
    if (code == STN_OK && config->eval != NULL) {
        stn_dataset_free(lab->test);
        lab->test = NULL;
        code = stn_dataset_open(&lab->test, config->eval, lab->tokenizer, &dataset, err);
    }
    if (code != STN_OK) {
        return code;
    }
    size_t *owner = stn_mem_new(lab->pooled->n_examples, sizeof *owner);
    if (owner == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to partition %zu examples", lab->pooled->n_examples);
    }
    lab->n_clients = config->n_clients;
    code = stn_partition_make(&partition, lab->pooled, lab->seed, &lab->n_clients, owner, err);
    if (code == STN_OK && lab->test == NULL) {
        code = take_test_set(lab, owner, err);
    }
    if (code == STN_OK) {
        code = cut(lab, owner, err);
    }
    stn_mem_free(owner);
    return code;
}

void stn_lab_data_free(struct stn_lab *lab)
{
    for (size_t i = 0; lab->clients != NULL && i < lab->n_clients; i++) {
        stn_dataset_free(lab->clients[i]);
    }
    stn_mem_free(lab->clients);
    stn_dataset_free(lab->pooled);
    stn_dataset_free(lab->test);
    stn_tokenizer_free(lab->tokenizer);
    stn_model_close(lab->model);
}
