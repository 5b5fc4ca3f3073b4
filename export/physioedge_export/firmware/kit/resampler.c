#include "resampler.h"

void physio_resampler_reset(physio_resampler *r, const physio_bank *bank, float *ring) {
  r->bank = bank, r->ring = ring, r->received = r->produced = 0;
}

static uint64_t newest_of(const physio_bank *b, uint64_t output) {
  return b->newest[output % b->up] + output / b->up * b->down;
}

static float filtered(const physio_resampler *r, uint64_t newest, uint64_t last, const float *row) {
  const physio_bank *b = r->bank;
  float sum = 0;
  for (uint32_t i = 0; i < b->taps; ++i) {
    uint64_t back = b->taps - 1 - i; /* inputs before the newest */
    uint64_t at = newest >= back ? newest - back : 0; /* before the first sample the signal was constant */
    sum += row[i] * r->ring[(at > last ? last : at) % b->taps];
  }
  return sum;
}

static size_t due(physio_resampler *r, uint64_t certain, uint64_t limit, float *out, size_t most) {
  const physio_bank *b = r->bank;
  size_t n = 0;
  while (n < most && r->produced < limit && newest_of(b, r->produced) < certain) {
    const float *row = b->coefficients + r->produced % b->up * b->taps;
    out[n++] = filtered(r, newest_of(b, r->produced), r->received - 1, row);
    ++r->produced;
  }
  return n;
}

size_t physio_resampler_push(physio_resampler *r, float sample, float *out) {
  if (r->received == 0)
    for (uint32_t i = 0; i < r->bank->taps; ++i) r->ring[i] = sample;
  r->ring[r->received++ % r->bank->taps] = sample;
  return due(r, r->received, UINT64_MAX, out, r->bank->up / r->bank->down + 1);
}

size_t physio_resampler_flush(physio_resampler *r, float *out) {
  const physio_bank *b = r->bank;
  uint64_t total = (r->received * b->up + b->down - 1) / b->down; /* outputs of a signal of this length */
  return r->received ? due(r, UINT64_MAX, total, out, 1) : 0;
}
