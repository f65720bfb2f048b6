// LiteRT 2.3 through its C API (libLiteRt.so): the CPU's kernels, tensors by the names of the signature.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "failure.h"

typedef void *handle;

enum { CPU = 1, READ = 0, WRITE = 1 };

struct layout {
    unsigned rank : 7, has_strides : 1;
    int32_t dimensions[8];
    uint32_t strides[8];
};

struct ranked_type {
    int element_type;
    struct layout layout;
};

// name without LiteRt, arguments
#define FUNCTIONS(F)                                                                              \
    F(CreateEnvironment, int, const void *, handle *)                                             \
    F(CreateModelFromFile, handle, const char *, handle *)                                        \
    F(CreateOptions, handle *)                                                                    \
    F(SetOptionsHardwareAccelerators, handle, int)                                                \
    F(CreateOpaqueOptions, const char *, void *, void (*)(void *), handle *)                      \
    F(AddOpaqueOptions, handle, handle)                                                           \
    F(CreateCompiledModel, handle, handle, handle, handle *)                                      \
    F(GetNumModelSignatures, handle, size_t *)                                                    \
    F(GetModelSignature, handle, size_t, handle *)                                                \
    F(GetSignatureKey, handle, const char **)                                                     \
    F(GetNumSignatureInputs, handle, size_t *)                                                    \
    F(GetNumSignatureOutputs, handle, size_t *)                                                   \
    F(GetSignatureInputName, handle, size_t, const char **)                                       \
    F(GetSignatureOutputName, handle, size_t, const char **)                                      \
    F(GetSignatureInputTensorByIndex, handle, size_t, handle *)                                   \
    F(GetSignatureOutputTensorByIndex, handle, size_t, handle *)                                  \
    F(GetRankedTensorType, handle, struct ranked_type *)                                          \
    F(GetCompiledModelInputBufferRequirements, handle, size_t, size_t, handle *)                  \
    F(GetCompiledModelOutputBufferRequirements, handle, size_t, size_t, handle *)                 \
    F(CreateManagedTensorBufferFromRequirements, handle, const struct ranked_type *, handle,      \
      handle *)                                                                                   \
    F(GetTensorBufferPackedSize, handle, size_t *)                                                \
    F(LockTensorBuffer, handle, void **, int)                                                     \
    F(UnlockTensorBuffer, handle)                                                                 \
    F(RunCompiledModel, handle, size_t, size_t, handle *, size_t, handle *)

struct api {
#define DECLARE(name, ...) int (*name)(__VA_ARGS__);
    FUNCTIONS(DECLARE)
#undef DECLARE
};

struct state {
    struct api api;
    handle environment, model, compiled, signature;
    size_t signature_index;
    handle *inputs, *outputs;
};

#define CALL(name, ...) check(#name, state->api.name(__VA_ARGS__))

static void check(const char *name, int status) {
    if (status) fail(BAD_INPUT, "LiteRt%s: status %d", name, status);
}

static void choose_signature(struct state *state) {
    size_t count;
    CALL(GetNumModelSignatures, state->model, &count);
    if (!count) fail(BAD_INPUT, "want a signature that names the tensors, got none");
    for (size_t i = count; i-- > 0;) {  // serving_default, else the first
        const char *key;
        state->signature_index = i;
        CALL(GetModelSignature, state->model, i, &state->signature);
        CALL(GetSignatureKey, state->signature, &key);
        if (!strcmp(key, "serving_default")) return;
    }
}

