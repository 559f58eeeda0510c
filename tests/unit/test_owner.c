#include "tests/lib/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/shell/conditions_host.h"
#include "client/shell/owner.h"

#define KEY "28df4ae7250a51301efaffe297bde2448d3f117d51c36e0c1167eb4afb6d1bc3"
#define SERVER "[server]\nurl = tcp://127.0.0.1:7740\nkey = " KEY "\ndirectory = " KEY "\n"

static char folder[64];
static struct stn_owner owner;
static struct stn_err err;

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/stn-owner-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}

static void put(const char *name, const char *text)
{
    char path[STN_FILE_PATH_MAX], parent[STN_FILE_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = '\0';
    ck_assert_int_eq(stn_file_make_folder(parent, 0700, &err), STN_OK);
    ck_assert_int_eq(stn_file_replace(path, text, strlen(text), 0600, &err), STN_OK);
}

static enum stn_code read_conf(const char *text)
{
    char path[STN_FILE_PATH_MAX];
    put("agent.conf", text);
    (void)snprintf(path, sizeof path, "%s/agent.conf", folder);
    memset(&owner, 0, sizeof owner);
    return stn_owner_read(&owner, path, &err);
}

static void refuses(const char *text, const char *piece)
{
    ck_assert_int_eq(read_conf(text), STN_INVALID);
    ck_assert_msg(strstr(err.text, piece) != NULL, "\"%s\" does not say \"%s\"", err.text, piece);
}

START_TEST(what_the_owner_says_is_read_and_what_not_has_its_default)
{
    char expected[128];
    ck_assert_int_eq(read_conf(SERVER "[agent]\ndir = state\nn_min = 5\nallow_plain = yes\nmemory = 1.5G\nupload_kbps = 2000\n"
                                      "[data]\ndata.home = h.jsonl\nnotes = /n.jsonl\n"
                                      "[conditions]\nrequire_ac = yes\nmax_temp_c = 70\nhours = 22-6\n"),
                     STN_OK);
    (void)snprintf(expected, sizeof expected, "%s/state", folder);
    ck_assert_str_eq(owner.folder, expected);
    ck_assert_uint_eq(owner.n_min, 5);
    ck_assert(owner.allow_plain);
    ck_assert_uint_eq(owner.memory, 3ull << 29);
    (void)snprintf(expected, sizeof expected, "%s/h.jsonl", folder);
    ck_assert_str_eq(stn_owner_data(&owner, "home"), expected);
    ck_assert_str_eq(stn_owner_data(&owner, "notes"), "/n.jsonl");
    ck_assert_ptr_null(stn_owner_data(&owner, "other"));
    ck_assert(owner.conditions.require_ac && owner.conditions.has_hours && owner.conditions.allow_metered);
    ck_assert_uint_eq(owner.conditions.from_hour, 22);
    ck_assert_int_eq(read_conf(SERVER), STN_OK);
    ck_assert_uint_eq(owner.n_min, 16);
    ck_assert(!owner.allow_plain);
    ck_assert_uint_eq(owner.n_data, 0);
}
END_TEST

START_TEST(what_is_wrong_is_named)
{
    refuses("[agent]\nn_min = 5\n", "url");
    refuses("[server]\nurl = tcp://a:1\nkey = 12\ndirectory = " KEY "\n", "64 hexadecimal digits");
    refuses("[server]\nurl = tcp://a:1\nkey = " KEY "\n", "key and directory");
    refuses(SERVER "[agent]\nn_min = 4\n", "n_min");
    refuses(SERVER "[agent]\nn_mni = 5\n", "n_mni");
    refuses(SERVER "[data]\ndata.Home = x\n", "task's name");
    refuses(SERVER "[data]\ndata.home = x\nhome = y\n", "second time");
    refuses(SERVER "[conditions]\nhours = 25-3\n", "22-6");
    refuses(SERVER "[conditions]\nhours = 3\n", "22-6");
    refuses(SERVER "[agent]\nbackend = gpu\n", "auto");
}
END_TEST

START_TEST(what_join_writes_is_what_run_reads)
{
    struct stn_buf text = {0};
    uint8_t key[32] = {1}, directory[32] = {2};
    ck_assert_int_eq(stn_owner_write(&text, "tls+tcp://fleet:7740", "/some/ca.pem", key, directory, "/some/where", &err), STN_OK);
    (void)stn_buf_add_u8(&text, 0);
    ck_assert_int_eq(read_conf((const char *)text.data), STN_OK);
    ck_assert_str_eq(owner.url, "tls+tcp://fleet:7740");
    ck_assert_str_eq(owner.tls_ca, "/some/ca.pem");
    ck_assert_mem_eq(owner.key, key, 32);
    ck_assert_mem_eq(owner.directory, directory, 32);
    ck_assert_str_eq(owner.folder, "/some/where");
    ck_assert_uint_eq(owner.n_data, 0);
    stn_buf_fini(&text);
}
END_TEST

START_TEST(what_join_writes_names_every_setting)
{
    static const char *const settings[] = {
        "url", "key", "directory", "tls_ca", "dir", "n_min", "allow_plain", "threads", "memory", "rank", "backend", "model",
        "upload_kbps", "retry_ms", "retry_most_ms", "require_ac", "allow_metered", "max_temp_c", "max_load", "min_battery",
        "idle_s", "hours"};
    struct stn_buf text = {0};
    uint8_t key[32] = {1};
    ck_assert_int_eq(stn_owner_write(&text, "tcp://fleet:7740", "", key, key, NULL, &err), STN_OK);
    (void)stn_buf_add_u8(&text, 0);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        char said[64], commented[64];
        (void)snprintf(said, sizeof said, "\n%s = ", settings[i]);
        (void)snprintf(commented, sizeof commented, "\n# %s = ", settings[i]);
        ck_assert_msg(strstr((char *)text.data, said) != NULL || strstr((char *)text.data, commented) != NULL, "%s is not there",
                      settings[i]);
    }
    stn_buf_fini(&text);
}
END_TEST

