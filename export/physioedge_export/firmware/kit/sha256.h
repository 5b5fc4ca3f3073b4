/* SHA-256 (FIPS 180-4), for the digests of a bundle's files. SPDX-License-Identifier: Apache-2.0 */
#ifndef PHYSIO_SHA256_H
#define PHYSIO_SHA256_H

#include <stddef.h>
#include <stdint.h>

void physio_sha256(const uint8_t *data, size_t bytes, uint8_t digest[32]);

#endif