static void read_tensor(struct state *state, bool output, size_t i, struct tensor *tensor,
                        handle *buffer) {
    const char *name;
    handle found, needs;
    struct ranked_type type;
    size_t index = state->signature_index, packed;
    if (output) {
        CALL(GetSignatureOutputName, state->signature, i, &name);
        CALL(GetSignatureOutputTensorByIndex, state->signature, i, &found);
        CALL(GetCompiledModelOutputBufferRequirements, state->compiled, index, i, &needs);
    } else {
        CALL(GetSignatureInputName, state->signature, i, &name);
        CALL(GetSignatureInputTensorByIndex, state->signature, i, &found);
        CALL(GetCompiledModelInputBufferRequirements, state->compiled, index, i, &needs);
    }
    CALL(GetRankedTensorType, found, &type);
    *tensor = (struct tensor){.name = copy_text(name, strlen(name)), .rank = type.layout.rank};
    tensor->dtype = dtype_by_litert(type.element_type);
    if (!tensor->dtype || tensor->rank > MOST_DIMENSIONS)
        fail(BAD_INPUT, "%s: values of type %d are not covered", name, type.element_type);
    for (size_t k = 0; k < tensor->rank; k++)
        if ((tensor->shape[k] = type.layout.dimensions[k]) < 1)
            fail(BAD_INPUT, "%s: want a fixed shape", name);
    CALL(CreateManagedTensorBufferFromRequirements, state->environment, &type, needs, buffer);
    CALL(GetTensorBufferPackedSize, *buffer, &packed);
    if (packed != tensor_bytes(tensor))
        fail(MISSING_TOOL, "%s: this LiteRT lays tensors out in another way; want 2.3", name);
    tensor->data = allocate(packed);
}

static void copy(struct state *state, handle buffer, struct tensor *tensor, int mode) {
    void *memory;
    CALL(LockTensorBuffer, buffer, &memory, mode);
    if (mode == WRITE) memcpy(memory, tensor->data, tensor_bytes(tensor));
    else memcpy(tensor->data, memory, tensor_bytes(tensor));
    CALL(UnlockTensorBuffer, buffer);
}

static void run(struct engine *engine) {
    struct state *state = engine->state;
    for (size_t i = 0; i < engine->num_inputs; i++)
        copy(state, state->inputs[i], engine->inputs + i, WRITE);
    CALL(RunCompiledModel, state->compiled, state->signature_index, engine->num_inputs,
         state->inputs, engine->num_outputs, state->outputs);
    for (size_t i = 0; i < engine->num_outputs; i++)
        copy(state, state->outputs[i], engine->outputs + i, READ);
}

static void compile(struct state *state, const char *model, int threads) {
    handle options, cpu;
    CALL(CreateEnvironment, 0, NULL, &state->environment);
    CALL(CreateModelFromFile, state->environment, model, &state->model);
    CALL(CreateOptions, &options);
    CALL(SetOptionsHardwareAccelerators, options, CPU);
    if (threads) {
        char words[32];
        snprintf(words, sizeof words, "num_threads = %d\n", threads);
        CALL(CreateOpaqueOptions, "xnnpack", copy_text(words, strlen(words)), free, &cpu);
        CALL(AddOpaqueOptions, options, cpu);
    }
    CALL(CreateCompiledModel, state->environment, state->model, options, &state->compiled);
}

void open_litert(struct engine *engine, void *library, const char *model, int threads) {
    struct state *state = allocate(sizeof *state);
    *state = (struct state){0};
#define LOAD(name, ...) *(void **)&state->api.name = symbol(library, "LiteRt" #name);
    FUNCTIONS(LOAD)
#undef LOAD
    compile(state, model, threads);
    choose_signature(state);
    CALL(GetNumSignatureInputs, state->signature, &engine->num_inputs);
    CALL(GetNumSignatureOutputs, state->signature, &engine->num_outputs);
    engine->inputs = allocate(engine->num_inputs * sizeof *engine->inputs);
    engine->outputs = allocate(engine->num_outputs * sizeof *engine->outputs);
    state->inputs = allocate(engine->num_inputs * sizeof *state->inputs);
    state->outputs = allocate(engine->num_outputs * sizeof *state->outputs);
    for (size_t i = 0; i < engine->num_inputs; i++)
        read_tensor(state, false, i, engine->inputs + i, state->inputs + i);
    for (size_t i = 0; i < engine->num_outputs; i++)
        read_tensor(state, true, i, engine->outputs + i, state->outputs + i);
    snprintf(engine->version, sizeof engine->version, "2 (does not say more)");
    engine->state = state;
    engine->run = run;
}
