#include "report.h"

#include <stdlib.h>

#include "device.h"
#include "failure.h"
#include "files.h"
#include "json.h"

static void put_text(FILE *out, const char *name, const char *value) {
    fprintf(out, "\"%s\": ", name);
    write_json_text(out, value);
    fputs(", ", out);
}

static void put_tensors(FILE *out, const char *name, const struct tensor *tensors, size_t count) {
    fprintf(out, "\"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
        fputs(i ? ", {" : "{", out);
        put_text(out, "name", tensors[i].name);
        put_text(out, "dtype", tensors[i].dtype->name);
        fputs("\"shape\": [", out);
        for (size_t k = 0; k < tensors[i].rank; k++)
            fprintf(out, "%s%lld", k ? ", " : "", (long long)tensors[i].shape[k]);
        fputs("]}", out);
    }
    fputs("],\n", out);
}

static void put_samples(FILE *out, const struct job *job, const struct output *outputs) {
    fputs("\"samples\": {", out);
    for (size_t i = 0; i < job->num_samples; i++) {
        fputs(i ? ",\n  " : "", out);
        write_json_text(out, job->samples[i].name);
        fputs(": {", out);
        put_text(out, "input_sha256", job->samples[i].sha256);
        fputs("\"output\": {", out);
        put_text(out, "path", outputs[i].path);
        put_text(out, "sha256", outputs[i].sha256);
        fprintf(out, "\"bytes\": %zu}}", outputs[i].bytes);
    }
    fputs("},\n", out);
}

static void put_device(FILE *out, const struct engine *engine) {
    struct device device = describe_device();
    fputs("\"device\": {", out);
    put_text(out, "system", device.system);
    put_text(out, "architecture", device.architecture);
    put_text(out, "processor", device.processor);
    put_text(out, "engine", engine->name);
    put_text(out, "engine_version", engine->version);
    put_text(out, "python", "");  // none takes part
    put_text(out, "numpy", "");
    fprintf(out, "\"cores\": %d},\n", device.cores);
}

static void put_timings(FILE *out, const struct job *job, const struct measured *measured) {
    if (!job->timed) {
        fputs("\"timings\": null,\n", out);
        return;
    }
    fprintf(out, "\"timings\": {\"load_ms\": %.6f, \"first_ms\": %.6f, \"passes_ms\": [",
            measured->load_ms, measured->first_ms);
    for (long long i = 0; i < job->repeats; i++)
        fprintf(out, "%s%.6f", i ? ", " : "", measured->passes_ms[i]);
    fputs("]},\n", out);
}

void write_report(const char *folder, const struct job *job, const struct engine *engine,
                  const struct output *outputs, const struct measured *measured) {
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) fail(BROKEN, "want memory for the report, got none");
    fputs("{\"schema_version\": 1,\n", out);
    put_text(out, "nonce", job->nonce);
    put_text(out, "job_sha256", job->sha256);
    put_text(out, "model_sha256", job->model_sha256);
    put_tensors(out, "inputs", engine->inputs, engine->num_inputs);
    put_tensors(out, "outputs", engine->outputs, engine->num_outputs);
    put_samples(out, job, outputs);
    put_device(out, engine);
    put_timings(out, job, measured);
    fprintf(out, "\"marked_passes\": %lld,\n\"peak_rss_bytes\": %lld}\n", measured->marked,
            peak_rss_bytes());
    if (fclose(out)) fail(BROKEN, "want memory for the report, got none");
    write_file(folder, "result.json", text, size);
}
