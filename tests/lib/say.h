/* say: one valid message of every type, with every field at a value of its own, for tests and fuzz
 * targets. */
#ifndef STN_TESTS_SAY_H
#define STN_TESTS_SAY_H

#include <stddef.h>

#include "proto/msg.h"

#define STN_SAY_MESSAGES 28

/* Number i of STN_SAY_MESSAGES. What it points to is constant. */
struct stn_msg stn_say_message(size_t i);

#endif
