#include "bundle.h"

#include <stdio.h>
#include <string.h>

#include "sha256.h"
#include "signature.h"

enum { LOCAL_BYTES = 30, CENTRAL_BYTES = 46, END_BYTES = 22, SIGNATURE_BYTES = 154, MOST_MANIFEST = 1 << 20 };
static const size_t most_bytes = 512u << 20;

static bool refuse(physio_bundle *b, const char *why) {
  snprintf(b->why, sizeof b->why, "%s", why);
  b->n_files = 0;
  return false;
}

static void put16(uint8_t *at, unsigned value) { at[0] = (uint8_t)value, at[1] = (uint8_t)(value >> 8); }
static void put32(uint8_t *at, uint32_t value) { put16(at, value & 0xffff), put16(at + 2, value >> 16); }
static unsigned get16(const uint8_t *at) { return at[0] | (unsigned)at[1] << 8; }
static uint32_t get32(const uint8_t *at) { return get16(at) | (uint32_t)get16(at + 2) << 16; }

static bool letter(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/* Section 1, names: parts of letters, digits, dots, underscores and dashes, each beginning with a letter or digit. */
static bool good_name(const char *name, size_t n) {
  bool first = true;
  for (size_t i = 0; i < n; ++i) {
    if (name[i] == '/' ? first : !letter(name[i]) && (first || !memchr("._-", name[i], 3))) return false;
    first = name[i] == '/';
  }
  return n > 0 && n <= PHYSIO_MAX_NAME && !first;
}

static bool is_name(const physio_file *file, const char *name) {
  return file->name_bytes == strlen(name) && !memcmp(file->name, name, file->name_bytes);
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool same_but_case(const physio_file *a, const physio_file *b) {
  if (a->name_bytes != b->name_bytes) return false;
  for (size_t i = 0; i < a->name_bytes; ++i)
    if (lower(a->name[i]) != lower(b->name[i])) return false;
  return true;
}

/* Below 0 where a sorts before b, byte by byte. */
static int order(const physio_file *a, const physio_file *b) {
  size_t n = a->name_bytes < b->name_bytes ? a->name_bytes : b->name_bytes;
  int found = memcmp(a->name, b->name, n);
  return found ? found : (a->name_bytes > b->name_bytes) - (a->name_bytes < b->name_bytes);
}

static void local_header(uint8_t header[LOCAL_BYTES], const physio_file *file) {
  memset(header, 0, LOCAL_BYTES);
  put32(header, 0x04034b50);
  put16(header + 4, 10);
  put16(header + 12, 0x21);
  put32(header + 14, file->crc);
  put32(header + 18, (uint32_t)file->bytes);
  put32(header + 22, (uint32_t)file->bytes);
  put16(header + 26, (unsigned)file->name_bytes);
}

static void central_record(uint8_t record[CENTRAL_BYTES], const physio_file *file, size_t offset) {
  memset(record, 0, CENTRAL_BYTES);
  put32(record, 0x02014b50);
  put16(record + 4, 10);
  put16(record + 6, 10);
  put16(record + 14, 0x21);
  put32(record + 16, file->crc);
  put32(record + 20, (uint32_t)file->bytes);
  put32(record + 24, (uint32_t)file->bytes);
  put16(record + 28, (unsigned)file->name_bytes);
  put32(record + 42, (uint32_t)offset);
}

/* One local header and its content at `offset`. */
static bool read_local(physio_bundle *b, const uint8_t *bytes, size_t size, size_t *offset) {
  uint8_t header[LOCAL_BYTES];
  const uint8_t *at = bytes + *offset;
  if (size - *offset < LOCAL_BYTES) return refuse(b, "the file ends inside a header");
  if (b->n_files == PHYSIO_MAX_FILES) return refuse(b, "more than 64 files");
  physio_file file = {(const char *)at + LOCAL_BYTES, get16(at + 26), NULL, get32(at + 22), get32(at + 14)};
  if (size - *offset - LOCAL_BYTES < file.name_bytes || size - *offset - LOCAL_BYTES - file.name_bytes < file.bytes)
    return refuse(b, "a file that is not inside the bundle");
  local_header(header, &file);
  if (memcmp(header, at, LOCAL_BYTES)) return refuse(b, "a header that is not of the one form");
  if (!good_name(file.name, file.name_bytes)) return refuse(b, "a name that is not allowed");
  file.data = at + LOCAL_BYTES + file.name_bytes;
  b->files[b->n_files++] = file;
  *offset += LOCAL_BYTES + file.name_bytes + file.bytes;
  return true;
}

static bool check_names(physio_bundle *b) {
  if (b->n_files < 2 || !is_name(&b->files[0], "manifest.json") || !is_name(&b->files[1], "manifest.sig"))
    return refuse(b, "a bundle that does not begin with its manifest and signature");
  for (size_t i = 0; i < b->n_files; ++i)
    for (size_t j = i + 1; j < b->n_files; ++j)
      if (same_but_case(&b->files[i], &b->files[j])) return refuse(b, "a name twice");
  for (size_t i = 3; i < b->n_files; ++i)
    if (order(&b->files[i - 1], &b->files[i]) >= 0) return refuse(b, "names that are not sorted");
  return true;
}

/* Section 1: the directory is not searched for; what it must be follows from the local headers. */
static bool read_container(physio_bundle *b, const uint8_t *bytes, size_t size) {
  size_t offset = 0, start;
  uint8_t record[CENTRAL_BYTES];
  if (size > most_bytes) return refuse(b, "more than 512 MiB");
  while (size - offset < 4 || get32(bytes + offset) != 0x02014b50)
    if (!read_local(b, bytes, size, &offset)) return false;
  if (!check_names(b)) return false;
  start = offset;
  for (size_t i = 0, local = 0; i < b->n_files; ++i) {
    const physio_file *file = &b->files[i];
    central_record(record, file, local);
    if (size - offset < CENTRAL_BYTES + file->name_bytes || memcmp(bytes + offset, record, CENTRAL_BYTES) ||
        memcmp(bytes + offset + CENTRAL_BYTES, file->name, file->name_bytes))
      return refuse(b, "a directory that does not match the files");
    offset += CENTRAL_BYTES + file->name_bytes;
    local += LOCAL_BYTES + file->name_bytes + file->bytes;
  }
  uint8_t end[END_BYTES] = {0};
  put32(end, 0x06054b50);
  put16(end + 8, (unsigned)b->n_files);
  put16(end + 10, (unsigned)b->n_files);
  put32(end + 12, (uint32_t)(offset - start));
  put32(end + 16, (uint32_t)start);
  if (size - offset != END_BYTES || memcmp(bytes + offset, end, END_BYTES)) return refuse(b, "an end that is not its own");
  return true;
}

static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* 86 digits and "==" make 64 bytes; the four bits that are left over must be zero. */
static bool decode_signature(const char text[88], uint8_t signature[64]) {
  uint32_t held = 0;
  for (size_t i = 0, n = 0; i < 86; ++i) {
    int digit = base64_digit(text[i]);
    if (digit < 0) return false;
    held = held << 6 | (uint32_t)digit;
    if (i % 4 != 0 && n < 64) signature[n++] = (uint8_t)(held >> (6 - 2 * (i % 4)));
  }
  return !(held & 0xf) && text[86] == '=' && text[87] == '=';
}

/* Section 2. The bundle carries no key: `key` is what this device trusts. */
static bool check_signature(physio_bundle *b, const uint8_t key[32]) {
  static const char head[] = "{\"algorithm\":\"ed25519\",\"key_id\":\"", middle[] = "\",\"signature\":\"";
  const physio_file *manifest = &b->files[0], *file = &b->files[1];
  const char *text = (const char *)file->data;
  uint8_t key_digest[32], signature[64];
  char id[17];
  if (manifest->bytes > MOST_MANIFEST) return refuse(b, "a manifest of more than 1 MiB");
  const size_t id_at = sizeof head - 1, middle_at = id_at + 16, signature_at = middle_at + sizeof middle - 1;
  if (file->bytes != SIGNATURE_BYTES || memcmp(text, head, id_at) || memcmp(text + middle_at, middle, sizeof middle - 1) ||
      memcmp(text + SIGNATURE_BYTES - 2, "\"}", 2) || !decode_signature(text + signature_at, signature))
    return refuse(b, "a signature that is not of the one form");
  physio_sha256(key, 32, key_digest);
  for (size_t i = 0; i < 8; ++i) snprintf(id + 2 * i, 3, "%02x", key_digest[i]);
  if (memcmp(text + id_at, id, 16)) return refuse(b, "signed by a key that is not trusted here");
  if (!physio_signature_fits(signature, manifest->data, manifest->bytes, key))
    return refuse(b, "a signature that does not fit the manifest");
  return true;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static bool is_digest(physio_json text, const uint8_t digest[32]) {
  if (text.n != 66) return false;
  for (size_t i = 0; i < 32; ++i) {
    int high = hex_digit(text.at[1 + 2 * i]), low = hex_digit(text.at[2 + 2 * i]);
    if (high < 0 || low < 0 || (high << 4 | low) != digest[i]) return false;
  }
  return true;
}

static const physio_file *named(const physio_bundle *b, physio_json name) {
  return physio_json_kind(name) == '"' ? physio_bundle_file(b, name.at + 1, name.n - 2) : NULL;
}

static bool has_keys(physio_json object, size_t n, const char *const *keys) {
  physio_json value;
  if (physio_json_kind(object) != '{' || physio_json_count(object) != n) return false;
  for (size_t i = 0; i < n; ++i)
    if (!physio_json_get(object, keys[i], &value)) return false;
  return true;
}

static bool one_of(physio_json text, const char *const *known) {
  for (; *known; ++known)
    if (physio_json_is(text, *known)) return true;
  return false;
}

/* Section 6: one graph, and whether it is another than those before it. */
static bool read_graph(physio_bundle *b, physio_json row, bool contract_steps, bool contract_slots) {
  static const char *const keys[] = {"file", "engine", "precision", "adapters", "tolerance", "mode"};
  static const char *const engines[] = {"onnxruntime", "executorch", NULL};
  static const char *const precisions[] = {"fp32", "int8", "int8_static", NULL};
  static const char *const forms[] = {"merged", "slots", NULL};
  static const char *const modes[] = {"window", "step", NULL};
  physio_json file, tolerance, mode, value;
  bool has_mode = physio_json_get(row, "mode", &mode);
  if (b->n_graphs == PHYSIO_MAX_GRAPHS || !has_keys(row, has_mode ? 6 : 5, keys)) return false;
  physio_graph *g = &b->graphs[b->n_graphs];
  physio_json_get(row, "file", &file), physio_json_get(row, "engine", &g->engine);
  physio_json_get(row, "precision", &g->precision), physio_json_get(row, "adapters", &g->adapters);
  physio_json_get(row, "tolerance", &tolerance);
  if (!(g->file = named(b, file)) || !one_of(g->engine, engines) || !one_of(g->precision, precisions)) return false;
  if (!one_of(g->adapters, forms) || (has_mode && (!one_of(mode, modes) || !contract_steps))) return false;
  g->slots = physio_json_is(g->adapters, "slots"), g->step = has_mode && physio_json_is(mode, "step");
  if (g->slots && !contract_slots) return false;
  if (physio_json_kind(tolerance) != '{' || physio_json_count(tolerance) != 2) return false;
  if (!physio_json_get(tolerance, b->output_name, &value) || !physio_json_number(value, &g->output_tolerance)) return false;
  if (!physio_json_get(tolerance, "embedding", &value) || !physio_json_number(value, &g->embedding_tolerance)) return false;
  if (!(g->output_tolerance > 0 && g->output_tolerance <= 100)) return false;
  if (!(g->embedding_tolerance > 0 && g->embedding_tolerance <= 100)) return false;
  for (size_t i = 0; i < b->n_graphs; ++i) {
    const physio_graph *o = &b->graphs[i];
    bool same = physio_json_same(o->engine, g->engine) && physio_json_same(o->precision, g->precision);
    if (o->file == g->file || (same && o->slots == g->slots && o->step == g->step)) return false;
  }
  ++b->n_graphs;
  return true;
}

static bool read_graphs(physio_bundle *b) {
  physio_json graphs, row, labels, slots, version;
  size_t schema = 0;
  physio_json_get(b->manifest, "contract", &b->contract);
  physio_json_get(b->manifest, "graphs", &graphs);
  bool classifies = physio_json_get(b->contract, "labels", &labels) && physio_json_count(labels) > 0;
  b->output_name = classifies ? "logits" : "values";
  if (!physio_json_get(b->contract, "schema_version", &version) || !physio_json_whole(version, &schema) || schema > 3)
    return false;
  bool has_slots = physio_json_get(b->contract, "slots", &slots) && physio_json_count(slots) > 0;
  for (size_t place = 0; physio_json_next(graphs, &place, NULL, &row);)
    if (!read_graph(b, row, schema == 3, has_slots)) return false;
  return physio_json_kind(graphs) == '[' && b->n_graphs > 0;
}

/* Golden vectors, licence and model card: files of the bundle, none of them twice and none of them a graph. */
static bool read_purposes(physio_bundle *b) {
  static const char *const golden_keys[] = {"file", "windows"}, *const licence_keys[] = {"spdx", "file"};
  physio_json golden, licence, card, value, spdx;
  const physio_file *files[3];
  physio_json_get(b->manifest, "golden", &golden), physio_json_get(b->manifest, "licence", &licence);
  physio_json_get(b->manifest, "model_card", &card);
  if (!has_keys(golden, 2, golden_keys) || !has_keys(licence, 2, licence_keys)) return false;
  physio_json_get(golden, "windows", &value), physio_json_get(licence, "spdx", &spdx);
  if (!physio_json_whole(value, &b->golden_windows) || b->golden_windows < 1 || b->golden_windows > 64) return false;
  if (physio_json_kind(spdx) != '"') return false;
  physio_json_get(golden, "file", &value), files[0] = b->golden = named(b, value);
  physio_json_get(licence, "file", &value), files[1] = named(b, value);
  files[2] = named(b, card);
  for (size_t i = 0; i < 3; ++i) {
    if (!files[i] || files[i] == files[(i + 1) % 3]) return false;
    for (size_t j = 0; j < b->n_graphs; ++j)
      if (files[i] == b->graphs[j].file) return false;
  }
  return true;
}

static bool read_provenance(const physio_bundle *b) {
  physio_json provenance, subjects, subject, info;
  if (!physio_json_get(b->manifest, "provenance", &provenance) || physio_json_kind(provenance) != '{') return false;
  if (!physio_json_get(b->manifest, "task_info", &info) || physio_json_kind(info) != '{') return false;
  if (!physio_json_get(provenance, "training_subjects", &subjects) || physio_json_kind(subjects) != '[') return false;
  for (size_t place = 0; physio_json_next(subjects, &place, NULL, &subject);)
    if (physio_json_kind(subject) != '"') return false;
  return true;
}

/* Section 3. */
static bool read_manifest(physio_bundle *b) {
  static const char *const keys[] = {"schema_version", "name", "version", "contract", "graphs", "files",
                                     "golden", "licence", "model_card", "provenance", "task_info"};
  const physio_file *file = &b->files[0];
  physio_json value, files;
  size_t schema = 0;
  if (!physio_json_check((const char *)file->data, file->bytes, &b->manifest)) return refuse(b, "a manifest that is no JSON");
  if (!physio_json_get(b->manifest, "schema_version", &value) || !physio_json_whole(value, &schema))
    return refuse(b, "a manifest without a schema");
  if (schema != 1) return refuse(b, "a manifest of a newer schema");
  if (!has_keys(b->manifest, sizeof keys / sizeof *keys, keys)) return refuse(b, "a manifest with other keys");
  physio_json_get(b->manifest, "files", &files);
  bool texts = physio_json_get(b->manifest, "name", &value) && physio_json_kind(value) == '"' &&
               physio_json_get(b->manifest, "version", &value) && physio_json_kind(value) == '"';
  if (!texts || physio_json_kind(files) != '{') return refuse(b, "a manifest with values of other kinds");
  if (!read_graphs(b)) return refuse(b, "graphs that are not as they must be");
  if (!read_purposes(b)) return refuse(b, "golden vectors, licence or model card that are not as they must be");
  return read_provenance(b) || refuse(b, "a provenance without training subjects");
}

/* The files are exactly those listed, each with the size and digest listed. */
static bool check_digests(physio_bundle *b) {
  static const char *const keys[] = {"sha256", "bytes"};
  physio_json files, name, entry, value;
  uint8_t digest[32];
  size_t listed = 0, bytes;
  physio_json_get(b->manifest, "files", &files);
  for (size_t place = 0; physio_json_next(files, &place, &name, &entry); ++listed) {
    const physio_file *file = named(b, name);
    if (!file || file < b->files + 2 || !has_keys(entry, 2, keys)) return refuse(b, "a listed file that is not there");
    physio_json_get(entry, "bytes", &value);
    if (!physio_json_whole(value, &bytes) || bytes != file->bytes) return refuse(b, "a file of another size");
    physio_sha256(file->data, file->bytes, digest);
    physio_json_get(entry, "sha256", &value);
    if (!is_digest(value, digest)) return refuse(b, "a file with another digest");
  }
  return listed == b->n_files - 2 || refuse(b, "a file that is not listed");
}

static uint32_t crc32(const uint8_t *data, size_t bytes) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < bytes; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

bool physio_bundle_open(physio_bundle *b, const uint8_t *bytes, size_t size, const uint8_t key[32]) {
  memset(b, 0, sizeof *b);
  if (!read_container(b, bytes, size) || !check_signature(b, key)) return false;
  if (!read_manifest(b) || !check_digests(b)) return false;
  for (size_t i = 0; i < b->n_files; ++i)
    if (crc32(b->files[i].data, b->files[i].bytes) != b->files[i].crc) return refuse(b, "a file with another CRC");
  physio_sha256(b->files[0].data, b->files[0].bytes, b->digest);
  return true;
}

const physio_file *physio_bundle_file(const physio_bundle *b, const char *name, size_t name_bytes) {
  for (size_t i = 0; i < b->n_files; ++i)
    if (b->files[i].name_bytes == name_bytes && !memcmp(b->files[i].name, name, name_bytes)) return &b->files[i];
  return NULL;
}
