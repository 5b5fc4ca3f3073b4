/* One graph of the bundle behind one of two engines. The sizes of everything are those of physio_contract.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PHYSIO_ENGINE_H
#define PHYSIO_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PHYSIO_WHY = 400 };

typedef struct physio_engine {
  const char *name; /* as in the manifest */
  /* A graph from verified bytes; its own contract must be `contract`. NULL, and `why`, where it cannot be used. */
  void *(*open)(const uint8_t *graph, size_t bytes, bool slots, const char *contract, size_t contract_bytes, char *why);
  /* One window: the signal of each sensor, then every slot where the graph has them. */
  bool (*run)(void *session, const float *const *signals, const float *const *slots, float *output, float *embedding,
              char *why);
  void (*close)(void *session);
} physio_engine;

#if defined(PHYSIO_EXECUTORCH)
extern const physio_engine physio_executorch;
#endif
#if defined(PHYSIO_ONNXRUNTIME)
extern const physio_engine physio_onnxruntime;
#endif

#endif
