#include "npz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"

enum { LOCAL = 30, CENTRAL = 46, END = 22, COMMENT = 65535, NPY_ALIGNED = 64 };
static const char LOCAL_MARK[] = "PK\3\4", CENTRAL_MARK[] = "PK\1\2", END_MARK[] = "PK\5\6";
static const char NPY_MARK[] = "\x93NUMPY";

static uint32_t number(const unsigned char *at, int bytes) {
    uint32_t value = 0;
    while (bytes--) value = value << 8 | at[bytes];
    return value;
}

static uint32_t crc32(const unsigned char *data, size_t size) {
    static uint32_t table[256];
    for (uint32_t i = 0; !table[255] && i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320 : 0);
    }
    uint32_t crc = ~0u;
    while (size--) crc = crc >> 8 ^ table[(crc ^ *data++) & 255];
    return ~crc;
}

static _Noreturn void refuse(const char *name, const char *why) {
    fail(BAD_INPUT, "%s: want an uncompressed .npz of plain tensors, got %s", name, why);
}

static const char *value_of(const char *name, const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (!at) refuse(name, "a header that says too little");
    at += strlen(key);
    return at + strspn(at, ": ");
}

static void read_npy(const char *name, unsigned char *data, size_t size, struct tensor *tensor) {
    if (size < 12 || memcmp(data, NPY_MARK, 6) || data[6] < 1 || data[6] > 3) refuse(name, "no .npy");
    int wide = data[6] > 1;
    size_t start = wide ? 12 : 10, length = number(data + 8, wide ? 4 : 2);
    if (length > size - start) refuse(name, "a header that is cut off");
    const char *header = copy_text((char *)data + start, length);
    const char *descr = value_of(name, header, "'descr'");
    const char *end = *descr == '\'' ? strchr(descr + 1, '\'') : NULL;
    tensor->dtype = end ? dtype_by_descr(descr + 1, (size_t)(end - descr - 1)) : NULL;
    if (!tensor->dtype) refuse(name, "values of a type that is not covered");
    if (strncmp(value_of(name, header, "'fortran_order'"), "False", 5)) refuse(name, "Fortran order");
    const char *at = value_of(name, header, "'shape'");
    if (*at++ != '(') refuse(name, "no shape");
    for (tensor->rank = 0; *(at += strspn(at, ", ")) != ')'; tensor->rank++) {
        char *after;
        long long dimension = strtoll(at, &after, 10);
        if (after == at || dimension < 1 || tensor->rank == MOST_DIMENSIONS) refuse(name, "no shape");
        tensor->shape[tensor->rank] = dimension;
        at = after;
    }
    if (tensor_bytes(tensor) != size - start - length) refuse(name, "more or fewer values than its shape");
    tensor->data = data + start + length;
}

static const unsigned char *find_end(const char *name, struct bytes content) {
    for (size_t back = END; back <= content.size && back <= END + COMMENT; back++)
        if (!memcmp(content.data + content.size - back, END_MARK, 4))
            return content.data + content.size - back;
    refuse(name, "no ZIP");
}

// Read the member whose central record is at `at`; returns where the next record is.
static size_t read_member(const char *name, struct bytes content, size_t at, struct tensor *tensor) {
    const unsigned char *record = content.data + at;
    if (at + CENTRAL > content.size || memcmp(record, CENTRAL_MARK, 4)) refuse(name, "a broken ZIP");
    size_t size = number(record + 24, 4), named = number(record + 28, 2), local = number(record + 42, 4);
    size_t next = at + CENTRAL + named + number(record + 30, 2) + number(record + 32, 2);
    if (number(record + 10, 2) || number(record + 20, 4) != size) refuse(name, "compressed members");
    if (next > content.size || local + LOCAL > content.size) refuse(name, "a broken ZIP");
    if (memcmp(content.data + local, LOCAL_MARK, 4)) refuse(name, "a broken ZIP");
    size_t data = local + LOCAL + number(content.data + local + 26, 2) +
                  number(content.data + local + 28, 2);
    if (data > content.size || size > content.size - data) refuse(name, "a member that is cut off");
    if (crc32(content.data + data, size) != number(record + 16, 4)) refuse(name, "another checksum");
    if (named < 5 || memcmp(record + CENTRAL + named - 4, ".npy", 4)) refuse(name, "no .npy");
    tensor->name = copy_text((const char *)record + CENTRAL, named - 4);
    read_npy(name, content.data + data, size, tensor);
    return next;
}

