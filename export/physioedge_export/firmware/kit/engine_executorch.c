/* A .pte program through the C interface of physioedge_engine.h. Buffers are bound once; a swap writes into them. */
#if defined(PHYSIO_EXECUTORCH)
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "json.h"
#include "physio_contract.h"
#include "physioedge_engine.h"

enum { INPUTS = PHYSIO_N_SENSORS + PHYSIO_N_SLOTS };

typedef struct session {
  void *program_bytes;
  pe_program *program;
  pe_method *forward;
  bool slots;
  float *inputs[INPUTS];
  float output[PHYSIO_N_OUTPUTS], embedding[PHYSIO_EMBEDDING_DIM];
} session;

static void close_session(void *opened) {
  session *s = opened;
  pe_method_close(s->forward);
  pe_program_close(s->program);
  for (size_t i = 0; i < INPUTS; ++i) free(s->inputs[i]);
  free(s->program_bytes);
  free(s);
}

static size_t numbers_of(size_t input) {
  if (input < PHYSIO_N_SENSORS) return (size_t)physio_sensors[input].channels * physio_sensors[input].input_samples;
  return physio_slots[input - PHYSIO_N_SENSORS].numbers;
}

/* Programs know their ends by position only: the notes tell what stands there. */
static bool right_order(pe_program *program, bool slots) {
  const char *text;
  size_t bytes, n = 0;
  physio_json notes, names, name;
  pe_method *method = pe_method_open(program, "graph_notes");
  bool right = method && !pe_method_text(method, &text, &bytes) && physio_json_check(text, bytes, &notes) &&
               physio_json_get(notes, "inputs", &names);
  for (size_t at = 0; right && physio_json_next(names, &at, NULL, &name); ++n)
    right = n < PHYSIO_N_SENSORS ? physio_json_is(name, physio_sensors[n].input)
                                 : n < INPUTS && physio_json_is(name, physio_slots[n - PHYSIO_N_SENSORS].name);
  pe_method_close(method);
  return right && n == (slots ? (size_t)INPUTS : PHYSIO_N_SENSORS);
}

static bool same_contract(pe_program *program, const char *contract, size_t contract_bytes) {
  const char *text;
  size_t bytes;
  pe_method *method = pe_method_open(program, "contract");
  bool same = method && !pe_method_text(method, &text, &bytes) && bytes == contract_bytes && !memcmp(text, contract, bytes);
  pe_method_close(method);
  return same;
}

static bool bind(session *s) {
  pe_tensor tensor;
  size_t n = s->slots ? (size_t)INPUTS : PHYSIO_N_SENSORS;
  if (pe_method_inputs(s->forward) != n || pe_method_outputs(s->forward) != 2) return false;
  for (size_t i = 0; i < n; ++i) {
    size_t bytes = numbers_of(i) * sizeof(float);
    s->inputs[i] = calloc(1, bytes);
    if (!s->inputs[i] || pe_method_input(s->forward, i, &tensor) || tensor.dtype != PE_FLOAT32) return false;
    if (pe_method_bind_input(s->forward, i, s->inputs[i], bytes)) return false;
  }
  return !pe_method_bind_output(s->forward, 0, s->output, sizeof s->output) &&
         !pe_method_bind_output(s->forward, 1, s->embedding, sizeof s->embedding);
}

static void *open_session(const uint8_t *graph, size_t bytes, bool slots, const char *contract, size_t contract_bytes,
                          char *why) {
  session *s = calloc(1, sizeof *s);
  if (!s || pe_abi_version() != PE_ABI_VERSION || pe_set_threads(1) != 1) {
    snprintf(why, PHYSIO_WHY, "another engine library than physioedge_engine.h describes");
    free(s);
    return NULL;
  }
  s->slots = slots;
  s->program_bytes = aligned_alloc(PE_PROGRAM_ALIGNMENT, (bytes + PE_PROGRAM_ALIGNMENT - 1) & ~(size_t)(PE_PROGRAM_ALIGNMENT - 1));
  if (s->program_bytes) memcpy(s->program_bytes, graph, bytes);
  s->program = s->program_bytes ? pe_program_open(s->program_bytes, bytes) : NULL;
  if (!s->program) {
    snprintf(why, PHYSIO_WHY, "%s", pe_last_error());
  } else if (!same_contract(s->program, contract, contract_bytes)) {
    snprintf(why, PHYSIO_WHY, "a graph whose contract is not the bundle's");
  } else if (!right_order(s->program, slots)) {
    snprintf(why, PHYSIO_WHY, "a graph with other inputs than the contract's");
  } else if (!(s->forward = pe_method_open(s->program, "forward")) || !bind(s)) {
    snprintf(why, PHYSIO_WHY, "a graph that cannot be bound: %s", pe_last_error());
  } else {
    return s;
  }
  close_session(s);
  return NULL;
}

static bool run_session(void *opened, const float *const *signals, const float *const *slots, float *output,
                        float *embedding, char *why) {
  session *s = opened;
  for (size_t i = 0; i < PHYSIO_N_SENSORS; ++i) memcpy(s->inputs[i], signals[i], numbers_of(i) * sizeof(float));
  for (size_t i = PHYSIO_N_SENSORS; s->slots && i < INPUTS; ++i)
    memcpy(s->inputs[i], slots[i - PHYSIO_N_SENSORS], numbers_of(i) * sizeof(float));
  if (pe_method_run(s->forward)) {
    snprintf(why, PHYSIO_WHY, "%s", pe_last_error());
    return false;
  }
  memcpy(output, s->output, sizeof s->output);
  memcpy(embedding, s->embedding, sizeof s->embedding);
  return true;
}

const physio_engine physio_executorch = {"executorch", open_session, run_session, close_session};
#else
typedef int physio_nothing_here; /* ISO C wants something in every file */
#endif
