/* cl_pci.c - where on the PCI bus an OpenCL device sits, by which it is joined with its kernel node. */
#include "libnpu/dev/cl.h"

/* cl_khr_pci_bus_info, cl_nv_device_attribute_query, cl_amd_device_attribute_query; not in all headers. */
#define PCI_BUS_INFO_KHR 0x410F
#define PCI_BUS_ID_NV    0x4008
#define PCI_SLOT_ID_NV   0x4009
#define PCI_DOMAIN_ID_NV 0x400A
#define TOPOLOGY_AMD     0x4037

struct address {
    cl_uint domain, bus, device, function;
};

struct topology {
    cl_uint type; /* 1: PCI Express */
    unsigned char unused[17], bus, device, function;
};

static bool ask(cl_device_id d, cl_device_info what, size_t size, void *to)
{
    size_t n = 0;

    return clGetDeviceInfo(d, what, size, to, &n) == CL_SUCCESS && n == size;
}

static bool ask_nvidia(cl_device_id d, struct address *a)
{
    cl_uint slot;

    if (!ask(d, PCI_BUS_ID_NV, sizeof a->bus, &a->bus) || !ask(d, PCI_SLOT_ID_NV, sizeof slot, &slot))
        return false;
    if (!ask(d, PCI_DOMAIN_ID_NV, sizeof a->domain, &a->domain))
        a->domain = 0; /* older drivers */
    a->device = slot >> 3;
    a->function = slot & 7;
    return true;
}

static bool ask_amd(cl_device_id d, struct address *a)
{
    struct topology t;

    if (!ask(d, TOPOLOGY_AMD, sizeof t, &t) || t.type != 1)
        return false;
    *a = (struct address){0, t.bus, t.device, t.function};
    return true;
}

void cl_pci_address(cl_device_id d, char *buf, size_t size)
{
    struct address a = {0};

    buf[0] = '\0';
    if (ask(d, PCI_BUS_INFO_KHR, sizeof a, &a) || ask_nvidia(d, &a) || ask_amd(d, &a))
        snprintf(buf, size, "%04x:%02x:%02x.%x", a.domain & 0xffffu, a.bus & 0xffu, a.device & 0x1fu, a.function & 7u);
}
