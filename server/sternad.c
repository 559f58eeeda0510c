#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/command.h"
#include "base/hex.h"
#include "crypto/entropy.h"
#include "server/shell/directory.h"
#include "server/shell/service.h"

struct options {
    const char *config, *listen, *address, *directory, *group;
};

static const struct options defaults = {.listen = STN_SETTINGS_LISTEN, .address = STN_SETTINGS_ADDRESS};

#define CONFIG(help_text)                                                                                            \
    {"config", 'c', STN_OPTION_STR, offsetof(struct options, config), "FILE", help_text, .required = true}

static const struct stn_option init_options[] = {
    {"listen", 0, STN_OPTION_STR, offsetof(struct options, listen), "URL",
     "where devices connect (default " STN_SETTINGS_LISTEN ")"},
    {"address", 0, STN_OPTION_STR, offsetof(struct options, address), "HOST:PORT",
     "what join URLs tell devices, over what listen says, or with wss:// and the like (default " STN_SETTINGS_ADDRESS ")"},
    {"directory", 0, STN_OPTION_STR, offsetof(struct options, directory), "DIR2",
     "the directory's folder (default DIR/directory, which is a link to any other)"},
    {"group", 0, STN_OPTION_STR, offsetof(struct options, group), "GROUP",
     "that the coordinator's user is in, when another user runs the directory"},
    {0},
};
static const struct stn_option config_options[] = {CONFIG("sternad.conf of the coordinator's folder"), {0}};
static const struct stn_option directory_options[] = {CONFIG("directory.conf of the directory's folder"), {0}};

static enum stn_code print(json_t *object, struct stn_err *err)
{
    char *text = object == NULL ? NULL : json_dumps(object, 0);
    json_decref(object);
    if (text == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for JSON");
    }
    (void)printf("%s\n", text);
    free(text);
    return STN_OK;
}

static struct stn_settings_new new_of(const struct options *o, const struct stn_command_line *line)
{
    return (struct stn_settings_new){.folder = line->args[0], .listen = o->listen, .address = o->address,
                                     .directory = o->directory, .group = o->group};
}

static enum stn_code check_init(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct stn_settings_new settings = new_of(parsed, line);
    return stn_settings_check(&settings, err);
}

static enum stn_code init(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    const struct stn_settings_new settings = new_of(o, line);
    const char *folder = settings.folder;
    uint8_t key[STN_IDENT_PUBLIC], directory[STN_IDENT_PUBLIC];
    char key_text[2 * sizeof key + 1], directory_text[2 * sizeof directory + 1];
    enum stn_code code = stn_settings_init(&settings, key, directory, err);
    if (code != STN_OK) {
        return code;
    }
    stn_hex_put(key_text, key, sizeof key);
    stn_hex_put(directory_text, directory, sizeof directory);
    if (line->json) {
        return print(json_pack("{ss ss ss ss ss}", "folder", folder, "key", key_text, "directory", directory_text, "listen",
                               o->listen, "address", o->address),
                     err);
    }
    (void)printf("made a coordinator in %s\n"
                 "  its key        %s\n"
                 "  directory key  %s\n"
                 "next:\n"
                 "%s"
                 "  sternad directory --config %s%s/directory.conf &\n"
                 "  sternad run --config %s/sternad.conf &\n"
                 "  sterna task create TASK.ini --dir %s\n"
                 "  sterna invite --dir %s        a join URL for one device\n",
                 folder, key_text, directory_text,
                 o->group == NULL ? "" : "  (give each folder to the user who runs what is in it: chown -R)\n",
                 o->directory == NULL ? folder : o->directory, o->directory == NULL ? "/directory" : "", folder, folder,
                 o->directory == NULL ? folder : o->directory);
    return STN_OK;
}

static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    (void)line;
    const struct options *o = parsed;
    struct stn_service *service = NULL;
    enum stn_code code = stn_service_open(&service, o->config, err);
    if (code == STN_OK) {
        stn_service_run(service);
        stn_service_close(service);
    }
    return code;
}

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct stn_settings settings;
    uint8_t key[STN_IDENT_PUBLIC];
    char key_text[2 * sizeof key + 1];
    enum stn_code code = stn_service_check(&settings, key, o->config, err);
    if (code != STN_OK) {
        return code;
    }
    stn_hex_put(key_text, key, sizeof key);
    if (line->json) {
        return print(json_pack("{sb ss ss ss}", "ok", 1, "folder", settings.folder, "key", key_text, "listen",
                               settings.listen),
                     err);
    }
    (void)printf("%s is fine\n  key      %s\n  listen   %s\n", o->config, key_text, settings.listen);
    return STN_OK;
}

static enum stn_code directory(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    (void)line;
    const struct options *o = parsed;
    return stn_directory_run(o->config, err);
}

int main(int argc, char **argv)
{
    static const struct stn_command commands[] = {
        {.name = "init", .args = "DIR", .min_args = 1, .max_args = 1, .summary = "make the folder of a new coordinator",
         .example = "sternad init /var/lib/sterna --address sterna.example.org:7740", .options = init_options,
         .defaults = &defaults, .size = sizeof defaults, .check = check_init, .run = init},
        {.name = "run", .args = "", .summary = "serve devices and operators until SIGTERM",
         .example = "sternad run --config /var/lib/sterna/sternad.conf", .options = config_options, .defaults = &defaults,
         .size = sizeof defaults, .run = run},
        {.name = "check", .args = "", .summary = "say whether run would work: config, keys, state",
         .example = "sternad check --config /var/lib/sterna/sternad.conf", .options = config_options,
         .defaults = &defaults, .size = sizeof defaults, .run = check},
        {.name = "directory", .args = "", .summary = "mint invites and sign enrolments, with a key of its own",
         .example = "sternad directory --config /var/lib/sterna/directory/directory.conf", .options = directory_options,
         .defaults = &defaults, .size = sizeof defaults, .run = directory},
        {0},
    };
    struct stn_err err = {0};
    if (stn_entropy_start(&err) != STN_OK) {
        (void)fprintf(stderr, "error: %s\n", err.text);
        return EXIT_FAILURE;
    }
    return stn_command_main("sternad", "The coordinator of a fleet that fine-tunes together.", commands, argc, argv);
}
