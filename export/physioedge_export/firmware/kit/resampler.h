/* The one rate converter, sample by sample: a polyphase filter with the taps of physio_resampler.h.
 *
 * Output k belongs to the time k / fs_out after the first input; the filter's delay is compensated and shows only as
 * latency: half / up inputs. SPDX-License-Identifier: Apache-2.0 */
#ifndef PHYSIO_RESAMPLER_CODE_H
#define PHYSIO_RESAMPLER_CODE_H

#include <stddef.h>
#include <stdint.h>

typedef struct physio_bank {
  const char *sensor;
  double from_hz, to_hz;
  uint32_t up, down, half, taps;
  const uint32_t *newest;    /* (up) newest input of the first `up` outputs */
  const float *coefficients; /* (up, taps) oldest input first */
} physio_bank;

typedef struct physio_resampler {
  const physio_bank *bank;
  float *ring; /* the caller's, `taps` floats for each channel */
  uint64_t received, produced;
} physio_resampler;

/* Forget everything: the next sample is the first. */
void physio_resampler_reset(physio_resampler *resampler, const physio_bank *bank, float *ring);

/* Take one sample; what has become certain goes into `out`. Returns how many, at most up / down + 1. */
size_t physio_resampler_push(physio_resampler *resampler, float sample, float *out);

/* One more output of the end of a signal, which is taken as constant; 0 where there is none left. */
size_t physio_resampler_flush(physio_resampler *resampler, float *out);

#endif
