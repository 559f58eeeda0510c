/* transcript: what happened and what was answered, as lines of text that a test compares whole.
 *
 *   [  100] 7 join -> round open, member joined, 7: config
 *
 * Time, who, what; then the effects in their order: records saved and forgotten ("round open",
 * "-lease"), replies
 * ("7: config"), and the rest by name. Traces are left out: they repeat the rest. */
#ifndef STN_TESTS_STORY_TRANSCRIPT_H
#define STN_TESTS_STORY_TRANSCRIPT_H

#include "base/buf.h"
#include "client/core/effect.h"
#include "server/core/effect.h"

/* " -> a, b" and the end of the line. Tickets are 100 * device + something. */
void stn_transcript_server(struct stn_buf *text, const struct stn_server_effects *effects);
void stn_transcript_client(struct stn_buf *text, const struct stn_client_effects *effects);

#endif
