/* admin_privacy: the operator's command about what this coordinator could learn (docs/privacy.md): for each task what a
 * device is promised, and whether the key that enrols devices is out of the coordinator's reach. Thread: the loop's. */
#ifndef STN_SERVER_SHELL_ADMIN_PRIVACY_H
#define STN_SERVER_SHELL_ADMIN_PRIVACY_H

#include "server/shell/admin.h"

enum stn_code stn_admin_privacy(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err);

#endif
