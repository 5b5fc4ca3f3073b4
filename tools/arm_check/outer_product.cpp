// Does this processor compute SME's int8 outer product (SMOPA) right? Both engines use it where a processor has it.
//
// Prints one line. By the Arm ARM, SMOPA adds to ZA[i][j] the sum over k < 4 of a[4 i + k] * b[4 j + k].
//
// Copyright the physioedge authors. SPDX-License-Identifier: Apache-2.0
#include <sys/auxv.h>

#include <cstdint>
#include <cstdio>

namespace {
constexpr unsigned long kHwcap2Sme = 1UL << 23;
constexpr int kMostBytes = 256;  // the longest streaming vector
int8_t a[kMostBytes], b[kMostBytes];
int32_t za[(kMostBytes / 4) * (kMostBytes / 4)];
}  // namespace

int main() {
  if (!(getauxval(AT_HWCAP2) & kHwcap2Sme)) return std::puts("no such instruction") < 0;
  for (int i = 0; i < kMostBytes; ++i) {
    a[i] = static_cast<int8_t>(i * 37 + 11);
    b[i] = static_cast<int8_t>(i * 91 + 5);
  }
  uint64_t bytes;
  __asm__ volatile(".arch armv9-a+sme\n rdsvl %0, #1" : "=r"(bytes));
  const uint64_t n = bytes / 4;
  __asm__ volatile(
      ".arch armv9-a+sme\n"
      "smstart\n zero {za}\n ptrue p0.b\n ptrue p1.b\n ld1b {z0.b}, p0/z, [%0]\n ld1b {z1.b}, p0/z, [%1]\n"
      "smopa za0.s, p0/m, p1/m, z0.b, z1.b\n"
      "mov w12, #0\n mov x9, %2\n"
      "1: st1w {za0h.s[w12, 0]}, p0, [x9]\n add x9, x9, %3\n add w12, w12, #1\n cmp w12, %w4\n b.lt 1b\n smstop\n"
      :
      : "r"(a), "r"(b), "r"(za), "r"(bytes), "r"(n)
      : "memory", "x9", "x12", "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",
        "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
        "v29", "v30", "v31");
  unsigned wrong = 0;
  for (uint64_t i = 0; i < n; ++i) {
    for (uint64_t j = 0; j < n; ++j) {
      int32_t sum = 0;
      for (int k = 0; k < 4; ++k) sum += a[4 * i + k] * b[4 * j + k];
      wrong += sum != za[i * n + j];
    }
  }
  std::printf("%u of %u sums wrong\n", wrong, static_cast<unsigned>(n * n));
}
