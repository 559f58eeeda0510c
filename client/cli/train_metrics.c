#include "client/cli/train_metrics.h"

#include <errno.h>
#include <unistd.h>

#include "client/cli/session.h"

enum stn_code stn_train_metrics_open(struct stn_train_metrics *metrics, uint64_t n_kept, struct stn_err *err)
{
    const char *path = metrics->path;
    uint64_t n_lines = 0;
    if (path[0] == '\0') {
        return STN_OK;
    }
    metrics->file = n_kept > 0 ? fopen(path, "r+e") : NULL;
    if (metrics->file == NULL) {
        metrics->file = fopen(path, "we");
    }
    if (metrics->file == NULL) {
        return stn_err_errno(err, errno, "%s", path);
    }
    for (int c; n_lines < n_kept && (c = getc(metrics->file)) != EOF;) {
        n_lines += c == '\n';
    }
    off_t at = ftello(metrics->file);
    bool ok = at >= 0 && ftruncate(fileno(metrics->file), at) == 0 && fseeko(metrics->file, at, SEEK_SET) == 0;
    return ok ? STN_OK : stn_err_errno(err, errno, "%s", path);
}

void stn_train_metrics_close(struct stn_train_metrics *metrics)
{
    if (metrics->file != NULL) {
        (void)fclose(metrics->file);
        metrics->file = NULL;
    }
}

static enum stn_code written(const struct stn_train_metrics *metrics, int n, struct stn_err *err)
{
    return n > 0 && fflush(metrics->file) == 0 ? STN_OK : stn_err_errno(err, errno, "%s", metrics->path);
}

enum stn_code stn_train_metrics_step(struct stn_train_metrics *metrics, const struct stn_trainer_step *step, double took_s,
                                     struct stn_err *err)
{
    if (metrics->file == NULL) {
        return STN_OK;
    }
    int n = fprintf(metrics->file,
                    "{\"step\": %llu, \"epoch\": %llu, \"loss\": %.9g, \"norm\": %.9g, \"lr\": %.9g, \"examples\": %llu,"
                    " \"tokens\": %llu, \"targets\": %llu, \"wall_s\": %.4f, \"rss_bytes\": %llu}\n",
                    (unsigned long long)step->step, (unsigned long long)step->epoch, step->loss, step->norm, step->lr,
                    (unsigned long long)step->n_examples, (unsigned long long)step->n_rows,
                    (unsigned long long)step->n_targets, took_s, (unsigned long long)stn_session_rss());
    return written(metrics, n, err);
}

enum stn_code stn_train_metrics_look(struct stn_train_metrics *metrics, const struct stn_watch_state *state, double took_s,
                                     struct stn_err *err)
{
    if (metrics->file == NULL) {
        return STN_OK;
    }
    int n = fprintf(metrics->file,
                    "{\"step\": %llu, \"validation_loss\": %.9g, \"validation_accuracy\": %.9g, \"best\": %s, \"wall_s\": %.4f}\n",
                    (unsigned long long)state->last_step, state->last_loss, state->last_accuracy,
                    state->n_worse == 0 ? "true" : "false", took_s);
    return written(metrics, n, err);
}
