#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

static const char *const KINDS[] = {"InputError", "MissingToolError", "TargetError"};
static const int STATUSES[] = {2, 3, 1};
static const char *place;

void report_failures_in(const char *folder) { place = folder; }

void fail(enum failure kind, const char *format, ...) {
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fprintf(stderr, "error: %s\n", message);
    if (place) {
        char path[4096];
        snprintf(path, sizeof path, "%s/failure.json", place);
        FILE *file = fopen(path, "wb");
        if (file) {  // a full disk leaves half a file, which the sender calls broken
            fprintf(file, "{\"kind\": \"%s\", \"message\": ", KINDS[kind]);
            write_json_text(file, message);
            fputs("}\n", file);
            fclose(file);
        }
    }
    fflush(stderr);
    _Exit(STATUSES[kind]);  // engines have threads; their destructors have no say any more
}

void *allocate(unsigned long bytes) { return grow(NULL, bytes); }

void *grow(void *old, unsigned long bytes) {
    void *memory = realloc(old, bytes ? bytes : 1);
    if (!memory) fail(BROKEN, "want %lu bytes of memory, got none", bytes);
    return memory;
}

char *copy_text(const char *start, unsigned long length) {
    char *text = allocate(length + 1);
    memcpy(text, start, length);
    text[length] = 0;
    return text;
}