struct tensor *read_npz(const char *name, struct bytes content, size_t *count) {
    const unsigned char *end = find_end(name, content);
    *count = number(end + 10, 2);
    size_t at = number(end + 16, 4);
    struct tensor *tensors = allocate(*count * sizeof *tensors);
    for (size_t i = 0; i < *count; i++) at = read_member(name, content, at, tensors + i);
    return tensors;
}

static void put(FILE *out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) fputc((int)(value >> (8 * i) & 255), out);
}

static struct bytes make_npy(const struct tensor *tensor) {
    char header[512];
    int used = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                        tensor->dtype->descr);
    for (size_t i = 0; i < tensor->rank; i++)
        used += snprintf(header + used, sizeof header - (size_t)used, "%lld,%s",
                         (long long)tensor->shape[i], i + 1 < tensor->rank ? " " : "");
    used += snprintf(header + used, sizeof header - (size_t)used, "), }");
    while ((10 + used + 1) % NPY_ALIGNED) header[used++] = ' ';
    header[used++] = '\n';
    struct bytes made = {.size = 10 + (size_t)used + tensor_bytes(tensor)};
    made.data = allocate(made.size);
    memcpy(made.data, NPY_MARK, 6);
    made.data[6] = 1;  // version 1.0
    made.data[7] = 0;
    made.data[8] = (unsigned char)(used & 255);
    made.data[9] = (unsigned char)(used >> 8);
    memcpy(made.data + 10, header, (size_t)used);
    memcpy(made.data + 10 + used, tensor->data, tensor_bytes(tensor));
    return made;
}

// What a local and a central record share, from the version to the lengths.
static void put_facts(FILE *out, const struct tensor *tensor, struct bytes npy) {
    put(out, 20, 2);
    put(out, 0, 4);           // no flags, no compression
    put(out, 33ul << 16, 4);  // 1980-01-01
    put(out, crc32(npy.data, npy.size), 4);
    put(out, npy.size, 4);
    put(out, npy.size, 4);
    put(out, strlen(tensor->name) + 4, 2);
    put(out, 0, 2);
}

struct bytes make_npz(const struct tensor *tensors, size_t count) {
    char *made;
    size_t size;
    FILE *out = open_memstream(&made, &size);
    if (!out) fail(BROKEN, "want memory for outputs, got none");
    struct bytes *members = allocate(count * sizeof *members);
    long *places = allocate(count * sizeof *places);
    for (size_t i = 0; i < count; i++) {
        members[i] = make_npy(tensors + i);
        places[i] = ftell(out);
        fwrite(LOCAL_MARK, 1, 4, out);
        put_facts(out, tensors + i, members[i]);
        fprintf(out, "%s.npy", tensors[i].name);
        fwrite(members[i].data, 1, members[i].size, out);
    }
    long central = ftell(out);
    for (size_t i = 0; i < count; i++) {
        fwrite(CENTRAL_MARK, 1, 4, out);
        put(out, 20, 2);
        put_facts(out, tensors + i, members[i]);
        put(out, 0, 8);  // no comment, first disk, no internal attributes
        put(out, 0, 2);
        put(out, (uint64_t)places[i], 4);
        fprintf(out, "%s.npy", tensors[i].name);
    }
    long end = ftell(out);
    fwrite(END_MARK, 1, 4, out);
    put(out, 0, 4);
    put(out, count, 2);
    put(out, count, 2);
    put(out, (uint64_t)(end - central), 4);
    put(out, (uint64_t)central, 4);
    put(out, 0, 2);
    if (fclose(out)) fail(BROKEN, "want memory for outputs, got none");
    return (struct bytes){(unsigned char *)made, size};
}
