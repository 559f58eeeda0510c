#include "client/shell/conditions_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "io/file.h"

#define TEXT 4096
#define TEMPERATURE_MOST 200 /* what reads hotter is a broken sensor */

/* ---- small files ---- */

/* The beginning of a file, without the blank at its end. /proc and /sys say nothing of sizes. */
static bool read_text(char text[static TEXT], const char *root, const char *folder, const char *name, const char *file)
{
    char path[STN_FILE_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s%s%s%s%s", root, folder, name[0] == '\0' ? "" : "/", name,
                     file[0] == '\0' ? "" : "/", file);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    if (f == NULL) {
        return false;
    }
    size_t size = fread(text, 1, TEXT - 1, f);
    (void)fclose(f);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' ')) {
        size--;
    }
    text[size] = '\0';
    return size > 0;
}

static bool read_number(double *ret, const char *root, const char *folder, const char *name, const char *file)
{
    char text[TEXT];
    return read_text(text, root, folder, name, file) && stn_str_f64(text, ret);
}

struct reading {
    struct stn_conditions_host *to;
    const char *root;
    uint64_t now_s;
    const char *folder;
};

static void each_entry(struct reading *reading, const char *folder,
                       enum stn_code (*each)(void *user, const char *name, struct stn_err *err))
{
    char path[STN_FILE_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s", reading->root, folder);
    reading->folder = folder;
    if (n > 0 && (size_t)n < sizeof path) {
        stn_err_ignore(stn_file_list(path, each, reading, NULL)); /* not there: nothing is known */
    }
}

/* ---- power ---- */

static enum stn_code each_supply(void *user, const char *name, struct stn_err *err)
{
    struct reading *reading = user;
    struct stn_conditions_host *to = reading->to;
    char type[TEXT], scope[TEXT];
    double number;
    (void)err;
    if (!read_text(type, reading->root, reading->folder, name, "type")) {
        return STN_OK;
    }
    bool is_of_device = read_text(scope, reading->root, reading->folder, name, "scope") && strcmp(scope, "Device") == 0;
    if (strcmp(type, "Battery") == 0 && !is_of_device) { /* a mouse has one, too */
        if (read_number(&number, reading->root, reading->folder, name, "capacity")) {
            to->battery = to->has_battery && to->battery < number ? to->battery : number;
            to->has_battery = true;
        }
        if (!to->has_power) { /* a battery and nothing that says that it is fed */
            to->has_power = true;
        }
    } else if (strcmp(type, "Mains") == 0 || strcmp(type, "USB") == 0 || strcmp(type, "Wireless") == 0) {
        if (read_number(&number, reading->root, reading->folder, name, "online")) {
            to->has_power = true;
            to->on_ac |= number > 0;
        }
    }
    return STN_OK;
}

/* ---- heat, load, line ---- */

static enum stn_code each_zone(void *user, const char *name, struct stn_err *err)
{
    struct reading *reading = user;
    struct stn_conditions_host *to = reading->to;
    double number;
    (void)err;
    if (stn_str_starts(name, "thermal_zone") && read_number(&number, reading->root, reading->folder, name, "temp")) {
        double celsius = number / 1000;
        if (celsius < TEMPERATURE_MOST) {
            to->temperature_c = to->has_temperature && to->temperature_c > celsius ? to->temperature_c : celsius;
            to->has_temperature = true;
        }
    }
    return STN_OK;
}

static void read_load(struct reading *reading)
{
    char text[TEXT];
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (read_text(text, reading->root, "/proc/loadavg", "", "")) {
        char *blank = strchr(text, ' ');
        double load;
        if (blank != NULL) {
            *blank = '\0';
        }
        if (stn_str_f64(text, &load)) {
            reading->to->has_load = true;
            reading->to->load = load / (n > 0 ? (double)n : 1);
        }
    }
}

/* Lines of /proc/net/route: interface, destination, ... The default route's destination is 0. */
static void read_line(struct reading *reading)
{
    static const char *const mobile[] = {"wwan", "wwp", "ppp", "rmnet"};
    char text[TEXT], *rest = NULL;
    if (!read_text(text, reading->root, "/proc/net/route", "", "")) {
        return;
    }
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char *tab = strchr(line, '\t');
        if (tab == NULL || !stn_str_starts(tab + 1, "00000000\t")) {
            continue;
        }
        for (size_t i = 0; i < sizeof mobile / sizeof *mobile; i++) {
            reading->to->is_metered |= stn_str_starts(line, mobile[i]);
        }
    }
}

