#include "files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "failure.h"

struct bytes read_file(const char *folder, const char *path) {
    char whole[4096];
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    FILE *file = fopen(whole, "rb");
    if (!file) fail(BAD_INPUT, "%s: want this file, got: %s", path, strerror(errno));
    struct bytes content = {0};
    size_t room = 0, got;
    do {
        if (content.size == room) content.data = grow(content.data, room = room ? 2 * room : 65536);
        got = fread(content.data + content.size, 1, room - content.size, file);
        content.size += got;
    } while (got);
    if (ferror(file)) fail(BROKEN, "%s: cannot be read: %s", path, strerror(errno));
    fclose(file);
    return content;
}

void write_file(const char *folder, const char *path, const void *content, size_t size) {
    char whole[4096], beside[4096 + 8];
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    snprintf(beside, sizeof beside, "%s.part", whole);
    FILE *file = fopen(beside, "wb");
    int written = file && fwrite(content, 1, size, file) == size && !fflush(file) &&
                  (!fsync(fileno(file)) || errno == EINVAL);
    int why = errno;
    if (file && fclose(file)) written = 0;
    if (!written || rename(beside, whole)) {
        if (written) why = errno;
        remove(beside);
        fail(BROKEN, "%s: cannot be written: %s", path, strerror(why));
    }
}
