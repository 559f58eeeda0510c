/* cpu: the backend that is always there. Kernels run over a thread team, node after node. */
#ifndef STN_COMPUTE_CPU_CPU_H
#define STN_COMPUTE_CPU_CPU_H

#include "compute/backend.h"

extern const struct stn_backend_row stn_cpu_backend;

#endif
