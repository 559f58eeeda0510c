#include "compute/model/peft_pattern.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define NAME 96  /* of a module, with its zero */
#define SAME 1e-6 /* factors that differ from 1 by less are 1: a float's scale, or the digits of a config */

json_t *stn_peft_pattern_new(const struct stn_adapter *adapter, const struct stn_arch *arch, double alpha)
{
    json_t *pattern = json_object();
    for (size_t i = 0; arch != NULL && pattern != NULL && i < adapter->n_tensors; i += 2) {
        const struct stn_adapter_tensor *t = &adapter->tensors[i];
        char name[NAME];
        double scale = (double)stn_arch_scale(arch, t->layer, t->target);
        (void)snprintf(name, sizeof name, "layers.%u.%s", t->layer, stn_arch_module_name(t->target));
        if (arch->layers[t->layer].linears[t->target].scale != NULL &&
            json_object_set_new(pattern, name, json_real(alpha * scale)) != 0) {
            json_decref(pattern);
            return NULL;
        }
    }
    return pattern;
}

enum stn_code stn_peft_pattern_check(const json_t *pattern, struct stn_err *err)
{
    const char *key;
    json_t *value;
    if (pattern == NULL || json_is_null(pattern)) {
        return STN_OK;
    }
    if (!json_is_object(pattern)) {
        return stn_err_set(err, STN_UNSUPPORTED, "alpha_pattern is no object");
    }
    json_object_foreach((json_t *)(uintptr_t)pattern, key, value)
    {
        double alpha = json_number_value(value);
        if (key[0] == '\0' || strpbrk(key, "^$*+?()[]{}|\\") != NULL || !(alpha > 0 && alpha < 1e30)) {
            return stn_err_set(err, STN_UNSUPPORTED, "alpha_pattern has \"%.60s\": expected the end of a module's name, and a "
                                                     "number above 0", key);
        }
    }
    return STN_OK;
}

double stn_peft_pattern_factor(const json_t *pattern, double alpha, const struct stn_arch *arch, uint32_t layer,
                               enum stn_arch_target target)
{
    char name[NAME];
    const char *key;
    json_t *value;
    double own = alpha, scale = 1;
    (void)snprintf(name, sizeof name, ".model.layers.%u.%s", layer, stn_arch_module_name(target));
    json_object_foreach((json_t *)(uintptr_t)pattern, key, value)
    {
        char end[NAME];
        int n = snprintf(end, sizeof end, ".%s", key);
        if (n > 0 && (size_t)n < sizeof end && stn_str_ends(name, end)) { /* the first that fits, as PEFT does */
            own = json_number_value(value);
            break;
        }
    }
    if (arch != NULL && layer < arch->n_layers) {
        scale = (double)stn_arch_scale(arch, layer, target);
    }
    double factor = own / alpha / scale;
    return fabs(factor - 1) < SAME ? 1 : factor;
}
