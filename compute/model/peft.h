/* peft: adapters as folders of the PEFT library: adapter_config.json and adapter_model.safetensors, with the names of the
 * model's checkpoint (base_model.model.model.layers.N.self_attn.q_proj.lora_A.weight, ...). What is exported and imported
 * again is the same adapter, bit for bit, with its metadata.
 *
 * A checkpoint keeps the rows of q and k in halves, (head, half, i); a GGUF of a family with interleaved RoPE keeps them in
 * pairs, (head, i, half), so that its rotation turns neighbours. lora_B has the rows of its weight, and its q and k are put
 * into the other order on the way: W + alpha / r B A holds on both sides, in each side's own order of rows. Where a model keeps
 * a scale beside a weight, the checkpoint's weight has it in itself, and the product an alpha of its own (peft_pattern.h).
 * Thread: one at a time for each adapter. */
#ifndef STN_MODEL_PEFT_H
#define STN_MODEL_PEFT_H

#include "base/err.h"
#include "compute/model/adapter.h"

#define STN_PEFT_CONFIG "adapter_config.json"
#define STN_PEFT_WEIGHTS "adapter_model.safetensors"
#define STN_PEFT_CONFIG_SIZE ((size_t)1 << 20) /* most bytes of a config */

/* Makes the folder. arch may be NULL where the family's rows need no other order and the model has no scales: STN_INVALID else. */
enum stn_code stn_peft_export(const struct stn_adapter *adapter, const struct stn_arch *arch, const char *folder,
                              struct stn_err *err) STN_CHECKED;

/* The caller frees *ret. arch may be NULL for what export wrote: STN_INVALID else. STN_UNSUPPORTED names what of a config
 * this build cannot do: bias, DoRA, ranks by layer, modules that are not a layer's seven. */
enum stn_code stn_peft_import(struct stn_adapter **ret, const struct stn_arch *arch, const char *folder,
                              struct stn_err *err) STN_CHECKED;

#endif
