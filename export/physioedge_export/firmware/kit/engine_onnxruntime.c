/* An ONNX model through onnxruntime's C API. The model is given as bytes: nothing is read from files. */
#if defined(PHYSIO_ONNXRUNTIME)
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "physio_contract.h"

enum { INPUTS = PHYSIO_N_SENSORS + PHYSIO_N_SLOTS };
static const OrtApi *api;

typedef struct session {
  OrtEnv *env;
  OrtSessionOptions *options;
  OrtSession *session;
  OrtMemoryInfo *memory;
  bool slots;
} session;

static bool fine(OrtStatus *status, char *why) {
  if (!status) return true;
  snprintf(why, PHYSIO_WHY, "%s", api->GetErrorMessage(status));
  api->ReleaseStatus(status);
  return false;
}

static void close_session(void *opened) {
  session *s = opened;
  if (s->session) api->ReleaseSession(s->session);
  if (s->options) api->ReleaseSessionOptions(s->options);
  if (s->memory) api->ReleaseMemoryInfo(s->memory);
  if (s->env) api->ReleaseEnv(s->env);
  free(s);
}

static bool same_contract(OrtSession *session, const char *contract, size_t contract_bytes, char *why) {
  OrtAllocator *allocator;
  OrtModelMetadata *metadata;
  char *found = NULL;
  if (!fine(api->GetAllocatorWithDefaultOptions(&allocator), why)) return false;
  if (!fine(api->SessionGetModelMetadata(session, &metadata), why)) return false;
  bool read = fine(api->ModelMetadataLookupCustomMetadataMap(metadata, allocator, "physioedge.contract", &found), why);
  bool same = read && found && strlen(found) == contract_bytes && !memcmp(found, contract, contract_bytes);
  if (read && !same) snprintf(why, PHYSIO_WHY, "a graph whose contract is not the bundle's");
  if (found) allocator->Free(allocator, found);
  api->ReleaseModelMetadata(metadata);
  return same;
}

static void *open_session(const uint8_t *graph, size_t bytes, bool slots, const char *contract, size_t contract_bytes,
                          char *why) {
  session *s = calloc(1, sizeof *s);
  if (!api) api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (!s || !api) {
    snprintf(why, PHYSIO_WHY, "onnxruntime %s, older than its header", OrtGetApiBase()->GetVersionString());
    free(s);
    return NULL;
  }
  s->slots = slots;
  if (fine(api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "physioedge", &s->env), why) &&
      fine(api->CreateSessionOptions(&s->options), why) && fine(api->SetIntraOpNumThreads(s->options, 1), why) &&
      fine(api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &s->memory), why) &&
      fine(api->CreateSessionFromArray(s->env, graph, bytes, s->options, &s->session), why) &&
      same_contract(s->session, contract, contract_bytes, why))
    return s;
  close_session(s);
  return NULL;
}

static bool tensor(session *s, const float *data, const int64_t *shape, size_t axes, OrtValue **value, char *why) {
  size_t bytes = sizeof(float);
  for (size_t i = 0; i < axes; ++i) bytes *= (size_t)shape[i];
  /* an input is only read */
  return fine(api->CreateTensorWithDataAsOrtValue(s->memory, (void *)(uintptr_t)data, bytes, shape, axes,
                                                  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, value), why);
}

static bool copy_output(OrtValue *value, float *target, size_t numbers, char *why) {
  OrtTensorTypeAndShapeInfo *info;
  size_t found = 0;
  void *data;
  if (!fine(api->GetTensorTypeAndShape(value, &info), why)) return false;
  bool right = fine(api->GetTensorShapeElementCount(info, &found), why) && found == numbers;
  api->ReleaseTensorTypeAndShapeInfo(info);
  if (!right || !fine(api->GetTensorMutableData(value, &data), why)) return false;
  memcpy(target, data, numbers * sizeof(float));
  return true;
}

static bool run_session(void *opened, const float *const *signals, const float *const *slots, float *output,
                        float *embedding, char *why) {
  session *s = opened;
  const char *names[INPUTS], *const outputs[2] = {PHYSIO_OUTPUT, "embedding"};
  OrtValue *inputs[INPUTS] = {NULL}, *results[2] = {NULL, NULL};
  size_t n = s->slots ? (size_t)INPUTS : PHYSIO_N_SENSORS;
  bool good = true;
  for (size_t i = 0; good && i < n; ++i) {
    if (i < PHYSIO_N_SENSORS) {
      const int64_t shape[3] = {1, physio_sensors[i].channels, physio_sensors[i].input_samples};
      names[i] = physio_sensors[i].input;
      good = tensor(s, signals[i], shape, 3, &inputs[i], why);
    } else {
      const physio_slot *slot = &physio_slots[i - PHYSIO_N_SENSORS];
      int64_t shape[PHYSIO_MAX_SLOT_AXES];
      for (size_t axis = 0; axis < slot->axes; ++axis) shape[axis] = slot->shape[axis];
      names[i] = slot->name;
      good = tensor(s, slots[i - PHYSIO_N_SENSORS], shape, slot->axes, &inputs[i], why);
    }
  }
  good = good && fine(api->Run(s->session, NULL, names, (const OrtValue *const *)inputs, n, outputs, 2, results), why) &&
         copy_output(results[0], output, PHYSIO_N_OUTPUTS, why) &&
         copy_output(results[1], embedding, PHYSIO_EMBEDDING_DIM, why);
  for (size_t i = 0; i < n; ++i)
    if (inputs[i]) api->ReleaseValue(inputs[i]);
  for (size_t i = 0; i < 2; ++i)
    if (results[i]) api->ReleaseValue(results[i]);
  return good;
}

const physio_engine physio_onnxruntime = {"onnxruntime", open_session, run_session, close_session};
#else
typedef int physio_nothing_here; /* ISO C wants something in every file */
#endif
