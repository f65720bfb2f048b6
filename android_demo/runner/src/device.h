// What this device is; no names of people, no paths.
#ifndef PORTRAIT_DEVICE_H
#define PORTRAIT_DEVICE_H

struct device {
    char system[128], architecture[128], processor[320];
    int cores;  // that this process may use
};

struct device describe_device(void);
long long peak_rss_bytes(void);

#endif
