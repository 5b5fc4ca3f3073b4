// ExecuTorch's operator physioedge::step_block over step_block.h: one block of a step graph in rows.
//
// Copyright the physioedge authors. SPDX-License-Identifier: Apache-2.0
#include "step_block.h"

#include <executorch/runtime/kernel/kernel_runtime_context.h>
#include <executorch/runtime/kernel/operator_registry.h>

#include <cstring>

namespace et = executorch::runtime;
using executorch::aten::ScalarType;
using executorch::aten::Tensor;

namespace {

constexpr const char* kName = "physioedge::step_block.out";

// Places of the arguments: five tensors of the step, four layers of four tensors, the slots, and what is written.
enum Place { kX, kCos, kSin, kMask, kPastK, kPastV, kLayers, kSlots = kLayers + 16, kEps = kSlots + 4, kY, kK, kV, kEnd };

bool is_float(const Tensor& tensor, ssize_t count) {
  return tensor.scalar_type() == ScalarType::Float && tensor.numel() == count;
}

// False unless the four tensors are a layer of this size.
bool read_layer(et::Span<et::EValue*> stack, int first, int in, int out, physioedge::Linear& layer) {
  const Tensor& weight = stack[first]->toTensor();
  const Tensor& scale = stack[first + 1]->toTensor();
  const Tensor& sums = stack[first + 2]->toTensor();
  const Tensor& bias = stack[first + 3]->toTensor();
  layer = {};
  layer.in = in;
  layer.out = out;
  if (weight.numel() != static_cast<ssize_t>(in) * out || !is_float(bias, out)) return false;
  layer.bias = bias.const_data_ptr<float>();
  if (weight.scalar_type() == ScalarType::Float) {
    layer.weight = weight.const_data_ptr<float>();
    return true;
  }
  if (weight.scalar_type() != ScalarType::Char || in % 4 || out % 16) return false;
  if (!is_float(scale, out) || sums.scalar_type() != ScalarType::Int || sums.numel() != out) return false;
  layer.levels = weight.const_data_ptr<int8_t>();
  layer.scale = scale.const_data_ptr<float>();
  layer.sums = sums.const_data_ptr<int32_t>();
  return true;
}

bool read_slots(et::Span<et::EValue*> stack, int d, physioedge::Block& block) {
  const Tensor& a = stack[kSlots]->toTensor();
  if (a.numel() == 0) return true;
  block.rank = static_cast<int>(a.numel() / (2 * d));
  const ssize_t size = static_cast<ssize_t>(block.rank) * d;
  const bool fit = is_float(a, 2 * size) && is_float(stack[kSlots + 1]->toTensor(), 2 * block.rank) &&
                   is_float(stack[kSlots + 2]->toTensor(), size) && is_float(stack[kSlots + 3]->toTensor(), size);
  if (!fit) return false;
  block.a = a.const_data_ptr<float>();
  block.shift = stack[kSlots + 1]->toTensor().const_data_ptr<float>();
  block.b_q = stack[kSlots + 2]->toTensor().const_data_ptr<float>();
  block.b_v = stack[kSlots + 3]->toTensor().const_data_ptr<float>();
  return true;
}

// False unless shapes and types are those of one block.
bool read(et::Span<et::EValue*> stack, physioedge::Block& block) {
  const Tensor& x = stack[kX]->toTensor();
  const Tensor& past = stack[kPastK]->toTensor();
  if (x.dim() != 3 || past.dim() != 4) return false;
  block = {};
  block.n = static_cast<int>(x.size(1));
  block.heads = static_cast<int>(past.size(1));
  block.total = static_cast<int>(past.size(2));
  block.width = static_cast<int>(past.size(3));
  block.eps = static_cast<float>(stack[kEps]->toDouble());
  const int d = block.heads * block.width;
  const ssize_t held = static_cast<ssize_t>(block.total) * d, turns = static_cast<ssize_t>(block.n) * block.width / 2;
  const Tensor& cos = stack[kCos]->toTensor();
  const Tensor& sin = stack[kSin]->toTensor();
  const Tensor& mask = stack[kMask]->toTensor();
  const bool fit = block.width % 8 == 0 && block.n >= 1 && block.n <= block.total &&
                   is_float(x, static_cast<ssize_t>(block.n) * d) && is_float(past, held) &&
                   is_float(stack[kPastV]->toTensor(), held) && is_float(stack[kK]->toTensor(), held) &&
                   is_float(stack[kV]->toTensor(), held) && is_float(stack[kY]->toTensor(), x.numel()) &&
                   is_float(cos, cos.numel()) && cos.numel() >= turns && is_float(sin, cos.numel()) &&
                   is_float(mask, static_cast<ssize_t>(block.n) * block.total);
  if (!fit) return false;
  const int wide = static_cast<int>(stack[kLayers + 11]->toTensor().numel());
  block.x = x.const_data_ptr<float>();
  block.cos = cos.const_data_ptr<float>();
  block.sin = sin.const_data_ptr<float>();
  block.mask = mask.const_data_ptr<float>();
  block.y = stack[kY]->toTensor().mutable_data_ptr<float>();
  block.k = stack[kK]->toTensor().mutable_data_ptr<float>();
  block.v = stack[kV]->toTensor().mutable_data_ptr<float>();
  return read_layer(stack, kLayers, d, 3 * d, block.qkv) && read_layer(stack, kLayers + 4, d, d, block.o) &&
         read_layer(stack, kLayers + 8, d, wide, block.expand) &&
         read_layer(stack, kLayers + 12, wide, d, block.contract) && read_slots(stack, d, block);
}

void keep(const Tensor& past, float* now) {
  const float* const before = past.const_data_ptr<float>();
  if (before != now) std::memcpy(now, before, past.nbytes());  // bound to the same memory, nothing is copied
}

void run(et::KernelRuntimeContext& context, et::Span<et::EValue*> stack) {
  physioedge::Block block;
  if (stack.size() < kEnd || !read(stack, block)) {
    context.fail(et::Error::InvalidArgument);
    return;
  }
  keep(stack[kPastK]->toTensor(), block.k);
  keep(stack[kPastV]->toTensor(), block.v);
  physioedge::run_block(block);
}

// Where two libraries of one process hold it, the first one counts: a second one would end the process.
[[maybe_unused]] const bool registered = [] {
  for (const et::Kernel& kernel : et::get_registered_kernels()) {
    if (std::strcmp(kernel.name_, kName) == 0) return true;
  }
  return et::register_kernel(et::Kernel(kName, run)) == et::Error::Ok;
}();

}  // namespace
