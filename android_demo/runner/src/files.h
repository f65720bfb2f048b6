// Files read whole, and written whole or not at all.
#ifndef PORTRAIT_FILES_H
#define PORTRAIT_FILES_H

#include <stddef.h>

struct bytes {
    unsigned char *data;
    size_t size;
};

// Read a file of a folder; fails with BAD_INPUT where there is none.
struct bytes read_file(const char *folder, const char *path);

// Write beside the place, to the disk, and move there; fails with BROKEN on a full disk.
void write_file(const char *folder, const char *path, const void *content, size_t size);

#endif
