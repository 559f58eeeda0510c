/* url: what a device needs to know to join, as one line that fits in a message or a QR code:
 *   sterna://HOST:PORT/?key=COORDINATOR_KEY&dir=DIRECTORY_KEY&token=ONCE
 * HOST is a name, an IPv4 address or an IPv6 address in brackets. The keys and the token are 64
 * hexadecimal digits; an enrolled device's URL has no token. Devices come over TCP where no via=
 * says otherwise: via=tls+tcp, via=ws or via=wss, these two with a path=/PATH if there is one. Every
 * part is there once, in any order.
 *
 * Thread: any; nothing allocates. */
#ifndef STN_CHANNEL_URL_H
#define STN_CHANNEL_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define STN_URL_HOST 256 /* with its zero */
#define STN_URL_PATH 64  /* with its zero */
#define STN_URL_TEXT 640 /* the whole, with its zero */
#define STN_URL_LINK (STN_URL_HOST + STN_URL_PATH + 32)

enum stn_url_via { STN_URL_TCP, STN_URL_TLS, STN_URL_WS, STN_URL_WSS, STN_URL_VIAS };

struct stn_url {
    char host[STN_URL_HOST]; /* as in the URL: an IPv6 address keeps its brackets */
    uint16_t port;
    enum stn_url_via via;
    char path[STN_URL_PATH]; /* of ws and wss: "" or "/PATH" */
    uint8_t key[32];       /* the coordinator's Ed25519 public key */
    uint8_t directory[32]; /* the directory's */
    bool has_token;
    uint8_t token[32]; /* secret: it is a device's ticket */
};

/* STN_INVALID says what is wrong, without repeating the token. */
enum stn_code stn_url_get(struct stn_url *ret, const char *text, struct stn_err *err) STN_CHECKED;

/* Where it leads alone: "HOST:PORT", which is over TCP, or "VIA://HOST:PORT", ws and wss with "/PATH"
 * behind. Changes host, port, via and path of *ret. STN_INVALID. */
enum stn_code stn_url_get_place(struct stn_url *ret, const char *text, struct stn_err *err) STN_CHECKED;

/* The host must be one that stn_url_get takes, the port not 0: asserts. */
void stn_url_put(const struct stn_url *url, char dst[static STN_URL_TEXT]);

/* As io/link.h takes it: "tcp://HOST:PORT", "wss://HOST:PORT/PATH". */
void stn_url_put_link(const struct stn_url *url, char dst[static STN_URL_LINK]);

/* Whether the other end shows a certificate. */
bool stn_url_is_tls(const struct stn_url *url);

#endif
