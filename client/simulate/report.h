/* report: a simulation as one HTML page that needs nothing else: curves of loss and accuracy by round, the bars of the
 * comparison, bytes, and the table. The charts are drawn by Chart.js (Debian's libjs-chart.js), which the build put
 * into this program; without scripts the tables still say everything. Thread: any. */
#ifndef STN_CLIENT_SIMULATE_REPORT_H
#define STN_CLIENT_SIMULATE_REPORT_H

#include "base/err.h"
#include "client/simulate/result.h"

enum stn_code stn_report_write(const struct stn_result *result, const char *path, struct stn_err *err) STN_CHECKED;

#endif
