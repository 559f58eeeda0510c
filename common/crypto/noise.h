/* noise: the handshake that makes a channel. Noise_IK_25519_ChaChaPoly_BLAKE2b (the device knows
 * the coordinator's key), and Noise_IKpsk2 of the same suite for the first contact, keyed by the
 * one-time token as well. Source: The Noise Protocol Framework, revision 34.
 *
 *   device (initiator)                   coordinator (responder)
 *   initiate                             respond
 *   write  -> e, es, s, ss, payload      read      noise.theirs says who, the payload what
 *                                        [set_psk  not before the payload has named the token]
 *   read   <- e, ee, se, [psk,] payload  write
 *   split                                split
 *
 * Message 1 may be a replay of an old one, and its payload is not forward secret: nothing may be
 * done for it but to answer. Only a record under the split keys proves that the initiator is there.
 *
 * Whatever write or read returns but STN_OK ends the handshake: its secrets are wiped and it is
 * over, with nothing to do but fini. Calls out of this order are asserts. Nothing allocates.
 * Thread: one at a time. */
#ifndef STN_CRYPTO_NOISE_H
#define STN_CRYPTO_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STN_NOISE_KEY 32
#define STN_NOISE_HASH 64
#define STN_NOISE_MESSAGE 65535 /* most bytes of a message */
#define STN_NOISE_OVERHEAD_1 96 /* beside the payload: ephemeral, sealed static, tag */
#define STN_NOISE_OVERHEAD_2 48 /* ephemeral, tag */

enum stn_noise_pattern { STN_NOISE_IK, STN_NOISE_IKPSK2 };

enum stn_noise_stage {
    STN_NOISE_OVER, /* zeroed, failed or split */
    STN_NOISE_WRITE_1,
    STN_NOISE_READ_2,
    STN_NOISE_READ_1,
    STN_NOISE_WRITE_2,
    STN_NOISE_DONE, /* both messages went through: split */
};

struct stn_noise {
    enum stn_noise_stage stage;
    enum stn_noise_pattern pattern;
    uint8_t theirs[STN_NOISE_KEY]; /* their static public key; a responder has it after read */
    /* the rest is for noise.c only */
    uint8_t secret[STN_NOISE_KEY], pub[STN_NOISE_KEY];
    uint8_t ephemeral[STN_NOISE_KEY], ephemeral_pub[STN_NOISE_KEY], theirs_ephemeral[STN_NOISE_KEY];
    uint8_t psk[STN_NOISE_KEY];
    uint8_t chain[STN_NOISE_HASH], hash[STN_NOISE_HASH], key[STN_NOISE_KEY];
    uint64_t counter;
    bool is_initiator, has_ephemeral, has_psk;
};

/* What a handshake leaves: both sides have the same hash, and each other's keys. */
struct stn_noise_keys {
    uint8_t send[STN_NOISE_KEY];
    uint8_t receive[STN_NOISE_KEY];
    uint8_t hash[STN_NOISE_HASH]; /* names the session: unique, public, bound to everything said */
};

/* secret is our static X25519 secret, theirs the coordinator's public key; both are copied. The
 * prologue is what both sides must already agree on; the hash of two that differ differs, and the
 * first read fails. */
void stn_noise_initiate(struct stn_noise *ret, enum stn_noise_pattern pattern,
                        const uint8_t secret[static STN_NOISE_KEY],
                        const uint8_t theirs[static STN_NOISE_KEY], const void *prologue,
                        size_t size);
void stn_noise_respond(struct stn_noise *ret, enum stn_noise_pattern pattern,
                       const uint8_t secret[static STN_NOISE_KEY], const void *prologue,
                       size_t size);

/* The pre-shared key of IKpsk2: at any time before message 2 is written or read, and no later. */
void stn_noise_set_psk(struct stn_noise *noise, const uint8_t psk[static STN_NOISE_KEY]);

/* For known answers and the simulator: the ephemeral secret, before our message is written.
 * Otherwise it is entropy. */
void stn_noise_set_ephemeral(struct stn_noise *noise, const uint8_t secret[static STN_NOISE_KEY]);

/* dst has room for size and the message's overhead; *ret_size says how many bytes were written.
 * STN_LIMIT when the message would pass STN_NOISE_MESSAGE; STN_DENIED for a static or ephemeral key
 * of low order. */
enum stn_code stn_noise_write(struct stn_noise *noise, const void *payload, size_t size,
                              uint8_t *dst, size_t *ret_size, struct stn_err *err) STN_CHECKED;

/* payload has room for size bytes (it takes fewer) and lies apart from message. STN_CORRUPT for a
 * message of the wrong size, STN_DENIED for keys of low order and for whatever does not verify:
 * another key, psk, prologue or byte. Nothing unverified is left in payload. */
enum stn_code stn_noise_read(struct stn_noise *noise, const void *message, size_t size,
                             uint8_t *payload, size_t *ret_size, struct stn_err *err) STN_CHECKED;

/* Once, when the stage is DONE. Ends and wipes the handshake; theirs stays. */
void stn_noise_split(struct stn_noise *noise, struct stn_noise_keys *ret);

/* Wipe. NULL and zeroed are fine. */
void stn_noise_fini(struct stn_noise *noise);
void stn_noise_keys_fini(struct stn_noise_keys *keys);

#endif