START_TEST(examples_are_lines_that_are_not_blank)
{
    char path[STN_FILE_PATH_MAX];
    uint64_t n = 0;
    put("d.jsonl", "{}\n\n  \n{}\r\n{}");
    (void)snprintf(path, sizeof path, "%s/d.jsonl", folder);
    ck_assert_int_eq(stn_owner_count(path, &n, &err), STN_OK);
    ck_assert_uint_eq(n, 3);
    put("d.jsonl", "");
    ck_assert_int_eq(stn_owner_count(path, &n, &err), STN_OK);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(stn_owner_count("/nowhere.jsonl", &n, &err), STN_NOT_FOUND);
}
END_TEST

/* ---- conditions, on a machine that is a folder ---- */

static struct stn_conditions_host host;

static bool may_work(const struct stn_owner_conditions *conditions)
{
    stn_conditions_host_read(&host, conditions, folder, 1767225600);
    return host.may_work;
}

START_TEST(a_machine_without_sensors_may_work)
{
    const struct stn_owner_conditions all = {.require_ac = true, .max_temp_c = 50, .max_load = 0.1, .min_battery = 90,
                                             .idle_s = 60};
    ck_assert(may_work(&all));
    ck_assert(!host.has_power && !host.has_battery && !host.has_temperature && !host.has_load);
}
END_TEST

START_TEST(power_and_battery_are_as_the_owner_wants_them)
{
    const struct stn_owner_conditions ac = {.require_ac = true, .allow_metered = true},
                                      battery = {.min_battery = 40, .allow_metered = true};
    put("sys/class/power_supply/BAT0/type", "Battery\n");
    put("sys/class/power_supply/BAT0/capacity", "30\n");
    put("sys/class/power_supply/mouse/type", "Battery\n");
    put("sys/class/power_supply/mouse/scope", "Device\n");
    put("sys/class/power_supply/mouse/capacity", "3\n");
    ck_assert(!may_work(&ac));
    ck_assert_str_eq(host.why, "not on mains");
    ck_assert(!may_work(&battery));
    ck_assert_double_eq(host.battery, 30);
    put("sys/class/power_supply/AC/type", "Mains\n");
    put("sys/class/power_supply/AC/online", "1\n");
    ck_assert(may_work(&ac));
    ck_assert(may_work(&battery));
    put("sys/class/power_supply/AC/online", "0\n");
    ck_assert(!may_work(&ac));
    put("sys/class/power_supply/BAT0/capacity", "40\n");
    ck_assert(may_work(&battery));
}
END_TEST

