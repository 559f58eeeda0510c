/* cli: the subcommands of `sterna`. One file a subcommand, cmd_NAME.c, which defines one `const struct stn_command
 * stn_cmd_NAME` (declared here) for the table in sterna.c. */
#ifndef STN_CLIENT_CLI_CLI_H
#define STN_CLIENT_CLI_CLI_H

#include "base/command.h"

extern const struct stn_command stn_cmd_train, stn_cmd_eval, stn_cmd_generate;
extern const struct stn_command stn_cmd_simulate;
extern const struct stn_command stn_cmd_data_check, stn_cmd_data_demo;
extern const struct stn_command stn_cmd_check_gradients, stn_cmd_logits;
extern const struct stn_command stn_cmd_tokenize, stn_cmd_model_info, stn_cmd_model_check, stn_cmd_model_random;
extern const struct stn_command stn_cmd_model_convert;
extern const struct stn_command stn_cmd_adapter_info, stn_cmd_adapter_diff;
extern const struct stn_command stn_cmd_adapter_export, stn_cmd_adapter_import, stn_cmd_adapter_average;
extern const struct stn_command stn_cmd_task_create, stn_cmd_task_list, stn_cmd_task_show, stn_cmd_task_pause,
    stn_cmd_task_resume;
extern const struct stn_command stn_cmd_status, stn_cmd_privacy, stn_cmd_invite, stn_cmd_device_list,
    stn_cmd_device_release, stn_cmd_adapter_list;
extern const struct stn_command stn_cmd_join, stn_cmd_log_evidence;
extern const struct stn_command stn_cmd_bench_train, stn_cmd_bench_infer, stn_cmd_bench_devices, stn_cmd_bench_secagg,
    stn_cmd_bench_coordinator, stn_cmd_bench_roofline, stn_cmd_bench_wire;

#endif
