/* The door of a run's checkpoint: the input is what stands before its vectors; zeroes to the size of a whole one and the digest are
 * made here, so that more than a digest is tried. What is taken is saved again and taken again, and is then the same. */
#include "tests/lib/fuzz.h"

#include <stdio.h>
#include <string.h>

#include "compute/model/model.h"
#include "compute/train/checkpoint.h"
#include "crypto/digest.h"
#include "io/file.h"
#include "tests/lib/scratch.h"

#define IDENTITY "model=fuzz\nbackend=cpu\n"

static struct stn_trainer *trainer;
static size_t whole; /* bytes of a checkpoint without its digest */

/* A run of one product's factors, of rank 1, that has not begun. */
static void begin(void)
{
    static struct stn_model *model;
    static struct stn_adapter *adapter;
    static struct stn_dataset *dataset;
    static const int32_t tokens[] = {300, 301, 5};
    static const uint8_t marks[] = {0, STN_DATASET_TARGET, STN_DATASET_TARGET};
    const struct stn_dataset_config config = {.context = 8};
    struct stn_trainer_config how = stn_trainer_defaults();
    struct stn_buf file = {0};
    how.context = how.batch_tokens = how.pass_tokens = 8;
    how.n_threads = 1;
    stn_scratch_require(stn_model_open(&model, STN_FUZZ_CORPUS "/../../../deploy/models/home-base.gguf", NULL) == STN_OK);
    stn_scratch_require(stn_adapter_new(&adapter, stn_model_arch(model), 1, 2, 1u, NULL) == STN_OK);
    stn_adapter_init(adapter, 1);
    stn_scratch_require(stn_dataset_new(&dataset, &config, NULL) == STN_OK);
    for (int i = 0; i < 6; i++) {
        stn_scratch_require(stn_dataset_add_tokens(dataset, tokens, marks, 3, NULL) == STN_OK);
    }
    stn_scratch_require(stn_trainer_new(&trainer, model, adapter, &how, NULL) == STN_OK);
    const struct stn_trainer_run run = {.dataset = dataset, .n_epochs = 3, .seed = 1};
    stn_scratch_require(stn_trainer_start(trainer, &run, NULL) == STN_OK);
    stn_scratch_require(stn_checkpoint_save(stn_scratch_folder(), IDENTITY, trainer, NULL, NULL) == STN_OK);
    stn_scratch_require(stn_file_read(stn_scratch_path(STN_CHECKPOINT_NAME), 1 << 24, &file, NULL) == STN_OK);
    whole = file.size - STN_DIGEST_SIZE;
    stn_buf_fini(&file);
}

static struct stn_buf saved(void)
{
    struct stn_buf buf = {0};
    stn_scratch_require(stn_checkpoint_save(stn_scratch_folder(), IDENTITY, trainer, NULL, NULL) == STN_OK);
    stn_scratch_require(stn_file_read(stn_scratch_path(STN_CHECKPOINT_NAME), 1 << 24, &buf, NULL) == STN_OK);
    return buf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char backend[STN_CHECKPOINT_BACKEND];
    struct stn_err err;
    struct stn_buf file = {0};
    if (trainer == NULL) {
        begin();
    }
    (void)stn_buf_add(&file, data, size);
    if (size < whole) {
        memset(stn_buf_extend(&file, whole - size), 0, whole - size);
    }
    struct stn_digest digest = stn_digest_of(file.data, file.size);
    (void)stn_buf_add(&file, digest.bytes, sizeof digest.bytes);
    stn_scratch_put(STN_CHECKPOINT_NAME, file.data, file.size);
    stn_buf_fini(&file);
    if (stn_checkpoint_backend(stn_scratch_folder(), backend)) {
        stn_scratch_require(strnlen(backend, sizeof backend) < sizeof backend);
    }
    if (stn_checkpoint_load(stn_scratch_folder(), IDENTITY, trainer, NULL, &err) == STN_OK) {
        struct stn_buf one = saved();
        stn_scratch_require(stn_checkpoint_load(stn_scratch_folder(), IDENTITY, trainer, NULL, &err) == STN_OK);
        struct stn_buf two = saved();
        stn_scratch_require(one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
        stn_buf_fini(&one);
        stn_buf_fini(&two);
    }
    return 0;
}
