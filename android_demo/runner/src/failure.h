// Every error of the runner ends it here: said on stderr, and written where the sender looks.
#ifndef PORTRAIT_FAILURE_H
#define PORTRAIT_FAILURE_H

enum failure {
    BAD_INPUT,     // a file is not the one that the job names, or the engine refuses it
    MISSING_TOOL,  // the engine is not there
    BROKEN,        // the device itself: disk, memory
};

// Where failure.json goes; before this is called, failures are said on stderr alone.
void report_failures_in(const char *folder);

// Write failure.json and end the process: status 2, 3 or 1.
_Noreturn void fail(enum failure kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

// malloc and realloc that fail() instead of returning nothing. Nothing is freed: a job is one process.
void *allocate(unsigned long bytes);
void *grow(void *old, unsigned long bytes);
char *copy_text(const char *start, unsigned long length);

#endif
