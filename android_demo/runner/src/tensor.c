#include "tensor.h"

#include <string.h>

static const struct dtype DTYPES[] = {
    {"float32", "<f4", 4, 1, 1},  {"float16", "<f2", 2, 10, 10}, {"float64", "<f8", 8, 11, 11},
    {"int8", "|i1", 1, 3, 9},     {"uint8", "|u1", 1, 2, 3},     {"int32", "<i4", 4, 6, 2},
    {"int64", "<i8", 8, 7, 4},
};
enum { COUNT = sizeof DTYPES / sizeof *DTYPES };

const struct dtype *dtype_by_descr(const char *descr, size_t length) {
    for (int i = 0; i < COUNT; i++)
        if (strlen(DTYPES[i].descr) == length && !memcmp(DTYPES[i].descr, descr, length))
            return DTYPES + i;
    return NULL;
}

const struct dtype *dtype_by_onnx(int code) {
    for (int i = 0; i < COUNT; i++)
        if (DTYPES[i].onnx == code) return DTYPES + i;
    return NULL;
}

const struct dtype *dtype_by_litert(int code) {
    for (int i = 0; i < COUNT; i++)
        if (DTYPES[i].litert == code) return DTYPES + i;
    return NULL;
}

size_t tensor_bytes(const struct tensor *tensor) {
    size_t bytes = tensor->dtype->bytes;
    for (size_t i = 0; i < tensor->rank; i++) bytes *= (size_t)tensor->shape[i];
    return bytes;
}

int same_shape(const struct tensor *a, const struct tensor *b) {
    return a->dtype == b->dtype && a->rank == b->rank &&
           !memcmp(a->shape, b->shape, a->rank * sizeof *a->shape);
}

const struct tensor *find_tensor(const struct tensor *all, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(all[i].name, name)) return all + i;
    return NULL;
}
