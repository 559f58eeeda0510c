/* enrol: the coordinator asks the directory, a process with a key of its own, over its socket. A thread waits for the
 * answer; a directory that is not there refuses nobody for good: the device asks again. Thread: the loop's. */
#ifndef STN_SERVER_SHELL_ENROL_H
#define STN_SERVER_SHELL_ENROL_H

#include "server/shell/service.h"

/* Answers the hello: with a certificate, or a refusal. */
void stn_enrol_start(struct stn_service *service, struct stn_link_request *request, uint64_t enrolment,
                     const struct stn_id *device, const struct stn_digest *token);

/* Asks the directory any line; told is called later, on the loop, and also when the service stops. reply is for the call, and
 * ends with a zero. */
typedef void stn_enrol_told(void *user, enum stn_code code, const char *reply, size_t size, const struct stn_err *err);
enum stn_code stn_enrol_ask(struct stn_service *service, const char *text, stn_enrol_told *told, void *user,
                            struct stn_err *err) STN_CHECKED;

#endif
