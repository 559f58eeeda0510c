#include "client/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/entropy.h"

static bool has_entropy(void)
{
    struct stn_err err = {0};
    if (stn_entropy_start(&err) != STN_OK) {
        (void)fprintf(stderr, "error: %s\n", err.text);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    /* one row a subcommand, in the order in which --help lists them: stn_cmd_NAME, */
    const struct stn_command commands[] = {
        STN_COMMAND_GROUP("data", "Datasets: JSONL files of examples."),
        STN_COMMAND_GROUP("model", "Base models: GGUF files."),
        STN_COMMAND_GROUP("adapter", "LoRA adapters: files, and the versions that a fleet has made."),
        STN_COMMAND_GROUP("check", "What this machine computes, to compare with others."),
        STN_COMMAND_GROUP("task", "What a fleet trains."),
        STN_COMMAND_GROUP("device", "Who is in a fleet."),
        STN_COMMAND_GROUP("log", "What a device has kept."),
        STN_COMMAND_GROUP("bench", "Measures this machine."),
        STN_COMMAND_HEADING("On one machine"),
        stn_cmd_simulate,
        stn_cmd_train,
        stn_cmd_eval,
        stn_cmd_generate,
        stn_cmd_data_check,
        stn_cmd_data_demo,
        stn_cmd_model_info,
        stn_cmd_model_check,
        stn_cmd_model_convert,
        stn_cmd_model_random,
        stn_cmd_adapter_info,
        stn_cmd_adapter_diff,
        stn_cmd_adapter_export,
        stn_cmd_adapter_import,
        stn_cmd_adapter_average,
        stn_cmd_tokenize,
        stn_cmd_logits,
        stn_cmd_check_gradients,
        STN_COMMAND_HEADING("Of a fleet's operator"),
        stn_cmd_status,
        stn_cmd_privacy,
        stn_cmd_task_create,
        stn_cmd_task_list,
        stn_cmd_task_show,
        stn_cmd_task_pause,
        stn_cmd_task_resume,
        stn_cmd_invite,
        stn_cmd_device_list,
        stn_cmd_device_release,
        stn_cmd_adapter_list,
        STN_COMMAND_HEADING("Of a device's owner"),
        stn_cmd_join,
        stn_cmd_log_evidence,
        STN_COMMAND_HEADING("Measuring"),
        stn_cmd_bench_train,
        stn_cmd_bench_infer,
        stn_cmd_bench_devices,
        stn_cmd_bench_roofline,
        stn_cmd_bench_secagg,
        stn_cmd_bench_coordinator,
        stn_cmd_bench_wire,
        {0},
    };
    if (!has_entropy()) {
        return EXIT_FAILURE;
    }
    return stn_command_main("sterna", "Fine-tune LoRA adapters of ternary language models, alone or together.",
                            commands, argc, argv);
}
