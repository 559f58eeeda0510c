/* convert: a checkpoint folder as models are published (config.json, *.safetensors, tokenizer.json) to one GGUF file with
 * ternary weights. Families: Bitnet (1bitLLM), BitNet (2B-4T) and Llama with BitNet quantisation. Weights that are packed,
 * four in a byte, are unpacked; floats that are ternary stay what they are. Others become sign and mean magnitude as the
 * models were trained (BitNet b1.58, Ma et al. 2024) where the checkpoint's own code does that at each use, for a family that
 * always does (Bitnet) or a config.json whose quant_method is bitnet, or where it is asked for; else they are refused. One tensor
 * at a time is in memory. Thread: any. */
#ifndef STN_MODEL_CONVERT_H
#define STN_MODEL_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/model/gguf_write.h"
#include "compute/model/quant.h"

#define STN_CONVERT_CONFIG ((size_t)4 << 20)     /* most bytes of config.json and tokenizer_config.json */
#define STN_CONVERT_TOKENIZER ((size_t)128 << 20) /* and of tokenizer.json */
#define STN_CONVERT_FILES 256                    /* most files of tensors */

/* type is TQ1_0 or TQ2_0. ternarise: floats become ternary whatever config.json says. progress, if not NULL, is called with
 * tensors done and in all; false is STN_CANCELLED. No file is left behind when it fails. STN_UNSUPPORTED names what of a checkpoint this build does not know, or what is not ternary. */
enum stn_code stn_convert_folder(const char *folder, const char *path, enum stn_quant_type type, bool ternarise,
                                 bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                                 struct stn_err *err) STN_CHECKED;

/* The vocabulary alone, in convert_tokenizer.c: tokenizer.json (byte-level BPE, or SentencePiece as BPE with byte fallback)
 * and the ids that tokenizer_config.json and config.json name, for n_vocab rows of embeddings. */
enum stn_code stn_convert_tokenizer(struct stn_gguf_write *w, const char *folder, uint32_t n_vocab,
                                    struct stn_err *err) STN_CHECKED;

#endif
