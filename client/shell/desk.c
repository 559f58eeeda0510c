#include "client/shell/desk.h"

#include <string.h>
#include <unistd.h>

#include "base/map.h"

#define THREADS_MAX 256
#define PASS_ROWS 512

enum stn_code stn_desk_open(struct stn_desk *ret, const struct stn_desk_paths *paths, const struct stn_dataset_config *data,
                            const struct stn_id *device, uint64_t memory, unsigned n_threads, struct stn_err *err)
{
    const struct stn_model_reading reading = {.folder = paths->packed, .most = memory};
    struct stn_dataset *all = NULL;
    long n_processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct stn_desk desk = {.n_threads = n_threads > 0 ? n_threads : n_processors > 0 ? (unsigned)n_processors : 1};
    desk.n_threads = desk.n_threads < THREADS_MAX ? desk.n_threads : THREADS_MAX;
    enum stn_code code = stn_model_open_with(&desk.model, paths->base, &reading, err);
    code = code == STN_OK ? stn_tokenizer_new(&desk.tokenizer, stn_model_gguf(desk.model), err) : code;
    code = code == STN_OK ? stn_adapter_file_load(&desk.adapter, stn_model_arch(desk.model), paths->adapter, err) : code;
    code = code == STN_OK ? stn_dataset_open(&all, paths->data, desk.tokenizer, data, err) : code;
    if (code == STN_OK) {
        uint64_t seed = stn_map_hash(device->bytes, sizeof device->bytes);
        code = stn_dataset_split(&desk.kept, &desk.held, all, STN_DESK_HELD, seed, err);
        if (code != STN_OK) {
            (void)stn_err_prefix(err, "%s", paths->data);
        }
    }
    stn_dataset_free(all);
    if (code != STN_OK) {
        stn_desk_close(&desk);
        return code;
    }
    *ret = desk;
    return STN_OK;
}

void stn_desk_close(struct stn_desk *desk)
{
    stn_dataset_free(desk->kept);
    stn_dataset_free(desk->held);
    stn_adapter_free(desk->adapter);
    stn_tokenizer_free(desk->tokenizer);
    stn_model_close(desk->model);
    *desk = (struct stn_desk){0};
}

enum stn_code stn_desk_judge(const struct stn_desk *desk, const struct stn_adapter *adapter, stn_evaluate_at *at,
                             void *context, struct stn_evaluate_result *ret, struct stn_err *err)
{
    struct stn_network *network = NULL;
    size_t context_rows = desk->held->config.context;
    size_t rows = context_rows > PASS_ROWS ? context_rows : PASS_ROWS;
    const struct stn_network_config config = {.max_tokens = rows, .max_targets = rows, .context = context_rows,
                                              .act_int8 = true, .n_threads = desk->n_threads};
    enum stn_code code = stn_network_new(&network, desk->model, adapter, &config, err);
    code = code == STN_OK ? stn_evaluate_run(network, desk->held, rows, at, context, ret, err) : code;
    stn_network_free(network);
    if (code == STN_OK && ret->is_stopped) {
        code = stn_err_set(err, STN_CANCELLED, "judging was stopped");
    }
    return code;
}

enum stn_code stn_desk_base_of(const char *path, struct stn_digest *ret, struct stn_err *err)
{
    struct stn_gguf *gguf = NULL; /* its head alone is read */
    struct stn_gguf_str base = {0};
    char text[STN_DIGEST_TEXT] = "";
    enum stn_code code = stn_gguf_open(&gguf, path, err);
    if (code == STN_OK) {
        bool ok = stn_gguf_str(gguf, "sterna.base", &base, NULL) == STN_OK && base.size == STN_DIGEST_TEXT - 1;
        if (ok) {
            memcpy(text, base.p, base.size);
            ok = stn_digest_get_text(ret, text);
        }
        code = ok ? STN_OK : stn_err_set(err, STN_NOT_FOUND, "%s: it does not say which base model it is for", path);
    }
    stn_gguf_close(gguf);
    return code;
}
