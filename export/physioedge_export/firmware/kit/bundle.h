/* A .physio bundle, verified in memory: container, signature, manifest, digests, in the order of docs/bundle.md, section 7.
 *
 * Nothing is copied and no memory is taken: everything points into the bytes that were given, which must stay.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PHYSIO_BUNDLE_H
#define PHYSIO_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"

enum { PHYSIO_MAX_FILES = 64, PHYSIO_MAX_GRAPHS = 24, PHYSIO_MAX_NAME = 100 };

typedef struct physio_file {
  const char *name; /* `name_bytes` of them, no end mark */
  size_t name_bytes;
  const uint8_t *data;
  size_t bytes;
  uint32_t crc;
} physio_file;

typedef struct physio_graph {
  const physio_file *file;
  physio_json engine, precision, adapters; /* texts with their quotes */
  bool slots, step;
  double output_tolerance, embedding_tolerance;
} physio_graph;

typedef struct physio_bundle {
  physio_file files[PHYSIO_MAX_FILES]; /* the manifest, its signature, then the others */
  size_t n_files;
  physio_json manifest, contract;
  const char *output_name; /* "logits" or "values" */
  physio_graph graphs[PHYSIO_MAX_GRAPHS];
  size_t n_graphs;
  const physio_file *golden;
  size_t golden_windows;
  uint8_t digest[32]; /* of the manifest: the identity of the bundle */
  char why[160];      /* why it was refused */
} physio_bundle;

/* True where the bundle holds from end to end and `key` signed it; else `why` tells, and nothing may be used. */
bool physio_bundle_open(physio_bundle *bundle, const uint8_t *bytes, size_t size, const uint8_t key[32]);

/* The file of this name; NULL where there is none. */
const physio_file *physio_bundle_file(const physio_bundle *bundle, const char *name, size_t name_bytes);

#endif
