/* conditions_host: whether the owner's conditions hold on a Linux machine: power and battery from
 * /sys/class/power_supply, heat from /sys/class/thermal, load from /proc/loadavg, a metered line from the name of the
 * interface of the default route (wwan, ppp, rmnet: mobile networks), the user from the terminals. What cannot be read
 * is not held against the device: a desktop has no battery. Thread: any. */
#ifndef STN_CLIENT_SHELL_CONDITIONS_HOST_H
#define STN_CLIENT_SHELL_CONDITIONS_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "client/shell/owner.h"

struct stn_conditions_host {
    bool may_work;
    char why[96]; /* "" when it may: the first condition that does not hold, for people */
    bool has_power, on_ac;
    bool has_battery;
    double battery; /* percent */
    bool has_temperature;
    double temperature_c; /* of the hottest zone */
    bool has_load;
    double load; /* of the last minute, for each processor */
    bool is_metered;
    bool has_idle;
    uint64_t idle_s; /* UINT64_MAX: nobody is there */
};

/* root stands before /sys, /proc and /dev: "" on a real machine. now_s: seconds since 1970. */
void stn_conditions_host_read(struct stn_conditions_host *ret, const struct stn_owner_conditions *owner, const char *root,
                              uint64_t now_s);

#endif
