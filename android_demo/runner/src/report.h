// result.json: written last, so that a report that exists is whole.
#ifndef PORTRAIT_REPORT_H
#define PORTRAIT_REPORT_H

#include "engine.h"
#include "job.h"

struct measured {
    double load_ms, first_ms, *passes_ms;
    long long marked;  // passes that stand between two marks
};

struct output {
    char path[96], sha256[SHA256_TEXT];
    size_t bytes;
};

void write_report(const char *folder, const struct job *job, const struct engine *engine,
                  const struct output *outputs, const struct measured *measured);

#endif
