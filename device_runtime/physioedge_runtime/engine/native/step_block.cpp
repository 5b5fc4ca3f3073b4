// See step_block.h. The same loops are compiled for several sets of instructions; which one runs is found out once.
//
// Copyright the physioedge authors. SPDX-License-Identifier: Apache-2.0
#include "step_block.h"

#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define PE_STEP_SHUFFLE 1
#endif
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PE_STEP_X86 1
#include <immintrin.h>
#endif

#if defined(__AARCH64EL__) && defined(__ARM_NEON)
#define PE_STEP_ARM 1
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#endif

namespace physioedge {
namespace {

struct Scratch {
  float *normed, *wide, *mixed, *q, *scores, *mask, *low;
  uint8_t* levels;
};

namespace plain {
#include "step_kernels.inc"
}

#if defined(PE_STEP_X86)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define PE_STEP_AVX2
namespace avx2 {
#include "step_kernels.inc"
}
#undef PE_STEP_AVX2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,prefer-vector-width=512")
#define PE_STEP_VNNI
namespace vnni {
#include "step_kernels.inc"
}
#undef PE_STEP_VNNI
#pragma GCC pop_options
#endif

#if defined(PE_STEP_ARM)
#define PE_STEP_NEON
namespace neon {
#include "step_kernels.inc"
}
#undef PE_STEP_NEON
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#define PE_STEP_DOT
namespace dot {
#include "step_kernels.inc"
}
#undef PE_STEP_DOT
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

bool has_dot_products() {
#if defined(__ARM_FEATURE_DOTPROD)
  return true;
#elif defined(__linux__)
  return (getauxval(AT_HWCAP) >> 20 & 1) != 0;  // HWCAP_ASIMDDP
#else
  return false;
#endif
}
#endif

using Run = void (*)(const Block&, Scratch&);

Run found(Instructions wanted) {
#if defined(PE_STEP_X86)
  __builtin_cpu_init();
  const bool wide = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool middle = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (wide && (wanted == Instructions::best || wanted == Instructions::vnni)) return vnni::run;
  if (middle && (wanted == Instructions::best || wanted == Instructions::avx2)) return avx2::run;
#elif defined(PE_STEP_ARM)
  if (has_dot_products() && (wanted == Instructions::best || wanted == Instructions::dot)) return dot::run;
  if (wanted == Instructions::best || wanted == Instructions::neon) return neon::run;
#endif
  return wanted == Instructions::best || wanted == Instructions::plain ? plain::run : nullptr;
}

Run& chosen() {
  static Run run = found(Instructions::best);
  return run;
}

float* part(float*& at, size_t count) {
  float* const from = at;
  at += (count + 15) / 16 * 16;
  return from;
}

}  // namespace

bool use(Instructions wanted) {
  const Run run = found(wanted);
  if (run != nullptr) chosen() = run;
  return run != nullptr;
}

void run_block(const Block& b) {
  thread_local std::vector<float> room;  // grows once, for the largest block
  const size_t n = static_cast<size_t>(b.n), d = static_cast<size_t>(b.heads) * b.width;
  const size_t wide = n * static_cast<size_t>(b.qkv.out > b.expand.out ? b.qkv.out : b.expand.out);
  const size_t longest = static_cast<size_t>(b.contract.in > b.qkv.in ? b.contract.in : b.qkv.in);
  const size_t scores = 8 * (static_cast<size_t>(b.total) + 15), width = static_cast<size_t>(b.width);
  const size_t sizes[] = {n * d, wide, n * d, 8 * width, scores, scores, n * 2 * b.rank, 2 * longest};
  size_t total = 16;
  for (const size_t size : sizes) total += (size + 15) / 16 * 16;
  if (room.size() < total) room.resize(total);
  float* at = room.data() + (64 - reinterpret_cast<uintptr_t>(room.data()) % 64) % 64 / sizeof(float);
  Scratch s{};
  float** const places[] = {&s.normed, &s.wide, &s.mixed, &s.q, &s.scores, &s.mask, &s.low};
  for (int i = 0; i < 7; ++i) *places[i] = part(at, sizes[i]);
  s.levels = reinterpret_cast<uint8_t*>(part(at, sizes[7]));  // 8 tokens of a byte each
  chosen()(b, s);
}

}  // namespace physioedge
