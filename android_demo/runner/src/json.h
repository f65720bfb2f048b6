// Enough JSON for job.json, strictly: whole numbers, ASCII escapes, no name twice, nothing after the end.
#ifndef PORTRAIT_JSON_H
#define PORTRAIT_JSON_H

#include <stdio.h>

enum json_kind { JSON_NULL, JSON_BOOLEAN, JSON_NUMBER, JSON_TEXT, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_kind kind;
    long long number;  // of a number; 0 or 1 of a boolean
    char *text;
    size_t count;         // of an array or object
    char **names;         // of an object
    struct json **items;  // of an array or object
};

// Parse a whole document; fails with BAD_INPUT, naming the place.
struct json *parse_json(const char *name, const char *text, size_t length);

// Return a member of an object, which must have it and of this kind.
struct json *json_member(const struct json *object, const char *name, enum json_kind kind);
const char *json_text(const struct json *object, const char *name);
long long json_number(const struct json *object, const char *name, long long least);
// As json_number; `other` where the member is null.
long long json_number_or_null(const struct json *object, const char *name, long long other);

// Write a string with quotes and escapes.
void write_json_text(FILE *file, const char *text);

#endif
