#include "job.h"

#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "files.h"
#include "json.h"
#include "npz.h"

static struct bytes read_checked(const char *folder, const struct json *facts) {
    const char *path = json_text(facts, "path"), *wanted = json_text(facts, "sha256");
    if (*path == '/' || strstr(path, "..")) fail(BAD_INPUT, "job.json: %s: is outside", path);
    struct bytes content = read_file(folder, path);
    char got[SHA256_TEXT];
    sha256(content.data, content.size, got);
    if (strcmp(got, wanted))
        fail(BAD_INPUT, "%s: want sha256 %s, got %s; send it again", path, wanted, got);
    return content;
}

static void read_samples(const char *folder, const struct json *all, struct job *job) {
    if (all->kind != JSON_OBJECT || !all->count) fail(BAD_INPUT, "job.json: want samples, got none");
    job->num_samples = all->count;
    job->samples = allocate(all->count * sizeof *job->samples);
    for (size_t i = 0; i < all->count; i++) {
        struct sample *sample = job->samples + i;
        sample->name = all->names[i];
        sample->sha256 = json_text(all->items[i], "sha256");  // the file is compared with it next
        struct bytes content = read_checked(folder, all->items[i]);
        sample->tensors = read_npz(sample->name, content, &sample->count);
    }
}

struct job read_job(const char *folder) {
    struct bytes raw = read_file(folder, "job.json");
    const struct json *root = parse_json("job.json", (char *)raw.data, raw.size);
    struct job job = {0};
    sha256(raw.data, raw.size, job.sha256);
    if (json_number(root, "schema_version", 0) != 1)
        fail(BAD_INPUT, "job.json: want schema_version 1; build the runner anew");
    const struct json *model = json_member(root, "model", JSON_OBJECT);
    const char *measure = json_text(root, "measure");
    job.nonce = json_text(root, "nonce");
    job.engine = json_text(root, "engine");
    job.model = json_text(model, "path");
    job.model_sha256 = json_text(model, "sha256");
    long long threads = json_number_or_null(root, "threads", 0);
    if (threads > 1024) fail(BAD_INPUT, "job.json: threads: want at most 1024");
    job.threads = (int)threads;
    job.warmup = json_number(root, "warmup", 0);
    job.repeats = json_number(root, "repeats", 0);
    job.timed = !strcmp(measure, "time");
    job.marked = !strcmp(measure, "marks");
    free(read_checked(folder, model).data);  // the engine reads it again; memory in use is measured
    read_samples(folder, json_member(root, "samples", JSON_OBJECT), &job);
    return job;
}
