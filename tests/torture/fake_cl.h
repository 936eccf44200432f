/* fake_cl.h - an OpenCL of one platform in plain C, linked instead of the loader: calls fail, devices appear and
 * drivers change as a test wants. Kernels compute nothing, but `scale`; native kernels run, and the product that a
 * driver may have built in. */
#ifndef TEST_FAKE_CL_H
#define TEST_FAKE_CL_H

#include <stdatomic.h>
#include <stdbool.h>

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

enum { FAKE_CL_DEVICES = 2 };

struct fake_cl {
    int n_devices;
    struct {
        cl_device_type type;
        enum { FAKE_CL_NO_PCI, FAKE_CL_PCI_KHR, FAKE_CL_PCI_NV, FAKE_CL_PCI_AMD } says; /* its place, in whose way */
        cl_uint pci[4];               /* domain, bus, device, function */
        const char *built_in_kernels; /* NULL: the driver does not know the question */
        const char *extensions;       /* NULL: one that nobody has */
        bool has_no_compiler, has_no_native_kernels;
    } device[FAKE_CL_DEVICES];
    const char *driver_version;
    bool rejects_binaries;            /* as a driver does that was updated without a new version */
    bool (*fails)(const char *call);  /* asked in each call that may fail; NULL: none fails */
    bool multiplies_wrongly;          /* the built-in product */
    int run_status;                   /* what an event of a kernel ends with: CL_COMPLETE or an error */
    int (*n_args)(const char *entry); /* of a kernel */
    /* Counted. */
    atomic_int compiles, binaries; /* programs made from source, from a binary */
    atomic_int live;               /* objects */
    atomic_int waits;              /* calls that return when the device has done something */
};

extern struct fake_cl fake_cl;

#endif
