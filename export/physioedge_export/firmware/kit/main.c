/* A bundle on a device, from its bytes to a label: verify, load, prove the engine, judge.
 *
 *   firmware BUNDLE...           everything; exit code 0 when all that could be run agrees
 *   firmware --check BUNDLE...   signature, digests and manifest alone
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bundle.h"
#include "engine.h"
#include "physio_contract.h"
#include "physio_golden.h"
#include "physio_key.h"
#include "physio_resampler.h"
#include "resampler.h"
#include "sha256.h"
#include "signature.h"
#include "tensors.h"

static const physio_engine *const engines[] = {
#if defined(PHYSIO_EXECUTORCH)
    &physio_executorch,
#endif
#if defined(PHYSIO_ONNXRUNTIME)
    &physio_onnxruntime,
#endif
    NULL};

static float *signals[PHYSIO_N_SENSORS]; /* all golden windows of a sensor, one after the other */
static float *adapter[PHYSIO_N_SLOTS + 1], *zeros[PHYSIO_N_SLOTS + 1];
static bool has_adapter;

static uint8_t *read_file(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  long size;
  if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0) return NULL;
  uint8_t *data = malloc((size_t)size + 1);
  rewind(file);
  *bytes = data ? fread(data, 1, (size_t)size, file) : 0;
  fclose(file);
  return data;
}

static size_t numbers_of(size_t sensor) {
  return (size_t)physio_sensors[sensor].channels * physio_sensors[sensor].input_samples;
}

/* What the exporter computed with a graph, into buffers of all windows. */
static bool read_outputs(const physio_bundle *b, const physio_graph *g, const physio_tensors *golden, bool adapted,
                         float *outputs, float *embeddings) {
  char name[PHYSIO_MAX_NAME + 40];
  const char *prefix = adapted ? "adapted_" : "";
  int file_bytes = (int)g->file->name_bytes;
  snprintf(name, sizeof name, "%.*s/%s" PHYSIO_OUTPUT, file_bytes, g->file->name, prefix);
  if (!physio_tensors_read(golden, name, outputs, b->golden_windows * PHYSIO_N_OUTPUTS)) return false;
  snprintf(name, sizeof name, "%.*s/%sembedding", file_bytes, g->file->name, prefix);
  return physio_tensors_read(golden, name, embeddings, b->golden_windows * PHYSIO_EMBEDDING_DIM);
}

/* Section 5: the outputs of every graph are there, also of those that are not run here, and nothing else is. */
static bool check_outputs(const physio_bundle *b, const physio_tensors *golden) {
  size_t wanted = PHYSIO_N_SENSORS + (has_adapter ? PHYSIO_N_SLOTS : 0);
  float *outputs = malloc(b->golden_windows * PHYSIO_N_OUTPUTS * sizeof(float));
  float *embeddings = malloc(b->golden_windows * PHYSIO_EMBEDDING_DIM * sizeof(float));
  bool good = outputs && embeddings;
  for (size_t i = 0; i < b->n_graphs; ++i)
    for (int adapted = 0; adapted <= (b->graphs[i].slots && has_adapter); ++adapted, wanted += 2)
      good = good && read_outputs(b, &b->graphs[i], golden, adapted, outputs, embeddings);
  free(outputs), free(embeddings);
  return good && physio_json_count(golden->header) - physio_tensors_has(golden, "__metadata__") == wanted;
}

/* Inputs of the golden check, out of the bundle. */
static bool load_golden(const physio_bundle *b, physio_tensors *golden) {
  char name[200];
  if (!physio_tensors_open(golden, b->golden->data, b->golden->bytes)) return false;
  for (size_t i = 0; i < PHYSIO_N_SENSORS; ++i) {
    signals[i] = malloc(b->golden_windows * numbers_of(i) * sizeof(float));
    if (!signals[i] || !physio_tensors_read(golden, physio_sensors[i].input, signals[i], b->golden_windows * numbers_of(i)))
      return false;
  }
  for (int i = 0; i < PHYSIO_N_SLOTS; ++i) {
    adapter[i] = calloc(physio_slots[i].numbers, sizeof(float));
    zeros[i] = calloc(physio_slots[i].numbers, sizeof(float));
    snprintf(name, sizeof name, "adapter/%s", physio_slots[i].name);
    if (!adapter[i] || !zeros[i]) return false;
    if (i == 0) has_adapter = physio_tensors_has(golden, name);
    if (has_adapter && !physio_tensors_read(golden, name, adapter[i], physio_slots[i].numbers)) return false;
  }
  return check_outputs(b, golden);
}

