// Run the job of a folder on this device: portrait_runner FOLDER LIBRARY [SECONDS]
//
// The folder is the one that docs/targets.md describes; LIBRARY is the engine's; after SECONDS the kernel
// ends the process, so that nothing keeps running on a device whose owner has gone away.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "failure.h"
#include "files.h"
#include "npz.h"
#include "report.h"

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

// Copy a sample into the engine's inputs.
static void feed(struct engine *engine, const struct sample *sample) {
    for (size_t i = 0; i < engine->num_inputs; i++) {
        struct tensor *wanted = engine->inputs + i;
        const struct tensor *got = find_tensor(sample->tensors, sample->count, wanted->name);
        if (!got || !same_shape(wanted, got))
            fail(BAD_INPUT, "%s: %s: want a tensor as in the file, got %s", sample->name,
                 wanted->name, got ? "another shape or type" : "none");
        memcpy(wanted->data, got->data, tensor_bytes(got));
    }
    if (sample->count != engine->num_inputs)
        fail(BAD_INPUT, "%s: want %zu tensors, got %zu", sample->name, engine->num_inputs,
             sample->count);
}

// Run a pass; returns its milliseconds. Marked, it stands between two system calls that nothing else makes.
static double pass(struct engine *engine, int marked, struct measured *measured) {
    if (marked) getppid();
    double start = now_ms();
    engine->run(engine);
    double took = now_ms() - start;
    if (marked) {
        getppid();
        measured->marked++;
    }
    return took;
}

static struct output save(const char *folder, const char *name, const struct engine *engine) {
    struct bytes content = make_npz(engine->outputs, engine->num_outputs);
    struct output output = {.bytes = content.size};
    snprintf(output.path, sizeof output.path, "out/%s.npz", name);
    sha256(content.data, content.size, output.sha256);
    write_file(folder, output.path, content.data, content.size);
    free(content.data);
    return output;
}

// As runtime/targets/passes.py: every sample once, then warm up and repeat the first one.
static struct output *run_passes(const char *folder, const struct job *job, struct engine *engine,
                                 struct measured *measured) {
    struct output *outputs = allocate(job->num_samples * sizeof *outputs);
    for (size_t i = 0; i < job->num_samples; i++) {
        feed(engine, job->samples + i);
        double took = pass(engine, job->marked && i, measured);
        if (!i) measured->first_ms = took;
        outputs[i] = save(folder, job->samples[i].name, engine);
    }
    feed(engine, job->samples);
    for (long long i = 0; i < job->warmup; i++) engine->run(engine);
    for (long long i = 0; i < job->repeats; i++)
        measured->passes_ms[i] = pass(engine, job->marked, measured);
    return outputs;
}

int main(int count, char **arguments) {
    if (count < 3 || count > 4) {
        fprintf(stderr, "error: want FOLDER LIBRARY [SECONDS]\n");
        return 2;
    }
    const char *folder = arguments[1];
    report_failures_in(folder);
    if (count == 4) alarm((unsigned)strtoul(arguments[3], NULL, 10));
    struct job job = read_job(folder);
    char path[4096];
    snprintf(path, sizeof path, "%s/out", folder);
    if (mkdir(path, 0700) && errno != EEXIST) fail(BROKEN, "out: %s", strerror(errno));
    snprintf(path, sizeof path, "%s/%s", folder, job.model);
    double start = now_ms();
    struct engine engine = open_engine(job.engine, arguments[2], path, job.threads);
    struct measured measured = {.load_ms = now_ms() - start};
    measured.passes_ms = allocate((size_t)job.repeats * sizeof *measured.passes_ms);
    struct output *outputs = run_passes(folder, &job, &engine, &measured);
    write_report(folder, &job, &engine, outputs, &measured);
    fflush(stdout);
    _exit(0);  // without the engines' destructors, some of which crash when threads still run
}
