/* task_file: a task as an operator writes it (INI), as the settings that the core wants. What the file does not say
 * has the defaults below. Sections and keys:
 *
 *   [task]   name (required)  rounds  seed
 *   [model]  base (required: a path or a digest)  rank  halvings  alpha  targets (all, or q,k,v,o,gate,up,down)
 *   [train]  local_steps  local_epochs  batch_examples  batch_tokens  ctx  lr  schedule  warmup  clip  weight_decay
 *            loss (completion, all)  fedprox
 *   [cohort] target  n_min  over_selection  join_window_s  report_deadline_s  upload_s  staleness
 *            discount  secure, and of a secure round: gamma  delta  sigma  eta  share_s  ack_s  unmask_s
 *   [merge]  lora (both, ffa, alternate)  outer (avg, nesterov, momentum, adam, yogi)  rate  momentum  beta1  beta2  eps
 *            clip_norm  clip_quantile  weight_max  bits
 *
 * Thread: any. */
#ifndef STN_SERVER_SHELL_TASK_FILE_H
#define STN_SERVER_SHELL_TASK_FILE_H

#include "base/err.h"
#include "server/core/record.h"

struct stn_task_file {
    struct stn_task_spec spec; /* base, n_values and digest are still zero: they need the model */
    char base[1024];           /* path or digest of the base model */
};

/* The defaults: 20 homes, 24 rounds of 5 local steps of B alone, outer Nesterov 0.7 / 0.9. */
void stn_task_file_defaults(struct stn_task_file *file);
/* Which factors train, with the rate and the outer optimiser that such a task has unless its file says others. */
void stn_task_file_set_lora(struct stn_task_spec *spec, enum stn_lora lora);

/* STN_INVALID names the file, the line and what was expected. */
enum stn_code stn_task_file_read(struct stn_task_file *file, const char *path, struct stn_err *err) STN_CHECKED;
enum stn_code stn_task_file_parse(struct stn_task_file *file, const char *name, const char *text, size_t size,
                                  struct stn_err *err) STN_CHECKED;

/* "q,k,down" or "all" as bits in the order q k v o gate up down. False when a word is none of these. */
bool stn_task_file_targets(const char *text, uint32_t *ret);

/* The digest of every setting, for cfg: two tasks that differ anywhere differ here. name and clip state included. */
struct stn_digest stn_task_file_digest(const struct stn_task_spec *spec);

#endif
