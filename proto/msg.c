#include "proto/msg.h"
int stn_msg_placeholder = 1;
