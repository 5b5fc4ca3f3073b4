// One block of a step graph on one token stream: new tokens against what is remembered. docs/incremental.md.
//
// Copyright the physioedge authors. SPDX-License-Identifier: Apache-2.0
#ifndef PHYSIOEDGE_STEP_BLOCK_H
#define PHYSIOEDGE_STEP_BLOCK_H

#include <cstddef>
#include <cstdint>

namespace physioedge {

// y = x W + bias. Either `weight` (in, out), or int8 `levels`, -127 to 127, in panels: (out / 16, in / 4, 16, 4), with a
// scale and the sum of all levels for each output. Activations are then rounded to 8 bits, each token on a scale of its own.
struct Linear {
  const float* weight;
  const int8_t* levels;
  const float* scale;
  const int32_t* sums;
  const float* bias;
  int in, out;
};

// Features are rows of tokens. `k` and `v` are (heads, total, width), of which the last n rows are written, from the
// new tokens; `mask` (n, total) is added to scores; `cos` and `sin` are (n, width / 2). `rank` 0: no slots.
struct Block {
  const float *x, *cos, *sin, *mask;
  float *k, *v, *y;
  Linear qkv, o, expand, contract;
  const float *a, *shift, *b_q, *b_v;
  int n, heads, width, total, rank;
  float eps;
};

// Instructions to use: the best this processor has, or one set for comparison; returns whether it is there.
enum class Instructions { best, plain, avx2, vnni, neon, dot };
bool use(Instructions wanted);

void run_block(const Block& block);

}  // namespace physioedge

#endif
