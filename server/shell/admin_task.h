/* admin_task: the operator's commands that are about tasks and their adapters (admin.h). Thread: the loop's. */
#ifndef STN_SERVER_SHELL_ADMIN_TASK_H
#define STN_SERVER_SHELL_ADMIN_TASK_H

#include "server/shell/admin.h"

/* Imports the base model and makes the first adapter on a worker, then asks the core. */
enum stn_code stn_admin_task_create(struct stn_admin_call *call, struct stn_err *err);
enum stn_code stn_admin_task_list(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err);
enum stn_code stn_admin_task_show(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err);
enum stn_code stn_admin_task_pause(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err);
enum stn_code stn_admin_task_resume(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err);
enum stn_code stn_admin_task_adapters(struct stn_service *service, const json_t *request, json_t *reply,
                                      struct stn_err *err);

#endif
