/* enrol: the coordinator asks the directory, a process with a key of its own, over its socket. A thread waits for the
 * answer; a directory that is not there refuses nobody for good: the device asks again. Thread: the loop's. */
#ifndef STN_SERVER_SHELL_ENROL_H
#define STN_SERVER_SHELL_ENROL_H

#include "server/shell/service.h"

#define STN_ENROL_JOBS 32 /* questions that wait for the directory at once; one more device is told to come again */

/* Answers the hello: with a certificate, or a refusal. */
void stn_enrol_start(struct stn_service *service, struct stn_link_request *request, uint64_t enrolment,
                     const struct stn_id *device, const struct stn_digest *token);

#endif
