// The C interface of physioedge_engine.h over ExecuTorch's Program and Method.
//
// Copyright the physioedge authors. SPDX-License-Identifier: Apache-2.0
#include "physioedge_engine.h"

#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/program.h>
#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#ifndef PE_ENGINE_VERSION
#define PE_ENGINE_VERSION "executorch"
#endif

namespace et = executorch::runtime;
using executorch::aten::DimOrderType;
using executorch::aten::SizesType;
using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::extension::BufferDataLoader;
using executorch::extension::MallocMemoryAllocator;

// The wheel has the library but not this header.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace {

constexpr size_t kMostLogged = 2000;
thread_local std::string last_error;
thread_local std::string logged;

// ExecuTorch tells the true cause in its log only; the codes it returns are coarse.
void keep_log(et_timestamp_t, et_pal_log_level_t level, const char*, const char*, size_t, const char* message,
              size_t length) {
  if ((level == kError || level == kFatal) && logged.size() + length < kMostLogged) {
    if (!logged.empty()) logged += "; ";
    logged.append(message, length);
  }
}

void start() {
  static std::once_flag once;
  std::call_once(once, [] {
    et::register_pal(et::PalImpl::create(keep_log, "physioedge_engine.cpp"));
    et::runtime_init();
  });
  logged.clear();
  last_error.clear();
}

int32_t fail(int32_t status, const std::string& what) {
  last_error = what;
  if (!logged.empty()) last_error += ": " + logged;
  return status;
}

int32_t fail(const std::string& what, et::Error error) {
  return fail(PE_FAILED, what + " (" + et::to_string(error) + ")");
}

struct Bound {
  void* data = nullptr;
  size_t bytes = 0;
  bool copied = false;
};

int32_t describe(const et::Result<et::TensorInfo>& info, pe_tensor* tensor) {
  if (!info.ok()) return fail(PE_BAD_ARGUMENT, "no tensor at this index");
  if (tensor == nullptr) return fail(PE_BAD_ARGUMENT, "no place for the description");
  const auto sizes = info->sizes();
  if (sizes.size() > PE_MAX_RANK) return fail(PE_BAD_ARGUMENT, "a tensor of more than PE_MAX_RANK axes");
  std::memset(tensor, 0, sizeof *tensor);
  tensor->dtype = static_cast<int32_t>(info->scalar_type());
  tensor->rank = static_cast<int32_t>(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) tensor->sizes[i] = sizes[i];
  tensor->bytes = info->nbytes();
  tensor->copied = info->is_memory_planned() ? 1 : 0;
  return PE_OK;
}

}  // namespace

struct pe_program {
  BufferDataLoader loader;
  std::unique_ptr<et::Program> program;
  pe_program(const void* data, size_t bytes) : loader(data, bytes) {}
};

struct pe_method {
  MallocMemoryAllocator method_memory;
  MallocMemoryAllocator temporary_memory;
  std::vector<std::vector<uint8_t>> arenas;
  std::vector<et::Span<uint8_t>> spans;
  std::unique_ptr<et::HierarchicalAllocator> planned;
  std::unique_ptr<et::MemoryManager> manager;
  std::unique_ptr<et::Method> method;
  std::vector<Bound> inputs;
  std::vector<Bound> outputs;

  int32_t describe_input(size_t index, pe_tensor* tensor) const {
    return describe(method->method_meta().input_tensor_meta(index), tensor);
  }
  int32_t describe_output(size_t index, pe_tensor* tensor) const {
    return describe(method->method_meta().output_tensor_meta(index), tensor);
  }
  et::Error pass_input(size_t index);
};

// Copies where the program planned memory for the input, else makes the method use the caller's buffer itself.
et::Error pe_method::pass_input(size_t index) {
  const auto info = method->method_meta().input_tensor_meta(index);
  if (!info.ok()) return info.error();
  SizesType sizes[PE_MAX_RANK];
  DimOrderType order[PE_MAX_RANK];
  const auto shape = info->sizes();
  for (size_t i = 0; i < shape.size(); ++i) {
    sizes[i] = shape[i];
    order[i] = static_cast<DimOrderType>(i);
  }
  TensorImpl impl(info->scalar_type(), static_cast<ssize_t>(shape.size()), sizes, inputs[index].data, order);
  return method->set_input(et::EValue(Tensor(&impl)), index);
}

