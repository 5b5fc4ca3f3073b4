/* JSON as bundles hold it: checked once from end to end, then looked into in place. No memory is taken.
 *
 * docs/bundle.md, section 3: ASCII, each key once in an object, finite numbers; section 8: limits.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PHYSIO_JSON_H
#define PHYSIO_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* A value, by where its text begins and how long it is. Of a text value the quotes belong to it. */
typedef struct physio_json {
  const char *at;
  size_t n;
} physio_json;

enum { PHYSIO_JSON_VALUES = 16384, PHYSIO_JSON_LEVELS = 32 };

/* Whether the text is one JSON value within the limits. Only then may it be given to the functions below. */
bool physio_json_check(const char *text, size_t n, physio_json *value);

/* The member of an object with this key; false where there is none, or the value is no object. */
bool physio_json_get(physio_json object, const char *key, physio_json *value);

/* The next member of an object or element of an array. Begin with *place = 0; `key` may be NULL for arrays. */
bool physio_json_next(physio_json container, size_t *place, physio_json *key, physio_json *value);

size_t physio_json_count(physio_json container);

/* '{', '[', '"', '0' for a number, 't', 'f' or 'n'. */
char physio_json_kind(physio_json value);

/* Whether a text value is exactly this text; texts with escapes are no names and never are. */
bool physio_json_is(physio_json value, const char *text);
bool physio_json_same(physio_json one, physio_json other);

bool physio_json_number(physio_json value, double *number);

/* A whole number from 0 on, written without fraction or exponent. */
bool physio_json_whole(physio_json value, size_t *number);

#endif
