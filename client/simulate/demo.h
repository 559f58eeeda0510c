/* demo: the built-in data: what people say at home, and the short action that it means. Every device is a home with
 * its own few rooms and things, its own ways of putting it, and its own mix of intents, so that
 * homes differ by construction and none of them alone has seen what the others say. A shared test set mixes all homes.
 *
 *   {"prompt": "please switch off the fan in the attic ->", "completion": " off fan attic", "home": "home-07", "intent": "off"}
 *
 * The same seed gives the same homes and examples, in any order of calls. Thread: any. */
#ifndef STN_CLIENT_SIMULATE_DEMO_H
#define STN_CLIENT_SIMULATE_DEMO_H

#include <stddef.h>
#include <stdint.h>

#define STN_DEMO_HOMES_MAX 10000
#define STN_DEMO_EXAMPLES 60 /* of a home, to train on */
#define STN_DEMO_TEST 10     /* of a home, in the shared test set */
#define STN_DEMO_PROMPT 160
#define STN_DEMO_COMPLETION 64

struct stn_demo_example {
    char prompt[STN_DEMO_PROMPT];
    char completion[STN_DEMO_COMPLETION];
    const char *intent; /* a literal */
};

/* Example number i of a home. Numbers below STN_DEMO_EXAMPLES are for training, the next STN_DEMO_TEST for the test
 * set; a test example is never word for word one of its home's training examples. */
void stn_demo_make(uint64_t seed, uint64_t home, uint64_t i, struct stn_demo_example *ret);

#endif