START_TEST(heat_load_and_a_metered_line_stop_it)
{
    struct stn_owner_conditions conditions = {.max_temp_c = 70, .allow_metered = true};
    put("sys/class/thermal/thermal_zone0/temp", "45000\n");
    put("sys/class/thermal/thermal_zone1/temp", "71000\n");
    put("sys/class/thermal/thermal_zone2/temp", "900000\n"); /* broken */
    put("sys/class/thermal/cooling_device0/temp", "99000\n");
    ck_assert(!may_work(&conditions));
    ck_assert_double_eq(host.temperature_c, 71);
    conditions = (struct stn_owner_conditions){.max_load = 0.5, .allow_metered = true};
    put("proc/loadavg", "64000.00 0.3 0.2 1/100 12\n");
    ck_assert(!may_work(&conditions));
    put("proc/loadavg", "0.00 9.3 9.2 1/100 12\n");
    ck_assert(may_work(&conditions));
    conditions = (struct stn_owner_conditions){.allow_metered = false};
    put("proc/net/route", "Iface\tDestination\tGateway\nwwan0\t0000A8C0\t00000000\neth0\t00000000\t0102A8C0\n");
    ck_assert(may_work(&conditions));
    put("proc/net/route", "Iface\tDestination\tGateway\nwwan0\t00000000\t0102A8C0\n");
    ck_assert(!may_work(&conditions));
}
END_TEST

START_TEST(hours_may_go_over_midnight)
{
    struct stn_owner_conditions night = {.has_hours = true, .from_hour = 22, .to_hour = 6, .allow_metered = true};
    uint64_t midnight_s = 1767225600; /* 2026-01-01 in UTC */
    ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
    tzset();
    for (uint64_t hour = 0; hour < 24; hour++) {
        stn_conditions_host_read(&host, &night, folder, midnight_s + hour * 3600);
        ck_assert_int_eq(host.may_work, hour >= 22 || hour < 6);
    }
    night.from_hour = 9;
    night.to_hour = 17;
    for (uint64_t hour = 0; hour < 24; hour++) {
        stn_conditions_host_read(&host, &night, folder, midnight_s + hour * 3600);
        ck_assert_int_eq(host.may_work, hour >= 9 && hour < 17);
    }
}
END_TEST

/* As an owner copies them from docs/operations.md: the lines that are indented behind "The owner edits it:". */
START_TEST(the_settings_that_the_manual_shows_are_read_as_it_says)
{
    struct stn_buf manual = {0}, conf = {0};
    char path[STN_FILE_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/docs/operations.md", STN_RUN_SOURCE);
    ck_assert_int_eq(stn_file_read(path, 1 << 20, &manual, &err), STN_OK);
    ck_assert(stn_buf_add_u8(&manual, 0));
    const char *line = strstr((const char *)manual.data, "The owner edits it:\n\n    ");
    ck_assert_ptr_nonnull(line);
    ck_assert(stn_buf_printf(&conf, "%s", SERVER));
    for (line = strstr(line, "    "); strncmp(line, "    ", 4) == 0; line = strchr(line, '\n') + 1) {
        ck_assert(stn_buf_printf(&conf, "%.*s\n", (int)strcspn(line + 4, "\n"), line + 4));
    }
    ck_assert(stn_buf_add_u8(&conf, 0));
    enum stn_code code = read_conf((const char *)conf.data);
    ck_assert_msg(code == STN_OK, "%s", err.text);
    ck_assert_uint_eq(owner.n_data, 1);
    ck_assert_str_eq(owner.data[0].path, "/home/me/sentences.jsonl");
    ck_assert_uint_eq(owner.n_min, 5);
    ck_assert_uint_eq(owner.rank, 4);
    ck_assert(!owner.allow_plain);
    stn_buf_fini(&manual);
    stn_buf_fini(&conf);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("owner");
    TCase *c = tcase_create("owner");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, what_the_owner_says_is_read_and_what_not_has_its_default);
    tcase_add_test(c, what_is_wrong_is_named);
    tcase_add_test(c, what_join_writes_is_what_run_reads);
    tcase_add_test(c, what_join_writes_names_every_setting);
    tcase_add_test(c, examples_are_lines_that_are_not_blank);
    tcase_add_test(c, a_machine_without_sensors_may_work);
    tcase_add_test(c, power_and_battery_are_as_the_owner_wants_them);
    tcase_add_test(c, heat_load_and_a_metered_line_stop_it);
    tcase_add_test(c, the_settings_that_the_manual_shows_are_read_as_it_says);
    tcase_add_test(c, hours_may_go_over_midnight);
    suite_add_tcase(s, c);
    return s;
}
