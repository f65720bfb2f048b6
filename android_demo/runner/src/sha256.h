// SHA-256 (FIPS 180-4).
#ifndef PORTRAIT_SHA256_H
#define PORTRAIT_SHA256_H

#include <stddef.h>

enum { SHA256_TEXT = 65 };

// Write 64 hexadecimal digits and a zero.
void sha256(const void *content, size_t bytes, char text[SHA256_TEXT]);

#endif
