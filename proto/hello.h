/* hello: what the two messages of a handshake carry besides keys. Both are encrypted; the first one
 * can be replayed by anybody who saw it, so it changes nothing but the one-time enrolment, which a
 * device may repeat. */
#ifndef STN_PROTO_HELLO_H
#define STN_PROTO_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#define STN_HELLO_BYTES 512       /* an encoded payload, at most */
#define STN_HELLO_TOKEN 32        /* a one-time token, and its hash */
#define STN_HELLO_CERTIFICATE 136 /* STN_IDENT_CERT of crypto/ident.h */

struct stn_hello_enrol {
    uint8_t token[STN_HELLO_TOKEN]; /* H of the one-time token */
    uint8_t device[32]; /* Ed25519, to be enrolled: the handshake's static key must be its image */
};
struct stn_hello {
    uint32_t version_min, version_max; /* of the protocol, that the device speaks */
    bool has_enrol;                    /* the first contact of a device */
    struct stn_hello_enrol enrol;
};

struct stn_hello_reply {
    uint32_t version; /* that the coordinator has chosen */
    uint64_t session;
    bool has_certificate;
    uint8_t certificate[STN_HELLO_CERTIFICATE]; /* the directory's word: the device keeps it */
};

#endif
