#include "tensors.h"

#include <math.h>
#include <string.h>

enum { MOST_HEADER = 1 << 20, MOST_ARRAYS = 4096, MOST_AXES = 8 };

/* Where an array lies, and how many bytes its shape and type need. */
static bool place(physio_json entry, size_t *begin, size_t *end, size_t *needed, physio_json *dtype) {
  physio_json shape, offsets, value;
  size_t n, index = 0, axes = 0, bound[2];
  if (!physio_json_get(entry, "dtype", dtype) || !physio_json_get(entry, "shape", &shape)) return false;
  if (!physio_json_get(entry, "data_offsets", &offsets) || physio_json_count(entry) != 3) return false;
  *needed = physio_json_is(*dtype, "F32") ? 4 : physio_json_is(*dtype, "I64") ? 8 : physio_json_is(*dtype, "I8") ? 1 : 0;
  if (!*needed || physio_json_kind(shape) != '[' || physio_json_kind(offsets) != '[') return false;
  for (size_t at = 0; physio_json_next(shape, &at, NULL, &value);) {
    if (++axes > MOST_AXES || !physio_json_whole(value, &n) || (n && *needed > SIZE_MAX / n)) return false;
    *needed *= n;
  }
  for (size_t at = 0; physio_json_next(offsets, &at, NULL, &value); ++index)
    if (index == 2 || !physio_json_whole(value, &bound[index])) return false;
  *begin = bound[0], *end = bound[1];
  return index == 2 && *begin <= *end && *end - *begin == *needed;
}

/* Sorted by where they lie, arrays touch: from any byte on exactly one begins, until the end of the file. */
static bool touch(const physio_tensors *t) {
  size_t covered = 0, n = 0, begin, end, needed;
  physio_json key, entry, dtype;
  for (size_t at = 0; physio_json_next(t->header, &at, &key, &entry);) {
    if (physio_json_is(key, "__metadata__")) continue;
    if (++n > MOST_ARRAYS || !place(entry, &begin, &end, &needed, &dtype) || end > t->bytes) return false;
    covered += end - begin;
    for (size_t other_at = 0, b, e, u; physio_json_next(t->header, &other_at, &key, &entry);) {
      if (other_at >= at) break;
      if (!physio_json_is(key, "__metadata__") && place(entry, &b, &e, &u, &dtype) && b < end && begin < e) return false;
    }
  }
  return covered == t->bytes;
}

bool physio_tensors_open(physio_tensors *t, const uint8_t *bytes, size_t size) {
  uint64_t header = 0;
  if (size < 8) return false;
  for (size_t i = 0; i < 8; ++i) header |= (uint64_t)bytes[i] << 8 * i;
  if (header < 2 || header > MOST_HEADER || header > size - 8 || bytes[8] != '{') return false;
  if (!physio_json_check((const char *)bytes + 8, (size_t)header, &t->header)) return false;
  t->data = bytes + 8 + header;
  t->bytes = size - 8 - (size_t)header;
  return touch(t);
}

bool physio_tensors_has(const physio_tensors *t, const char *name) {
  physio_json entry;
  return physio_json_get(t->header, name, &entry);
}

bool physio_tensors_read(const physio_tensors *t, const char *name, float *values, size_t n) {
  physio_json entry, dtype;
  size_t begin, end, needed;
  if (!physio_json_get(t->header, name, &entry) || !place(entry, &begin, &end, &needed, &dtype)) return false;
  if (!physio_json_is(dtype, "F32") || needed != n * sizeof(float)) return false;
  const uint8_t *at = t->data + begin;
  for (size_t i = 0; i < n; ++i, at += 4) {
    uint32_t bits = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    memcpy(values + i, &bits, sizeof bits);
    if (!isfinite(values[i])) return false;
  }
  return true;
}
