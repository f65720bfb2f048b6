#include "json.h"

#include <string.h>

#include "failure.h"

enum { DEEPEST = 16 };

struct reader {
    const char *name;
    const char *text;
    size_t at, length;
    int depth;
};

static struct json *read_value(struct reader *in);

static _Noreturn void refuse(const struct reader *in, const char *wanted) {
    fail(BAD_INPUT, "%s: want %s at byte %zu of %zu", in->name, wanted, in->at, in->length);
}

static int peek(const struct reader *in) {
    return in->at < in->length ? (unsigned char)in->text[in->at] : -1;
}

static void skip_space(struct reader *in) {
    while (in->at < in->length && strchr(" \t\r\n", in->text[in->at]) && in->text[in->at]) in->at++;
}

static void expect(struct reader *in, char wanted) {
    char words[] = {'\'', wanted, '\'', 0};
    skip_space(in);
    if (peek(in) != wanted) refuse(in, words);
    in->at++;
}

static struct json *make(enum json_kind kind) {
    struct json *value = allocate(sizeof *value);
    *value = (struct json){.kind = kind};
    return value;
}

static char read_escape(struct reader *in) {
    static const char LETTERS[] = "\"\\/bfnrt", MEANT[] = "\"\\/\b\f\n\r\t";
    int letter = peek(in);
    in->at++;
    const char *found = letter > 0 ? strchr(LETTERS, letter) : NULL;
    if (found) return MEANT[found - LETTERS];
    unsigned code = 0;
    if (letter != 'u' || in->at + 4 > in->length) refuse(in, "an escape");
    for (int i = 0; i < 4; i++, in->at++) {
        int digit = peek(in);
        int low = digit | 32;
        if (digit >= '0' && digit <= '9') code = code * 16 + (unsigned)(digit - '0');
        else if (low >= 'a' && low <= 'f') code = code * 16 + (unsigned)(low - 'a' + 10);
        else refuse(in, "four hexadecimal digits");
    }
    if (code == 0 || code > 127) refuse(in, "an ASCII character");
    return (char)code;
}

static char *read_text(struct reader *in) {
    expect(in, '"');
    char *text = allocate(in->length - in->at + 1);
    size_t used = 0;
    for (;;) {
        int letter = peek(in);
        if (letter < 32) refuse(in, "the end of a string");
        in->at++;
        if (letter == '"') break;
        text[used++] = letter == '\\' ? read_escape(in) : (char)letter;
    }
    text[used] = 0;
    return text;
}

static struct json *read_number(struct reader *in) {
    struct json *value = make(JSON_NUMBER);
    int negative = peek(in) == '-';
    if (negative) in->at++;
    size_t start = in->at;
    while (peek(in) >= '0' && peek(in) <= '9') {
        if (in->at - start == 15) refuse(in, "a smaller number");
        value->number = value->number * 10 + (peek(in) - '0');
        in->at++;
    }
    int next = peek(in);
    if (in->at == start || next == '.' || next == 'e' || next == 'E') refuse(in, "a whole number");
    if (in->text[start] == '0' && in->at - start > 1) refuse(in, "a number without leading zeros");
    if (negative) value->number = -value->number;
    return value;
}

static struct json *read_word(struct reader *in) {
    static const char *const WORDS[] = {"null", "false", "true"};
    for (int i = 0; i < 3; i++) {
        size_t length = strlen(WORDS[i]);
        if (in->length - in->at >= length && !memcmp(in->text + in->at, WORDS[i], length)) {
            struct json *value = make(i ? JSON_BOOLEAN : JSON_NULL);
            value->number = i == 2;
            in->at += length;
            return value;
        }
    }
    refuse(in, "a value");
}

static void read_member(struct reader *in, struct json *value) {
    value->items = grow(value->items, (value->count + 1) * sizeof *value->items);
    if (value->kind == JSON_OBJECT) {
        char *name = read_text(in);
        for (size_t i = 0; i < value->count; i++)
            if (!strcmp(value->names[i], name)) refuse(in, "every name once");
        value->names = grow(value->names, (value->count + 1) * sizeof *value->names);
        value->names[value->count] = name;
        expect(in, ':');
    }
    value->items[value->count++] = read_value(in);
    skip_space(in);
}

static struct json *read_members(struct reader *in, enum json_kind kind, char end) {
    struct json *value = make(kind);
    in->at++;
    skip_space(in);
    if (peek(in) != end) {
        read_member(in, value);
        while (peek(in) == ',') {
            in->at++;
            read_member(in, value);
        }
    }
    expect(in, end);
    return value;
}

static struct json *read_value(struct reader *in) {
    if (++in->depth > DEEPEST) refuse(in, "a document of at most 16 levels");
    skip_space(in);
    struct json *value;
    int first = peek(in);
    if (first == '{') {
        value = read_members(in, JSON_OBJECT, '}');
    } else if (first == '[') {
        value = read_members(in, JSON_ARRAY, ']');
    } else if (first == '"') {
        value = make(JSON_TEXT);
        value->text = read_text(in);
    } else if (first == '-' || (first >= '0' && first <= '9')) {
        value = read_number(in);
    } else {
        value = read_word(in);
    }
    in->depth--;
    return value;
}

struct json *parse_json(const char *name, const char *text, size_t length) {
    struct reader in = {.name = name, .text = text, .length = length};
    struct json *value = read_value(&in);
    skip_space(&in);
    if (in.at != length) refuse(&in, "the end");
    return value;
}

struct json *json_member(const struct json *object, const char *name, enum json_kind kind) {
    for (size_t i = 0; object->kind == JSON_OBJECT && i < object->count; i++)
        if (!strcmp(object->names[i], name)) {
            if (object->items[i]->kind != kind && object->items[i]->kind != JSON_NULL)
                fail(BAD_INPUT, "job.json: %s: got a value of another kind", name);
            return object->items[i];
        }
    fail(BAD_INPUT, "job.json: want %s, got none", name);
}

const char *json_text(const struct json *object, const char *name) {
    struct json *value = json_member(object, name, JSON_TEXT);
    if (!value->text) fail(BAD_INPUT, "job.json: %s: want a string, got null", name);
    return value->text;
}

long long json_number(const struct json *object, const char *name, long long least) {
    struct json *value = json_member(object, name, JSON_NUMBER);
    if (value->kind == JSON_NULL || value->number < least)
        fail(BAD_INPUT, "job.json: %s: want a number from %lld", name, least);
    return value->number;
}

long long json_number_or_null(const struct json *object, const char *name, long long other) {
    struct json *value = json_member(object, name, JSON_NUMBER);
    return value->kind == JSON_NULL ? other : json_number(object, name, 1);
}

void write_json_text(FILE *file, const char *text) {
    fputc('"', file);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\') fprintf(file, "\\%c", *c);
        else if (*c < 32 || *c > 126) fprintf(file, "\\u%04x", *c);
        else fputc(*c, file);
    }
    fputc('"', file);
}
