// What runs a model file. Each engine is a library that is loaded by path; no header of theirs is needed.
#ifndef PORTRAIT_ENGINE_H
#define PORTRAIT_ENGINE_H

#include "tensor.h"

struct engine {
    const char *name;
    char version[80];
    struct tensor *inputs, *outputs;  // as the engine found them in the file; `data` is what it reads and writes
    size_t num_inputs, num_outputs;
    void (*run)(struct engine *engine);  // inputs to outputs, both readable here afterwards
    void *state;
};

// Load a library and a model; `threads` 0 lets the engine choose.
// Fails with MISSING_TOOL without the library, with BAD_INPUT on a file that it does not take.
struct engine open_engine(const char *name, const char *library, const char *model, int threads);

void open_onnxruntime(struct engine *engine, void *library, const char *model, int threads);
void open_litert(struct engine *engine, void *library, const char *model, int threads);

// Return a symbol of a library; fails with MISSING_TOOL.
void *symbol(void *library, const char *name);

#endif
