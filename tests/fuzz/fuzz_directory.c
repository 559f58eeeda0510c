/* The doors of the directory's two sockets: every input is a line of both. Whatever it is, an object answers: what was asked for,
 * or an error. */
#include "tests/lib/fuzz.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "crypto/entropy.h"
#include "io/file.h"
#include "server/shell/directory.h"
#include "server/shell/keys.h"
#include "tests/lib/scratch.h"

#define NOW_S 1800000000

static struct stn_directory *begin(void)
{
    struct stn_directory *directory = NULL;
    struct stn_ident key;
    struct stn_settings_directory settings = {.token_days = 14, .address = "fleet.example.org:7740"};
    stn_log_level(STN_LOG_ERROR);
    stn_scratch_require(stn_entropy_start(NULL) == STN_OK);
    stn_scratch_require(stn_file_make_folder(stn_scratch_path("keys"), 0700, NULL) == STN_OK);
    stn_scratch_require(stn_keys_make(&key, stn_scratch_path("keys/directory.key"), NULL) == STN_OK);
    (void)snprintf(settings.folder, sizeof settings.folder, "%s", stn_scratch_folder());
    (void)snprintf(settings.coordinator, sizeof settings.coordinator, "%064d", 7);
    stn_scratch_require(stn_directory_open(&directory, &settings, NULL) == STN_OK);
    stn_ident_fini(&key);
    return directory;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stn_directory *directory;
    if (directory == NULL) {
        directory = begin();
    }
    for (int door = 0; door < STN_DIRECTORY_DOORS; door++) {
        struct stn_buf reply = {0};
        stn_directory_answer(directory, (enum stn_directory_door)door, (const char *)data, size, NOW_S, &reply);
        json_t *answer = json_loadb((const char *)reply.data, reply.size, JSON_REJECT_DUPLICATES, NULL);
        stn_scratch_require(memchr(reply.data, '\n', reply.size) == NULL);
        stn_scratch_require(json_is_true(json_object_get(answer, "ok")) != json_is_object(json_object_get(answer, "error")));
        json_decref(answer);
        stn_buf_fini(&reply);
    }
    return 0;
}