extern "C" {

int32_t pe_abi_version(void) { return PE_ABI_VERSION; }

const char* pe_engine_version(void) { return PE_ENGINE_VERSION; }

const char* pe_last_error(void) { return last_error.c_str(); }

int32_t pe_set_threads(uint32_t threads) {
  start();
  if (threads < 1) return fail(PE_BAD_ARGUMENT, "fewer than one thread");
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr) return fail(PE_FAILED, "no thread pool");
  if (pool->get_thread_count() != threads && !pool->_unsafe_reset_threadpool(threads)) {
    return fail(PE_FAILED, "the thread pool could not be replaced");
  }
  return static_cast<int32_t>(pool->get_thread_count());
}

pe_program* pe_program_open(const void* data, size_t bytes) {
  start();
  if (data == nullptr || reinterpret_cast<uintptr_t>(data) % PE_PROGRAM_ALIGNMENT != 0) {
    fail(PE_BAD_ARGUMENT, "a program that is not aligned to 16 bytes");
    return nullptr;
  }
  if (bytes < et::Program::kMinHeadBytes ||
      et::Program::check_header(data, bytes) != et::Program::HeaderStatus::CompatibleVersion) {
    fail(PE_BAD_ARGUMENT, "no ExecuTorch program, or one of another format version");
    return nullptr;
  }
  std::unique_ptr<pe_program> opened(new (std::nothrow) pe_program(data, bytes));
  if (!opened) {
    fail(PE_FAILED, "out of memory");
    return nullptr;
  }
  auto loaded = et::Program::load(&opened->loader, et::Program::Verification::InternalConsistency);
  if (!loaded.ok()) {
    fail("the program cannot be loaded", loaded.error());
    return nullptr;
  }
  opened->program.reset(new (std::nothrow) et::Program(std::move(loaded.get())));
  return opened.release();
}

void pe_program_close(pe_program* program) { delete program; }

size_t pe_program_methods(const pe_program* program) {
  return program == nullptr ? 0 : program->program->num_methods();
}

const char* pe_program_method_name(const pe_program* program, size_t index) {
  if (index >= pe_program_methods(program)) return nullptr;
  const auto name = program->program->get_method_name(index);
  return name.ok() ? name.get() : nullptr;
}

pe_method* pe_method_open(pe_program* program, const char* name) {
  start();
  if (program == nullptr || name == nullptr) {
    fail(PE_BAD_ARGUMENT, "no program or no name");
    return nullptr;
  }
  const auto meta = program->program->method_meta(name);
  if (!meta.ok()) {
    fail(std::string("no method ") + name, meta.error());
    return nullptr;
  }
  try {
    auto opened = std::make_unique<pe_method>();
    for (size_t i = 0; i < meta->num_memory_planned_buffers(); ++i) {
      opened->arenas.emplace_back(static_cast<size_t>(meta->memory_planned_buffer_size(i).get()));
    }
    for (auto& arena : opened->arenas) opened->spans.emplace_back(arena.data(), arena.size());
    opened->planned = std::make_unique<et::HierarchicalAllocator>(
        et::Span<et::Span<uint8_t>>(opened->spans.data(), opened->spans.size()));
    opened->manager = std::make_unique<et::MemoryManager>(&opened->method_memory, opened->planned.get(),
                                                          &opened->temporary_memory);
    auto loaded = program->program->load_method(name, opened->manager.get());
    if (!loaded.ok()) {
      fail(std::string("method ") + name + " cannot be loaded", loaded.error());
      return nullptr;
    }
    opened->method = std::make_unique<et::Method>(std::move(loaded.get()));
    opened->inputs.resize(opened->method->inputs_size());
    opened->outputs.resize(opened->method->outputs_size());
    return opened.release();
  } catch (const std::bad_alloc&) {
    fail(PE_FAILED, "out of memory");
    return nullptr;
  }
}

void pe_method_close(pe_method* method) { delete method; }

size_t pe_method_inputs(const pe_method* method) { return method == nullptr ? 0 : method->inputs.size(); }

size_t pe_method_outputs(const pe_method* method) { return method == nullptr ? 0 : method->outputs.size(); }