/* The vectors that are compiled in are those of the bundle this kit was made from. */
static bool compare_compiled(const physio_bundle *b) {
  uint8_t digest[32];
  physio_sha256(b->golden->data, b->golden->bytes, digest);
  if (memcmp(digest, physio_golden_digest, 32)) {
    printf("vectors      of another bundle than those compiled in: the bundle's are used\n");
    return true;
  }
  for (size_t i = 0; i < PHYSIO_N_SENSORS; ++i)
    if (memcmp(signals[i], physio_golden_signals[i], PHYSIO_GOLDEN_WINDOWS * numbers_of(i) * sizeof(float))) return false;
  for (int i = 0; has_adapter && i < PHYSIO_N_SLOTS; ++i)
    if (memcmp(adapter[i], physio_golden_adapter + physio_slots[i].offset, physio_slots[i].numbers * sizeof(float)))
      return false;
  printf("vectors      %d windows compiled in, equal to the bundle's\n", PHYSIO_GOLDEN_WINDOWS);
  return true;
}

typedef struct found {
  double output, embedding, ms;
  bool finite;
} found;

static void compare(const float *is, const float *should, size_t n, double *largest, bool *finite) {
  for (size_t i = 0; i < n; ++i) {
    double difference = fabs((double)is[i] - should[i]);
    *finite = *finite && isfinite(is[i]);
    if (difference > *largest) *largest = difference;
  }
}

/* Every golden window through a graph, against what the exporter computed. */
static bool run_windows(const physio_engine *engine, void *session, const physio_bundle *b, const physio_graph *g,
                        const physio_tensors *golden, bool adapted, found *f, char *why) {
  size_t n = b->golden_windows;
  float *outputs = malloc(n * PHYSIO_N_OUTPUTS * sizeof(float)), *embeddings = malloc(n * PHYSIO_EMBEDDING_DIM * sizeof(float));
  float output[PHYSIO_N_OUTPUTS], embedding[PHYSIO_EMBEDDING_DIM];
  *f = (found){0, 0, 0, true};
  bool good = outputs && embeddings && read_outputs(b, g, golden, adapted, outputs, embeddings);
  for (size_t window = 0; good && window < n; ++window) {
    const float *inputs[PHYSIO_N_SENSORS];
    for (size_t i = 0; i < PHYSIO_N_SENSORS; ++i) inputs[i] = signals[i] + window * numbers_of(i);
    clock_t began = clock();
    good = engine->run(session, inputs, (const float *const *)(adapted ? adapter : zeros), output, embedding, why);
    double ms = 1000.0 * (double)(clock() - began) / CLOCKS_PER_SEC;
    if (window == 0 || ms < f->ms) f->ms = ms; /* the first run warms up */
    if (!good) break;
    compare(output, outputs + window * PHYSIO_N_OUTPUTS, PHYSIO_N_OUTPUTS, &f->output, &f->finite);
    compare(embedding, embeddings + window * PHYSIO_EMBEDDING_DIM, PHYSIO_EMBEDDING_DIM, &f->embedding, &f->finite);
  }
  free(outputs), free(embeddings);
  return good;
}

static bool try_graph(const physio_engine *engine, const physio_bundle *b, const physio_graph *g, const physio_tensors *golden) {
  char why[PHYSIO_WHY] = "";
  int name_bytes = (int)g->file->name_bytes;
  void *session = engine->open(g->file->data, g->file->bytes, g->slots, b->contract.at, b->contract.n, why);
  bool good = session != NULL;
  for (int adapted = 0; good && adapted <= (g->slots && has_adapter); ++adapted) {
    found f;
    good = run_windows(engine, session, b, g, golden, adapted, &f, why);
    if (!good) break;
    good = f.finite && f.output <= g->output_tolerance && f.embedding <= g->embedding_tolerance;
    printf("%-12s %.*s%s: " PHYSIO_OUTPUT " %.3g (limit %.3g), embedding %.3g (limit %.3g), %.2f ms  %s\n", engine->name,
           name_bytes, g->file->name, adapted ? " adapted" : "", f.output, g->output_tolerance, f.embedding,
           g->embedding_tolerance, f.ms, good ? "ok" : "OUT OF TOLERANCE");
    why[0] = 0;
  }
  if (!good && why[0]) printf("%-12s %.*s: REFUSED, %s\n", engine->name, name_bytes, g->file->name, why);
  if (session) engine->close(session);
  return good;
}

