/* Ed25519 (RFC 8032) over one of two libraries; signature.c chooses. SPDX-License-Identifier: Apache-2.0 */
#ifndef PHYSIO_SIGNATURE_H
#define PHYSIO_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether `signature` is the one of `message` under `key`. Signatures whose scalar is not reduced and keys of small
 * order are refused, as docs/bundle.md, section 2, demands. */
bool physio_signature_fits(const uint8_t signature[64], const uint8_t *message, size_t bytes, const uint8_t key[32]);

/* "libsodium" or "monocypher". */
const char *physio_signature_library(void);

#endif
