/* builtin: where the demo model is: STERNA_MODELS, then beside the program (../share/sterna/models when it is
 * installed), then deploy/models above the program's folder (in a build tree). */
#ifndef STN_CLIENT_CLI_BUILTIN_H
#define STN_CLIENT_CLI_BUILTIN_H

#include <stddef.h>

#include "base/err.h"

#define STN_BUILTIN_MODEL "home-base.gguf"

/* STN_NOT_FOUND says where it was looked for. */
enum stn_code stn_builtin_model(char *ret, size_t room, struct stn_err *err) STN_CHECKED;

#endif
