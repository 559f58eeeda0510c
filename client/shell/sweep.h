/* sweep: what lies in the agent's folder and is of no use any more. What cannot be removed is left for the next sweep.
 * Thread: the loop's. */
#ifndef STN_CLIENT_SHELL_SWEEP_H
#define STN_CLIENT_SHELL_SWEEP_H

#include "client/shell/device.h"

/* Before START, of the record that is on disk: files that a killed process has left half written, deltas but the lease's, and,
 * where there is a lease, what has begun to arrive of other blobs than it needs. */
void stn_sweep_start(const struct stn_device *device, const struct stn_agent_record *record);

/* Everything under work/ but the delta of a lease; 0: everything. */
void stn_sweep_work(const struct stn_device *device, uint64_t lease);

/* An adapter, whole or not, unless the lease in hand is from it, it is installed or just arrives. */
void stn_sweep_adapter(const struct stn_device *device, const struct stn_digest *adapter);

#endif