static bool try_graphs(const physio_bundle *b, const physio_tensors *golden, size_t *tried) {
  bool good = true;
  for (size_t i = 0; i < b->n_graphs; ++i) {
    const physio_graph *g = &b->graphs[i];
    const physio_engine *engine = NULL;
    for (size_t j = 0; engines[j]; ++j)
      if (physio_json_is(g->engine, engines[j]->name)) engine = engines[j];
    if (!engine || g->step) {
      printf("not tried    %.*s: %s\n", (int)g->file->name_bytes, g->file->name,
             engine ? "a step graph, see docs/incremental.md" : "its engine is not built in");
      continue;
    }
    ++*tried;
    good = try_graph(engine, b, g, golden) && good;
  }
  return good;
}

/* The rate converters of this kit, against what the runtime gives. */
static bool try_resamplers(void) {
  bool good = true;
  for (int i = 0; i < PHYSIO_N_BANKS; ++i) {
    const physio_bank *bank = &physio_banks[i];
    const physio_resampling *should = &physio_resamplings[i];
    float *ring = malloc(bank->taps * sizeof(float)), *out = malloc((should->n_out + bank->up / bank->down + 2) * sizeof(float));
    physio_resampler r;
    size_t n = 0, more;
    double largest = 0;
    bool finite = ring && out;
    if (!finite) return false;
    physio_resampler_reset(&r, bank, ring);
    for (size_t k = 0; k < should->n_in && n <= should->n_out; ++k) n += physio_resampler_push(&r, should->in[k], out + n);
    while (n < should->n_out && (more = physio_resampler_flush(&r, out + n))) n += more;
    if (n == should->n_out && !physio_resampler_flush(&r, out + n)) compare(out, should->out, n, &largest, &finite);
    else finite = false;
    bool right = finite && largest <= PHYSIO_RESAMPLING_LIMIT;
    printf("resampler    %s %g to %g Hz: %zu samples, %.3g (limit %.3g)  %s\n", bank->sensor, bank->from_hz, bank->to_hz, n,
           largest, PHYSIO_RESAMPLING_LIMIT, right ? "ok" : "OUT OF TOLERANCE");
    good = good && right;
    free(ring), free(out);
  }
  return good;
}

static int use(const uint8_t *bytes, size_t size, bool check) {
  static physio_bundle bundle; /* 3 KB: not for a small stack */
  physio_tensors golden;
  uint8_t digest[32];
  size_t tried = 0;
  if (!physio_bundle_open(&bundle, bytes, size, physio_key)) {
    printf("refused      %s\n", bundle.why);
    return 1;
  }
  printf("verified     %zu files, %zu bytes, with %s; digest ", bundle.n_files, size, physio_signature_library());
  for (size_t i = 0; i < 32; ++i) printf("%02x", bundle.digest[i]);
  printf("\n");
  if (check) return 0;
  physio_sha256((const uint8_t *)bundle.contract.at, bundle.contract.n, digest);
  if (memcmp(digest, physio_contract_digest, 32)) {
    printf("refused      a bundle for another contract than the one compiled in: make the kit again\n");
    return 1;
  }
  printf("contract     the one compiled in: " PHYSIO_TASK "\n");
  if (!load_golden(&bundle, &golden) || !compare_compiled(&bundle)) {
    printf("refused      golden vectors that are not as they must be\n");
    return 1;
  }
  bool good = try_graphs(&bundle, &golden, &tried);
  good = try_resamplers() && good;
  if (!tried) printf("refused      no graph could be tried: build with an engine\n");
  printf("%s\n", good && tried ? "all agree" : "NOT to be used on this device");
  return good && tried ? 0 : 1;
}

static void forget(void) {
  for (size_t i = 0; i < PHYSIO_N_SENSORS; ++i) free(signals[i]), signals[i] = NULL;
  for (int i = 0; i < PHYSIO_N_SLOTS; ++i) free(adapter[i]), free(zeros[i]), adapter[i] = zeros[i] = NULL;
}

int main(int argc, char **argv) {
  bool check = argc > 1 && !strcmp(argv[1], "--check");
  int first = 1 + check, code = 0;
  if (argc <= first) {
    fprintf(stderr, "usage: %s [--check] BUNDLE...\n", argv[0]);
    return 2;
  }
  for (int i = first; i < argc; ++i) {
    size_t size = 0;
    uint8_t *bytes = read_file(argv[i], &size);
    if (!bytes) {
      fprintf(stderr, "%s cannot be read\n", argv[i]);
      return 2;
    }
    if (argc - first > 1) printf("bundle       %s\n", argv[i]);
    code |= use(bytes, size, check);
    forget();
    free(bytes);
  }
  return code;
}
