// A named block of numbers, as an engine takes it and as NumPy keeps it.
#ifndef PORTRAIT_TENSOR_H
#define PORTRAIT_TENSOR_H

#include <stddef.h>
#include <stdint.h>

enum { MOST_DIMENSIONS = 8 };

struct dtype {
    const char *name;   // NumPy's
    const char *descr;  // in the header of an .npy
    size_t bytes;
    int onnx;    // ONNXTensorElementDataType
    int litert;  // LiteRtElementType
};

struct tensor {
    char *name;
    const struct dtype *dtype;
    size_t rank;
    int64_t shape[MOST_DIMENSIONS];
    void *data;
};

// Find a type; NULL where it is not covered.
const struct dtype *dtype_by_descr(const char *descr, size_t length);
const struct dtype *dtype_by_onnx(int code);
const struct dtype *dtype_by_litert(int code);

size_t tensor_bytes(const struct tensor *tensor);
int same_shape(const struct tensor *a, const struct tensor *b);

// Return the tensor of a name, or NULL.
const struct tensor *find_tensor(const struct tensor *all, size_t count, const char *name);

#endif
