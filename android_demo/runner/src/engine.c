#include "engine.h"

#include <dlfcn.h>
#include <string.h>

#include "failure.h"

void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) fail(MISSING_TOOL, "the engine's library has no %s; want a newer one", name);
    return found;
}

struct engine open_engine(const char *name, const char *library, const char *model, int threads) {
    struct engine engine = {.name = name};
    void *loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!loaded) fail(MISSING_TOOL, "%s: its library does not load: %s", name, dlerror());
    if (!strcmp(name, "onnxruntime")) open_onnxruntime(&engine, loaded, model, threads);
    else if (!strcmp(name, "litert")) open_litert(&engine, loaded, model, threads);
    else fail(BAD_INPUT, "engine: want onnxruntime or litert, got %s", name);
    return engine;
}