int32_t pe_method_input(const pe_method* method, size_t index, pe_tensor* tensor) {
  start();
  if (index >= pe_method_inputs(method)) return fail(PE_BAD_ARGUMENT, "no such input");
  return method->describe_input(index, tensor);
}

int32_t pe_method_output(const pe_method* method, size_t index, pe_tensor* tensor) {
  start();
  if (index >= pe_method_outputs(method)) return fail(PE_BAD_ARGUMENT, "no such output");
  return method->describe_output(index, tensor);
}

int32_t pe_method_bind_input(pe_method* method, size_t index, const void* data, size_t bytes) {
  pe_tensor tensor;
  const int32_t status = pe_method_input(method, index, &tensor);
  if (status != PE_OK) return status;
  if (data == nullptr || bytes != tensor.bytes) {
    return fail(PE_BAD_ARGUMENT, "input " + std::to_string(index) + " takes " + std::to_string(tensor.bytes) + " bytes, not " + std::to_string(bytes));
  }
  Bound before = method->inputs[index];
  method->inputs[index] = {const_cast<void*>(data), bytes, tensor.copied == 1};
  const et::Error error = method->pass_input(index);
  if (error != et::Error::Ok) {
    method->inputs[index] = before;
    return fail("input " + std::to_string(index) + " was refused", error);
  }
  return PE_OK;
}

int32_t pe_method_bind_output(pe_method* method, size_t index, void* data, size_t bytes) {
  pe_tensor tensor;
  const int32_t status = pe_method_output(method, index, &tensor);
  if (status != PE_OK) return status;
  if (data == nullptr || bytes != tensor.bytes) {
    return fail(PE_BAD_ARGUMENT, "output " + std::to_string(index) + " gives " + std::to_string(tensor.bytes) + " bytes, not " + std::to_string(bytes));
  }
  if (tensor.copied == 0) {
    const et::Error error = method->method->set_output_data_ptr(data, bytes, index);
    if (error != et::Error::Ok) return fail("output " + std::to_string(index) + " was refused", error);
  }
  method->outputs[index] = {data, bytes, tensor.copied == 1};
  return PE_OK;
}

int32_t pe_method_run(pe_method* method) {
  start();
  if (method == nullptr) return fail(PE_BAD_ARGUMENT, "no method");
  for (size_t i = 0; i < method->inputs.size(); ++i) {
    if (method->inputs[i].data == nullptr) return fail(PE_NOT_BOUND, "input " + std::to_string(i) + " has no buffer");
    if (!method->inputs[i].copied) continue;
    const et::Error error = method->pass_input(i);
    if (error != et::Error::Ok) return fail("input " + std::to_string(i) + " was refused", error);
  }
  for (size_t i = 0; i < method->outputs.size(); ++i) {
    if (method->outputs[i].data == nullptr) return fail(PE_NOT_BOUND, "output " + std::to_string(i) + " has no buffer");
  }
  const et::Error error = method->method->execute();
  if (error != et::Error::Ok) return fail("the method failed", error);
  for (size_t i = 0; i < method->outputs.size(); ++i) {
    if (!method->outputs[i].copied) continue;
    const et::EValue& value = method->method->get_output(i);
    if (!value.isTensor() || value.toTensor().nbytes() != method->outputs[i].bytes) {
      return fail(PE_FAILED, "output " + std::to_string(i) + " is not what the program said");
    }
    std::memcpy(method->outputs[i].data, value.toTensor().const_data_ptr(), method->outputs[i].bytes);
  }
  return PE_OK;
}

int32_t pe_method_text(pe_method* method, const char** text, size_t* bytes) {
  start();
  if (method == nullptr || text == nullptr || bytes == nullptr) return fail(PE_BAD_ARGUMENT, "a null pointer");
  if (!method->inputs.empty() || method->outputs.size() != 1) return fail(PE_BAD_ARGUMENT, "this method gives no text");
  const et::Error error = method->method->execute();
  if (error != et::Error::Ok) return fail("the method failed", error);
  const et::EValue& value = method->method->get_output(0);
  if (!value.isString()) return fail(PE_BAD_ARGUMENT, "this method gives no text");
  const auto found = value.toString();
  *text = found.data();
  *bytes = found.size();
  return PE_OK;
}

}  // extern "C"
