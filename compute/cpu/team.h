/* team: threads that share one piece of work at a time. The caller is one of them; the others wait in between: they look for
 * some microseconds, for waking takes as long, and then sleep. Work is cut in units that threads take in runs without a lock,
 * so that one that is kept from running delays the others by its run at most, and runs become shorter towards the end. With
 * fewer processors than threads nobody looks. A team of one has no thread and no lock. Thread: one caller at a time. */
#ifndef STN_COMPUTE_CPU_TEAM_H
#define STN_COMPUTE_CPU_TEAM_H

#include <stddef.h>

#include "base/err.h"

#define STN_TEAM_MAX 256

struct stn_team;

/* STN_INVALID for no thread or more than STN_TEAM_MAX. */
enum stn_code stn_team_new(struct stn_team **ret, unsigned n_threads, struct stn_err *err) STN_CHECKED;
void stn_team_free(struct stn_team *team);
unsigned stn_team_size(const struct stn_team *team);

/* Calls work for runs that cover [0, n_units) once, on any member, and returns when all are done. */
typedef void stn_team_work(void *user, unsigned member, size_t first, size_t count);
void stn_team_run(struct stn_team *team, stn_team_work *work, void *user, size_t n_units);

#endif
