/* ident: who somebody is. A device, a coordinator and a directory each have an Ed25519 key pair
 * (RFC 8032) whose public half is the name; its image on curve25519 is the static key of Noise. A
 * device is enrolled by a certificate that a directory signs.
 *
 * A signature is Ed25519 over H(label || 0x00 || message), H as in digest.h, so that no signature
 * made for one purpose fits another and the size of a message is free. Every label starts with
 * "SA1/". Thread: any; nothing allocates. */
#ifndef STN_CRYPTO_IDENT_H
#define STN_CRYPTO_IDENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/digest.h"

#define STN_IDENT_SEED 32
#define STN_IDENT_PUBLIC 32
#define STN_IDENT_SIGNATURE 64
#define STN_IDENT_FILE 72 /* a key pair as bytes, for a file of mode 0600 */

struct stn_ident {
    uint8_t pub[STN_IDENT_PUBLIC];
    uint8_t seed[STN_IDENT_SEED]; /* the secret */
};

/* A new pair from entropy, or the pair of a seed. The caller wipes it with fini. */
void stn_ident_new(struct stn_ident *ret);
void stn_ident_from_seed(struct stn_ident *ret, const uint8_t seed[static STN_IDENT_SEED]);
void stn_ident_fini(struct stn_ident *ident);

/* "stn-id1\n" || seed || public key. What put writes is secret. get gives STN_CORRUPT, and no key,
 * for bytes of another size or kind, or when the public key is not the seed's. */
void stn_ident_put(const struct stn_ident *ident, uint8_t dst[static STN_IDENT_FILE]);
enum stn_code stn_ident_get(struct stn_ident *ret, const void *p, size_t size,
                            struct stn_err *err) STN_CHECKED;

void stn_ident_sign(uint8_t ret_signature[static STN_IDENT_SIGNATURE],
                    const struct stn_ident *ident, const char *label, const void *p, size_t size);

/* STN_DENIED when it is not pub's signature of the message under label. */
enum stn_code stn_ident_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                               const uint8_t pub[static STN_IDENT_PUBLIC], const char *label,
                               const void *p, size_t size, struct stn_err *err) STN_CHECKED;

/* The pair's image on curve25519. The public half of somebody else's key may be no point, or of low
 * order: STN_INVALID. The secret half is the caller's to wipe. */
void stn_ident_dh_secret(uint8_t ret[static 32], const struct stn_ident *ident);
enum stn_code stn_ident_dh_public(uint8_t ret[static 32],
                                  const uint8_t pub[static STN_IDENT_PUBLIC],
                                  struct stn_err *err) STN_CHECKED;

/* A directory's word that a device belongs to the fleet. signature covers device || token || le64
 * issued_at_s under the label "SA1/enrol". */
struct stn_ident_cert {
    uint8_t device[STN_IDENT_PUBLIC];
    struct stn_digest token; /* H of the one-time token it was enrolled with */
    uint64_t issued_at_s;    /* seconds since 1970 */
    uint8_t signature[STN_IDENT_SIGNATURE];
};

#define STN_IDENT_CERT (STN_IDENT_PUBLIC + STN_DIGEST_SIZE + 8 + STN_IDENT_SIGNATURE)

/* Fills in the signature over the other three. */
void stn_ident_cert_sign(struct stn_ident_cert *cert, const struct stn_ident *directory);

/* STN_DENIED when the directory did not sign it. When it was issued is for the caller to judge. */
enum stn_code stn_ident_cert_verify(const struct stn_ident_cert *cert,
                                    const uint8_t directory[static STN_IDENT_PUBLIC],
                                    struct stn_err *err) STN_CHECKED;

/* The four fields in their order, without gaps, little endian. */
void stn_ident_cert_put(const struct stn_ident_cert *cert, uint8_t dst[static STN_IDENT_CERT]);
void stn_ident_cert_get(struct stn_ident_cert *ret, const uint8_t src[static STN_IDENT_CERT]);

#endif
