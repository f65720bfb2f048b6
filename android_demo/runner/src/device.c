#include "device.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

// Read a property of Android; "" on other systems.
static void property(const char *name, char value[92]) {
    int (*get)(const char *, char *);
    *(void **)&get = dlsym(RTLD_DEFAULT, "__system_property_get");
    *value = 0;
    if (get) get(name, value);
}

// Read a line `key : value` of /proc/cpuinfo; "" where there is none.
static void cpuinfo(const char *key, char value[128]) {
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    *value = 0;
    while (file && !*value && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        size_t length = strlen(key);
        if (colon && !strncmp(line, key, length) && strspn(line + length, " \t:") > 0)
            snprintf(value, 128, "%.*s", (int)strcspn(colon + 1 + strspn(colon + 1, " "), "\n"),
                     colon + 1 + strspn(colon + 1, " "));
    }
    if (file) fclose(file);
}

static void describe_processor(struct device *device) {
    char maker[92], soc[92], phone[92], value[128], implementer[128];
    static const char *const KEYS[] = {"model name", "Model", "Hardware"};
    property("ro.soc.manufacturer", maker);
    property("ro.soc.model", soc);
    property("ro.product.model", phone);
    if (*soc || *phone) {
        snprintf(device->processor, sizeof device->processor, "%s %s (%s)", maker, soc, phone);
        return;
    }
    for (int i = 0; i < 3; i++) {
        cpuinfo(KEYS[i], value);
        snprintf(device->processor, sizeof device->processor, "%s", value);
        if (*value) return;
    }
    cpuinfo("CPU implementer", implementer);
    cpuinfo("CPU part", value);
    if (*value)
        snprintf(device->processor, sizeof device->processor, "ARM implementer %.32s, part %.32s",
                 implementer, value);
    else
        snprintf(device->processor, sizeof device->processor, "unknown processor");
}

struct device describe_device(void) {
    struct device device = {.cores = 1};
    struct utsname kernel;
    char release[92];
    cpu_set_t mine;
    uname(&kernel);
    property("ro.build.version.release", release);
    if (*release) snprintf(device.system, sizeof device.system, "Android %s", release);
    else snprintf(device.system, sizeof device.system, "%.100s", kernel.sysname);
    snprintf(device.architecture, sizeof device.architecture, "%.100s", kernel.machine);
    describe_processor(&device);
    if (!sched_getaffinity(0, sizeof mine, &mine)) device.cores = CPU_COUNT(&mine);
    return device;
}

long long peak_rss_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (long long)usage.ru_maxrss * 1024;
}
