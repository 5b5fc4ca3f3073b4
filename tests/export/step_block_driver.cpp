// Runs cases of the native block with one set of instructions: for processors that tests reach through an emulator only.
//
// step_block_driver SET REPEATS < cases > answers. Each case is a kind, whole numbers and arrays, each array after its
// number of bytes. Kind 0 is one int8 layer: n, in, out; x, levels, scale, sums, bias. Kind 1 is a block: n, heads, width,
// total, rank, whether it is in int8, and eps; then the arrays of test_step_block.py. The answers are float32, in order.
//
// Copyright the physioedge authors. SPDX-License-Identifier: Apache-2.0
#include "step_block.cpp"  // not its header: one layer alone is no part of the interface

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using namespace physioedge;
using Layer = void (*)(const Linear&, const float*, int, Scratch&, float*);

struct Variant {
  const char* name;
  Instructions instructions;
  Run run;
  Layer layer;
};

const Variant kVariants[] = {
    {"plain", Instructions::plain, plain::run, plain::linear_int8},
#if defined(PE_STEP_X86)
    {"avx2", Instructions::avx2, avx2::run, avx2::linear_int8},
    {"vnni", Instructions::vnni, vnni::run, vnni::linear_int8},
#elif defined(PE_STEP_ARM)
    {"neon", Instructions::neon, neon::run, neon::linear_int8},
    {"dot", Instructions::dot, dot::run, dot::linear_int8},
#endif
};

// An array that ends where a page does that nobody may touch: reads behind its end are found. Never given back.
struct Bytes {
  char* data;
  size_t size;
};

Bytes room(size_t size) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), whole = (size + page - 1) / page * page;
  void* const at = mmap(nullptr, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED || mprotect(static_cast<char*>(at) + whole, page, PROT_NONE) != 0) std::exit(5);
  return {static_cast<char*>(at) + whole - size, size};
}

void read(void* to, size_t bytes) {
  if (bytes > 0 && std::fread(to, 1, bytes, stdin) != bytes) std::exit(4);
}

std::vector<Bytes> arrays(int count) {
  std::vector<Bytes> found;
  for (int i = 0; i < count; ++i) {
    int32_t bytes = 0;
    read(&bytes, sizeof bytes);
    found.push_back(room(static_cast<size_t>(bytes)));
    read(found.back().data, found.back().size);
  }
  return found;
}

template <typename T>
T* as(const Bytes& bytes) {
  return reinterpret_cast<T*>(bytes.data);
}

void answer(const Bytes& bytes) { std::fwrite(bytes.data, 1, bytes.size, stdout); }

void one_layer(const Variant& variant) {
  int32_t n[3];
  read(n, sizeof n);
  const std::vector<Bytes> a = arrays(5);
  const Linear layer{nullptr, as<int8_t>(a[1]), as<float>(a[2]), as<int32_t>(a[3]), as<float>(a[4]), n[1], n[2]};
  const int rows = n[0] < plain::kRows ? n[0] : plain::kRows;
  Scratch scratch{};
  scratch.levels = as<uint8_t>(room(static_cast<size_t>(rows) * n[1]));
  const Bytes out = room(sizeof(float) * n[0] * n[2]);
  variant.layer(layer, as<float>(a[0]), n[0], scratch, as<float>(out));
  answer(out);
}

void one_block(int repeats) {
  int32_t n[6];
  Block b{};
  read(n, sizeof n);
  read(&b.eps, sizeof b.eps);
  const std::vector<Bytes> a = arrays(27);
  b.x = as<float>(a[0]);
  b.cos = as<float>(a[1]);
  b.sin = as<float>(a[2]);
  b.mask = as<float>(a[3]);
  b.k = as<float>(a[4]);
  b.v = as<float>(a[5]);
  b.y = as<float>(a[6]);
  b.n = n[0];
  b.heads = n[1];
  b.width = n[2];
  b.total = n[3];
  b.rank = n[4];
  const int d = b.heads * b.width, sizes[4][2] = {{d, 3 * d}, {d, d}, {d, 4 * d}, {4 * d, d}};
  Linear* const layers[4] = {&b.qkv, &b.o, &b.expand, &b.contract};
  for (int i = 0; i < 4; ++i) {
    const Bytes* const at = &a[7 + 4 * i];
    const bool int8 = n[5] != 0;
    *layers[i] = {int8 ? nullptr : as<float>(at[0]), int8 ? as<int8_t>(at[0]) : nullptr, as<float>(at[1]),
                  as<int32_t>(at[2]), as<float>(at[3]), sizes[i][0], sizes[i][1]};
  }
  b.a = as<float>(a[23]);
  b.shift = as<float>(a[24]);
  b.b_q = as<float>(a[25]);
  b.b_v = as<float>(a[26]);
  for (int i = 0; i < repeats; ++i) run_block(b);
  for (const int place : {6, 4, 5}) answer(a[place]);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const std::string name = arguments[1];
  for (const Variant& variant : kVariants) {
    if (name == "best" ? variant.run != chosen() : name != variant.name) continue;
    if (name == "best") return std::puts(variant.name) < 0;
    if (!use(variant.instructions)) return 3;
    int32_t kind;
    while (std::fread(&kind, 1, sizeof kind, stdin) == sizeof kind) {
      if (kind == 0) one_layer(variant);
      else one_block(std::atoi(arguments[2]));
    }
    return 0;
  }
  return 3;
}
