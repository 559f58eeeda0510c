#ifndef STN_PROTO_MSG_H
#define STN_PROTO_MSG_H
extern int stn_msg_placeholder;
#endif
