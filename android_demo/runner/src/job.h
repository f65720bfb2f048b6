// A job: job.json, and the files that it names, compared with its hashes.
#ifndef PORTRAIT_JOB_H
#define PORTRAIT_JOB_H

#include "sha256.h"
#include "tensor.h"

struct sample {
    const char *name;
    const char *sha256;  // of the .npz as read here
    struct tensor *tensors;
    size_t count;
};

struct job {
    const char *nonce, *engine, *model;  // the model's path inside the folder
    const char *model_sha256;
    char sha256[SHA256_TEXT];  // of job.json as read here
    int threads;               // 0 lets the engine choose
    long long warmup, repeats;
    int timed, marked;
    struct sample *samples;
    size_t num_samples;
};

// Read the job of a folder; fails with BAD_INPUT where a file is not the one that it names.
struct job read_job(const char *folder);

#endif
