/* directory: who belongs to the fleet. A process with a key of its own mints one-time tokens and signs the identity that
 * a token is bound to; the coordinator asks it over a local socket and never sees the key. Invites are asked for over
 * another socket, which is not the coordinator's: who mints tokens makes devices. A token is spent when it is
 * bound; the same identity may repeat it and gets the same certificate, any other is refused. Every enrolment is a line
 * of enrolments.jsonl before anybody hears of it.
 *
 * A line asks, a line answers (io/local.h), both JSON objects:
 *   {"command":"key"}                                    {"ok":true,"key":HEX}
 *   {"command":"invite","count":1}                       {"ok":true,"urls":[...],"expires_s":N}      operators' door only
 *   {"command":"enrol","token":HEX of H(token),"device":HEX}  {"ok":true,"psk":HEX,"certificate":HEX}  coordinator's only
 *   {"command":"status"}                                 {"ok":true,"tokens":N,"devices":N}
 * or {"error":{"code":"denied","text":"..."}}. Thread: one. */
#ifndef STN_SERVER_SHELL_DIRECTORY_H
#define STN_SERVER_SHELL_DIRECTORY_H

#include "base/buf.h"
#include "base/err.h"
#include "server/shell/settings.h"

#define STN_DIRECTORY_INVITES 10000 /* tokens minted at once */

struct stn_directory;

/* Opens the folder of settings, which holds keys/directory.key, directory.db and enrolments.jsonl. STN_EXISTS when another
 * process has it. The caller closes *ret. */
enum stn_code stn_directory_open(struct stn_directory **ret, const struct stn_settings_directory *settings,
                                 struct stn_err *err) STN_CHECKED;
/* NULL is fine. */
void stn_directory_close(struct stn_directory *directory);

enum stn_directory_door { STN_DIRECTORY_COORDINATOR, STN_DIRECTORY_OPERATOR, STN_DIRECTORY_DOORS };

/* One line that came through a door to its answer, which is appended to reply. now_s: seconds since 1970. */
void stn_directory_answer(struct stn_directory *directory, enum stn_directory_door door, const char *text, size_t size,
                          uint64_t now_s, struct stn_buf *reply);

/* The process: serves both sockets of a config until SIGTERM or SIGINT; SIGHUP changes nothing. */
enum stn_code stn_directory_run(const char *config, struct stn_err *err) STN_CHECKED;

#endif
