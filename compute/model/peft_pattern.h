/* peft_pattern: the products of a PEFT adapter that have an alpha of their own ("alpha_pattern" of its config). A model may
 * keep a scale s beside a weight, and here y = s (W x + alpha / r B A x); its checkpoint has W' = s W, and PEFT computes
 * W' x + alpha' / r B A x there: alpha' = s alpha, and B stays what it is. Thread: any. */
#ifndef STN_MODEL_PEFT_PATTERN_H
#define STN_MODEL_PEFT_PATTERN_H

#include <jansson.h>

#include "base/err.h"
#include "compute/model/adapter.h"

/* Alphas of the products whose weights have scales, by "layers.N.MODULE"; an empty object where there are none, or arch is
 * NULL. NULL without memory. */
json_t *stn_peft_pattern_new(const struct stn_adapter *adapter, const struct stn_arch *arch, double alpha);

/* STN_UNSUPPORTED unless it is absent, or an object of numbers above 0 by the ends of modules' names. */
enum stn_code stn_peft_pattern_check(const json_t *pattern, struct stn_err *err) STN_CHECKED;

/* What a product's B is to be multiplied by so that it means here what it means there; 1 exactly where new made the pattern
 * from the same model. alpha is the one of the products that are not in the pattern; arch may be NULL: no scales. */
double stn_peft_pattern_factor(const json_t *pattern, double alpha, const struct stn_arch *arch, uint32_t layer,
                               enum stn_arch_target target);

#endif
