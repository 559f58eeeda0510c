/* The door of evidence files: what is taken is kept again and taken again, and is then the same. */
#include "tests/lib/fuzz.h"

#include <string.h>

#include "client/shell/evidence.h"
#include "crypto/entropy.h"
#include "tests/lib/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[32] = {1};
    static struct stn_place place;
    struct stn_secagg_client_evidence evidence = {0}, back = {0};
    struct stn_err err;
    char path[STN_FILE_PATH_MAX];
    if (place.folder[0] == '\0') {
        stn_scratch_require(stn_entropy_start(&err) == STN_OK && stn_place_open(&place, stn_scratch_folder(), &err) == STN_OK);
    }
    stn_scratch_put("x.json", data, size);
    if (stn_evidence_read(stn_scratch_path("x.json"), &evidence, &err) != STN_OK) {
        return 0;
    }
    stn_scratch_require(stn_evidence_verify(&evidence, key, &err) == STN_DENIED); /* nobody has signed by that key */
    stn_scratch_require(stn_evidence_keep(&place, &evidence, key, path, &err) == STN_OK);
    stn_scratch_require(stn_evidence_read(path, &back, &err) == STN_OK);
    stn_scratch_require(back.of_rosters == evidence.of_rosters &&
                        memcmp(back.statements, evidence.statements, sizeof back.statements) == 0 &&
                        memcmp(&back.cfg, &evidence.cfg, sizeof back.cfg) == 0);
    return 0;
}