/* ---- the user ---- */

static enum stn_code each_terminal(void *user, const char *name, struct stn_err *err)
{
    struct reading *reading = user;
    struct stn_conditions_host *to = reading->to;
    char path[STN_FILE_PATH_MAX];
    struct stat st;
    (void)err;
    bool is_pts = stn_str_ends(reading->folder, "/pts") && strcmp(name, "ptmx") != 0;
    bool is_tty = stn_str_starts(name, "tty") && name[3] >= '1' && name[3] <= '9';
    int n = snprintf(path, sizeof path, "%s%s/%s", reading->root, reading->folder, name);
    if ((!is_pts && !is_tty) || n < 0 || (size_t)n >= sizeof path || stat(path, &st) != 0 || st.st_atime <= 0 ||
        (is_tty && st.st_uid == 0)) { /* nobody has logged in on it */
        return STN_OK;
    }
    uint64_t at_s = (uint64_t)st.st_atime;
    uint64_t idle_s = at_s < reading->now_s ? reading->now_s - at_s : 0;
    to->idle_s = idle_s < to->idle_s ? idle_s : to->idle_s;
    return STN_OK;
}

/* ---- the verdict ---- */

static bool is_hour(const struct stn_owner_conditions *owner, uint64_t now_s)
{
    time_t t = (time_t)now_s;
    struct tm local;
    if (localtime_r(&t, &local) == NULL) {
        return true;
    }
    uint32_t hour = (uint32_t)local.tm_hour;
    bool is_over_midnight = owner->from_hour > owner->to_hour;
    return is_over_midnight ? hour >= owner->from_hour || hour < owner->to_hour
                            : hour >= owner->from_hour && hour < owner->to_hour;
}

static void refuse(struct stn_conditions_host *ret, bool does_not_hold, const char *why)
{
    if (does_not_hold && ret->may_work) {
        ret->may_work = false;
        (void)stn_str_copy(ret->why, sizeof ret->why, why);
    }
}

void stn_conditions_host_read(struct stn_conditions_host *ret, const struct stn_owner_conditions *owner, const char *root,
                              uint64_t now_s)
{
    char why[96];
    *ret = (struct stn_conditions_host){.may_work = true, .idle_s = UINT64_MAX};
    struct reading reading = {.to = ret, .root = root, .now_s = now_s};
    each_entry(&reading, "/sys/class/power_supply", each_supply);
    each_entry(&reading, "/sys/class/thermal", each_zone);
    read_load(&reading);
    read_line(&reading);
    if (owner->idle_s > 0) {
        each_entry(&reading, "/dev/pts", each_terminal);
        each_entry(&reading, "/dev", each_terminal);
        ret->has_idle = true;
    }
    refuse(ret, owner->require_ac && ret->has_power && !ret->on_ac, "not on mains");
    (void)snprintf(why, sizeof why, "battery at %.0f %%, wanted %.0f", ret->battery, owner->min_battery);
    refuse(ret, ret->has_battery && !ret->on_ac && ret->battery < owner->min_battery, why);
    (void)snprintf(why, sizeof why, "%.0f degrees, wanted at most %.0f", ret->temperature_c, owner->max_temp_c);
    refuse(ret, owner->max_temp_c > 0 && ret->has_temperature && ret->temperature_c > owner->max_temp_c, why);
    (void)snprintf(why, sizeof why, "load of %.2f a processor, wanted at most %.2f", ret->load, owner->max_load);
    refuse(ret, owner->max_load > 0 && ret->has_load && ret->load > owner->max_load, why);
    refuse(ret, !owner->allow_metered && ret->is_metered, "on a metered line");
    refuse(ret, ret->has_idle && ret->idle_s < owner->idle_s, "somebody is using the machine");
    refuse(ret, owner->has_hours && !is_hour(owner, now_s), "outside the hours");
}
