// NumPy's .npz: a ZIP without compression that holds one .npy a tensor. Other kinds are refused.
#ifndef PORTRAIT_NPZ_H
#define PORTRAIT_NPZ_H

#include <stddef.h>

#include "files.h"
#include "tensor.h"

// Read all tensors, which then point into `content`; fails with BAD_INPUT.
struct tensor *read_npz(const char *name, struct bytes content, size_t *count);

// Return the .npz of tensors.
struct bytes make_npz(const struct tensor *tensors, size_t count);

#endif
