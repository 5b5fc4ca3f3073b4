/* Golden vectors: the safetensors subset of docs/bundle.md, section 5. SPDX-License-Identifier: Apache-2.0 */
#ifndef PHYSIO_TENSORS_H
#define PHYSIO_TENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"

typedef struct physio_tensors {
  physio_json header;
  const uint8_t *data;
  size_t bytes;
} physio_tensors;

/* Only bytes whose digest was verified may be given. False where they are no such file. */
bool physio_tensors_open(physio_tensors *tensors, const uint8_t *bytes, size_t size);

/* Floats of the array with this name, into `values`; false unless there are exactly `n` float32, all finite. */
bool physio_tensors_read(const physio_tensors *tensors, const char *name, float *values, size_t n);

bool physio_tensors_has(const physio_tensors *tensors, const char *name);

#endif
