/* banned: included before everything by the build, so that these are compile errors everywhere. Each has a
 * replacement that knows its room or has no hidden state. STN_UNBANNED is for the one file whose library's header has a
 * parameter of such a name. */
#ifndef STN_BASE_BANNED_H
#define STN_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef STN_UNBANNED
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets rand srand localtime gmtime ctime asctime
#endif

#endif
