// ONNX Runtime through its C API: a table of functions whose order is kept from version to version
// (onnxruntime_c_api.h, OrtApi). Only the places that are called are named here.
#include <stdio.h>

#include "engine.h"
#include "failure.h"

enum { API_VERSION = 11, ERRORS_ONLY = 3, ARENA = 1, DEFAULT_MEMORY = 0 };

enum place {
    GET_ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    CREATE_SESSION = 7,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    SET_INTRA_OP_NUM_THREADS = 24,
    SESSION_GET_INPUT_COUNT = 30,
    SESSION_GET_OUTPUT_COUNT = 31,
    SESSION_GET_INPUT_TYPE_INFO = 33,
    SESSION_GET_OUTPUT_TYPE_INFO = 34,
    SESSION_GET_INPUT_NAME = 36,
    SESSION_GET_OUTPUT_NAME = 37,
    CREATE_TENSOR_WITH_DATA = 49,
    CAST_TYPE_INFO_TO_TENSOR_INFO = 55,
    GET_TENSOR_ELEMENT_TYPE = 60,
    GET_DIMENSIONS_COUNT = 61,
    GET_DIMENSIONS = 62,
    CREATE_CPU_MEMORY_INFO = 69,
    GET_DEFAULT_ALLOCATOR = 78,
};

struct base {
    const void *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
};

struct state {
    const void *const *api;
    void *session;
    void **inputs, **outputs;  // OrtValues over the tensors' own memory
    const char **input_names, **output_names;
};

// Call a place of the table, whose function returns NULL or a status.
#define CALL(what, types, ...)                                                 \
    check(api, what, ((void *(*)types)api[what])(__VA_ARGS__))

static void check(const void *const *api, enum place place, void *status) {
    if (!status) return;
    const char *why = ((const char *(*)(void *))api[GET_ERROR_MESSAGE])(status);
    fail(BAD_INPUT, "ONNX Runtime: call %d: %s", (int)place, why);
}

static void read_spec(const void *const *api, void *info, struct tensor *tensor) {
    const void *shape;
    int code;
    CALL(CAST_TYPE_INFO_TO_TENSOR_INFO, (void *, const void **), info, &shape);
    if (!shape) fail(BAD_INPUT, "%s: want a tensor", tensor->name);
    CALL(GET_TENSOR_ELEMENT_TYPE, (const void *, int *), shape, &code);
    CALL(GET_DIMENSIONS_COUNT, (const void *, size_t *), shape, &tensor->rank);
    tensor->dtype = dtype_by_onnx(code);
    if (!tensor->dtype || tensor->rank > MOST_DIMENSIONS)
        fail(BAD_INPUT, "%s: values of type %d are not covered", tensor->name, code);
    CALL(GET_DIMENSIONS, (const void *, int64_t *, size_t), shape, tensor->shape, tensor->rank);
    for (size_t i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] < 1) fail(BAD_INPUT, "%s: want a fixed shape", tensor->name);
}

// Read one side of the model and make an OrtValue over the memory of each of its tensors.
static struct tensor *read_side(struct state *state, void *memory, int outputs, size_t *count,
                                void ***values, const char ***names) {
    const void *const *api = state->api;
    void *allocator;
    CALL(GET_DEFAULT_ALLOCATOR, (void **), &allocator);
    CALL(SESSION_GET_INPUT_COUNT + outputs, (void *, size_t *), state->session, count);
    struct tensor *tensors = allocate(*count * sizeof *tensors);
    *values = allocate(*count * sizeof **values);
    *names = allocate(*count * sizeof **names);
    for (size_t i = 0; i < *count; i++) {
        struct tensor *tensor = tensors + i;
        void *info;
        *tensor = (struct tensor){0};
        (*values)[i] = NULL;
        CALL(SESSION_GET_INPUT_NAME + outputs, (void *, size_t, void *, char **), state->session, i,
             allocator, &tensor->name);
        CALL(SESSION_GET_INPUT_TYPE_INFO + outputs, (void *, size_t, void **), state->session, i,
             &info);
        read_spec(api, info, tensor);
        tensor->data = allocate(tensor_bytes(tensor));
        (*names)[i] = tensor->name;
        CALL(CREATE_TENSOR_WITH_DATA, (void *, void *, size_t, const int64_t *, size_t, int, void **),
             memory, tensor->data, tensor_bytes(tensor), tensor->shape, tensor->rank,
             tensor->dtype->onnx, *values + i);
    }
    return tensors;
}

static void run(struct engine *engine) {
    struct state *state = engine->state;
    const void *const *api = state->api;
    CALL(RUN, (void *, void *, const char **, void **, size_t, const char **, size_t, void **),
         state->session, NULL, state->input_names, state->inputs, engine->num_inputs,
         state->output_names, engine->num_outputs, state->outputs);
}

void open_onnxruntime(struct engine *engine, void *library, const char *model, int threads) {
    const struct base *(*get_base)(void);
    *(void **)&get_base = symbol(library, "OrtGetApiBase");
    const struct base *base = get_base();
    const void *const *api = base->get_api(API_VERSION);
    if (!api) fail(MISSING_TOOL, "ONNX Runtime %s is too old; want 1.11", base->get_version());
    struct state *state = allocate(sizeof *state);
    void *environment, *options, *memory;
    *state = (struct state){.api = api};
    CALL(CREATE_ENV, (int, const char *, void **), ERRORS_ONLY, "portrait", &environment);
    CALL(CREATE_SESSION_OPTIONS, (void **), &options);
    if (threads) CALL(SET_INTRA_OP_NUM_THREADS, (void *, int), options, threads);
    CALL(CREATE_SESSION, (void *, const char *, void *, void **), environment, model, options,
         &state->session);
    CALL(CREATE_CPU_MEMORY_INFO, (int, int, void **), ARENA, DEFAULT_MEMORY, &memory);
    engine->inputs = read_side(state, memory, 0, &engine->num_inputs, &state->inputs,
                               &state->input_names);
    engine->outputs = read_side(state, memory, 1, &engine->num_outputs, &state->outputs,
                                &state->output_names);
    snprintf(engine->version, sizeof engine->version, "%s", base->get_version());
    engine->state = state;
    engine->run = run;
}
