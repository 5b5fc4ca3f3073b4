#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
  const char *at, *end;
  unsigned level;
} reader;

static void skip_space(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) ++r->at;
}

static bool take(reader *r, char wanted) {
  if (r->at == r->end || *r->at != wanted) return false;
  ++r->at;
  return true;
}

static bool is_digit(const reader *r) { return r->at < r->end && *r->at >= '0' && *r->at <= '9'; }

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next UTF-16 unit of a text between its quotes; -1 at a fault. */
static long unit(const char **at, const char *end) {
  unsigned char c = (unsigned char)*(*at)++;
  if (c < 0x20 || c > 0x7e) return -1;
  if (c != '\\') return c;
  if (*at == end) return -1;
  c = (unsigned char)*(*at)++;
  if (c != 'u') {
    const char *found = strchr("\"\\/bfnrt", c);
    return c && found ? "\"\\/\b\f\n\r\t"[found - "\"\\/bfnrt"] : -1;
  }
  long value = 0;
  for (int i = 0; i < 4; ++i) {
    int digit = *at < end ? hex_digit(*(*at)++) : -1;
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

static bool text(reader *r) {
  bool high = false; /* the first half of a pair was read */
  if (!take(r, '"')) return false;
  while (r->at < r->end && *r->at != '"') {
    long value = unit(&r->at, r->end);
    if (value < 0) return false;
    bool low = value >= 0xdc00 && value <= 0xdfff;
    if (high != low) return false; /* half a pair is no character */
    high = value >= 0xd800 && value <= 0xdbff;
  }
  return !high && take(r, '"');
}

static bool number(reader *r) {
  const char *start = r->at;
  (void)take(r, '-');
  if (!take(r, '0')) {
    if (!is_digit(r)) return false;
    while (is_digit(r)) ++r->at;
  }
  if (take(r, '.')) {
    if (!is_digit(r)) return false;
    while (is_digit(r)) ++r->at;
  }
  if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
    ++r->at;
    if (r->at < r->end && (*r->at == '+' || *r->at == '-')) ++r->at;
    if (!is_digit(r)) return false;
    while (is_digit(r)) ++r->at;
  }
  double value;
  return physio_json_number((physio_json){start, (size_t)(r->at - start)}, &value);
}

static bool word(reader *r, const char *wanted) {
  size_t n = strlen(wanted);
  if ((size_t)(r->end - r->at) < n || memcmp(r->at, wanted, n)) return false;
  r->at += n;
  return true;
}

static bool same_text(physio_json a, physio_json b) {
  if (a.n == b.n && !memcmp(a.at, b.at, a.n)) return true;
  if (!memchr(a.at, '\\', a.n) && !memchr(b.at, '\\', b.n)) return false;
  const char *x = a.at + 1, *y = b.at + 1, *x_end = a.at + a.n - 1, *y_end = b.at + b.n - 1;
  while (x < x_end && y < y_end)
    if (unit(&x, x_end) != unit(&y, y_end)) return false;
  return x == x_end && y == y_end;
}

static bool any(reader *r, bool compare_keys);

static bool pass(reader *r, char c) {
  skip_space(r);
  bool found = take(r, c);
  skip_space(r);
  return found;
}

/* A key is compared with all before it: objects are small. */
static bool key_is_new(const char *first_member, physio_json key) {
  reader r = {first_member, key.at, 0};
  skip_space(&r);
  while (r.at < key.at) {
    physio_json other = {r.at, 0};
    if (!text(&r)) return false;
    other.n = (size_t)(r.at - other.at);
    if (same_text(other, key)) return false;
    if (!pass(&r, ':') || !any(&r, false) || !pass(&r, ',')) return false;
  }
  return true;
}

static bool members(reader *r, char closing, bool named, bool compare_keys) {
  const char *first = ++r->at;
  if (pass(r, closing)) return true;
  do {
    skip_space(r);
    if (named) {
      physio_json key = {r->at, 0};
      if (!text(r)) return false;
      key.n = (size_t)(r->at - key.at);
      if ((compare_keys && !key_is_new(first, key)) || !pass(r, ':')) return false;
    }
    if (!any(r, compare_keys)) return false;
    skip_space(r);
  } while (take(r, ','));
  return take(r, closing);
}

static bool any(reader *r, bool compare_keys) {
  skip_space(r);
  if (r->at == r->end) return false;
  if (*r->at == '{' || *r->at == '[') {
    bool named = *r->at == '{';
    if (++r->level > PHYSIO_JSON_LEVELS || !members(r, named ? '}' : ']', named, compare_keys)) return false;
    --r->level;
    return true;
  }
  if (*r->at == '"') return text(r);
  if (*r->at == '-' || is_digit(r)) return number(r);
  return word(r, "true") || word(r, "false") || word(r, "null");
}

bool physio_json_check(const char *from, size_t n, physio_json *value) {
  size_t values = 0;
  for (size_t i = 0; i < n; ++i) values += from[i] == ',' || from[i] == '{' || from[i] == '[';
  reader r = {from, from + n, 0};
  if (values > PHYSIO_JSON_VALUES) return false;
  skip_space(&r);
  value->at = r.at;
  if (!any(&r, true)) return false;
  value->n = (size_t)(r.at - value->at);
  skip_space(&r);
  return r.at == r.end;
}

bool physio_json_next(physio_json container, size_t *place, physio_json *key, physio_json *value) {
  char kind = physio_json_kind(container);
  if (kind != '{' && kind != '[') return false;
  reader r = {container.at + (*place ? *place : 1), container.at + container.n, 0};
  skip_space(&r);
  if (*r.at == '}' || *r.at == ']') return false;
  if (kind == '{') {
    physio_json found = {r.at, 0};
    if (!text(&r)) return false;
    found.n = (size_t)(r.at - found.at);
    if (key) *key = found;
    if (!pass(&r, ':')) return false;
  }
  value->at = r.at;
  if (!any(&r, false)) return false;
  value->n = (size_t)(r.at - value->at);
  (void)pass(&r, ',');
  *place = (size_t)(r.at - container.at);
  return true;
}

bool physio_json_get(physio_json object, const char *key, physio_json *value) {
  physio_json found;
  for (size_t place = 0; physio_json_kind(object) == '{' && physio_json_next(object, &place, &found, value);)
    if (physio_json_is(found, key)) return true;
  return false;
}

size_t physio_json_count(physio_json container) {
  size_t n = 0;
  physio_json value;
  for (size_t place = 0; physio_json_next(container, &place, NULL, &value);) ++n;
  return n;
}

char physio_json_kind(physio_json value) {
  char c = value.n ? *value.at : 0;
  return c == '-' || (c >= '0' && c <= '9') ? '0' : c;
}

bool physio_json_is(physio_json value, const char *wanted) {
  size_t n = strlen(wanted);
  return value.n == n + 2 && *value.at == '"' && !memcmp(value.at + 1, wanted, n) && !memchr(wanted, '\\', n);
}

bool physio_json_same(physio_json one, physio_json other) {
  return one.n == other.n && !memchr(one.at, '\\', one.n) && !memcmp(one.at, other.at, one.n);
}

bool physio_json_number(physio_json value, double *found) {
  char copy[64];
  if (physio_json_kind(value) != '0' || value.n >= sizeof copy) return false;
  memcpy(copy, value.at, value.n);
  copy[value.n] = 0;
  *found = strtod(copy, NULL);
  return isfinite(*found);
}

bool physio_json_whole(physio_json value, size_t *found) {
  if (physio_json_kind(value) != '0' || value.n > 18) return false;
  *found = 0;
  for (size_t i = 0; i < value.n; ++i) {
    if (value.at[i] < '0' || value.at[i] > '9') return false;
    *found = *found * 10 + (size_t)(value.at[i] - '0');
  }
  return true;
}
