/*
 * C interface of the ExecuTorch engine: open a program that lies in memory, bind buffers, run.
 *
 * Plain C99, no dependency on Python or torch. Every function that can fail returns a status or NULL and leaves the
 * reason, with what ExecuTorch itself logged about it, in pe_last_error() of the same thread. Nothing is read from
 * files: verify the bytes first, then pass them. docs/c-api.md shows a whole program.
 *
 * Copyright the physioedge authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef PHYSIOEDGE_ENGINE_H
#define PHYSIOEDGE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PE_API __attribute__((visibility("default")))
#else
#define PE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised by one whenever a signature or a struct below changes. */
#define PE_ABI_VERSION 1
/* Largest number of axes of a tensor. */
#define PE_MAX_RANK 8
/* Alignment that the bytes of a program need. */
#define PE_PROGRAM_ALIGNMENT 16

typedef struct pe_program pe_program;
typedef struct pe_method pe_method;

enum {
  PE_OK = 0,
  PE_BAD_ARGUMENT = -1, /* an index, a name, a size or a pointer is wrong */
  PE_NOT_BOUND = -2,    /* an input or an output has no buffer */
  PE_FAILED = -3        /* ExecuTorch or a delegate failed */
};

/* Element types, with ExecuTorch's numbers. Others are reported as they are. */
enum { PE_FLOAT32 = 6 };

typedef struct pe_tensor {
  int32_t dtype;
  int32_t rank;
  int32_t sizes[PE_MAX_RANK];
  size_t bytes;
  int32_t copied; /* 1: the program has memory of its own for it, so each run copies; 0: your buffer is used itself */
} pe_tensor;

/* ABI version the library was built with; compare it with PE_ABI_VERSION. */
PE_API int32_t pe_abi_version(void);

/* ExecuTorch version and delegate the library was built against, e.g. "executorch 1.5.1, xnnpack". */
PE_API const char *pe_engine_version(void);

/* Why the last call of this thread failed. Never NULL; valid until the next call of this thread. */
PE_API const char *pe_last_error(void);

/* Threads of the whole process for all methods, at least 1. Call it while nothing runs. Returns the number in effect,
 * or a negative status. */
PE_API int32_t pe_set_threads(uint32_t threads);

/* A program over `bytes` bytes at `data`, which must stay there, unchanged, until pe_program_close, and be aligned to
 * PE_PROGRAM_ALIGNMENT. NULL on failure. */
PE_API pe_program *pe_program_open(const void *data, size_t bytes);

/* Close all methods of the program first. NULL is fine. */
PE_API void pe_program_close(pe_program *program);

PE_API size_t pe_program_methods(const pe_program *program);

/* Name of the method with this index, NULL past the end. Valid as long as the program. */
PE_API const char *pe_program_method_name(const pe_program *program, size_t index);

/* A method made ready to run: weights packed, memory planned. NULL on failure. */
PE_API pe_method *pe_method_open(pe_program *program, const char *name);

/* NULL is fine. */
PE_API void pe_method_close(pe_method *method);

PE_API size_t pe_method_inputs(const pe_method *method);
PE_API size_t pe_method_outputs(const pe_method *method);

/* Shape and type of an input or output that is a tensor; PE_BAD_ARGUMENT where it is none. */
PE_API int32_t pe_method_input(const pe_method *method, size_t index, pe_tensor *tensor);
PE_API int32_t pe_method_output(const pe_method *method, size_t index, pe_tensor *tensor);

/* Give an input or output its buffer: contiguous, of exactly pe_tensor.bytes, alive until the method is closed or the
 * place is bound anew. Bind once, then write into it before each pe_method_run. */
PE_API int32_t pe_method_bind_input(pe_method *method, size_t index, const void *data, size_t bytes);
PE_API int32_t pe_method_bind_output(pe_method *method, size_t index, void *data, size_t bytes);

/* Read the bound inputs, fill the bound outputs. One thread at a time for each method. */
PE_API int32_t pe_method_run(pe_method *method);

/* Text that a method without inputs returns, such as "contract". Valid until the method is closed. */
PE_API int32_t pe_method_text(pe_method *method, const char **text, size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
