/* discover_nodes.c - the kernel's accelerator and render nodes by udev, and whether this user may open them. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libudev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>

#include "libnpu/discover.h"

/* What serves a kernel driver's devices with OpenCL. */
static const char *remedy(const char *driver)
{
    static const struct {
        const char *driver, *text;
    } known[] = {
        {"i915", "install intel-opencl-icd"},
        {"xe", "install intel-opencl-icd"},
        {"amdgpu", "install mesa-opencl-icd (rusticl) or ROCm's OpenCL"},
        {"radeon", "install mesa-opencl-icd"},
        {"nouveau", "install mesa-opencl-icd (rusticl)"},
        {"nvidia", "install nvidia-opencl-icd"},
        {"nvidia-drm", "install nvidia-opencl-icd"},
        {"panfrost", "install mesa-opencl-icd (rusticl)"},
        {"panthor", "install mesa-opencl-icd (rusticl) or Arm's driver"},
        {"msm", "install mesa-opencl-icd (rusticl)"},
        {"intel_vpu", "Intel offers Level Zero and OpenVINO for it, no OpenCL"},
        {"amdxdna", "AMD offers XRT for it, no OpenCL"},
        {"rocket", "Mesa offers Teflon for it, no OpenCL"},
        {"ethosu", "Mesa offers Teflon for it, no OpenCL"},
        {"habanalabs", "its vendor offers a stack of its own, no OpenCL"},
        {"qaic", "its vendor offers a stack of its own, no OpenCL"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].driver, driver) == 0)
            return known[i].text;
    return "install its OpenCL driver";
}

/* Opens the node for its driver's name; returns 0 or -errno. */
static int ask_driver(const char *node, char *name, size_t name_size, char *version, size_t version_size)
{
    int fd = open(node, O_RDWR | O_CLOEXEC | O_NOCTTY);
    drmVersion *v;

    if (fd < 0)
        return -errno;
    v = drmGetVersion(fd);
    if (v) {
        snprintf(name, name_size, "%s", v->name ? v->name : "");
        snprintf(version, version_size, "%s %d.%d.%d", v->name ? v->name : "", v->version_major, v->version_minor,
                 v->version_patchlevel);
        drmFreeVersion(v);
    }
    close(fd);
    return 0;
}

/* Why opening failed, with what to do. */
static void no_access(const char *node, int r, char *why, size_t size)
{
    char group[64] = "?";
    struct stat st;

    if (stat(node, &st) == 0) {
        struct group *g = getgrgid(st.st_gid);
        if (g)
            snprintf(group, sizeof group, "%.60s", g->gr_name);
    }
    if (r == -EACCES || r == -EPERM)
        snprintf(why, size, "%s: no permission for %.60s: add the user to group %s",
                 r == -EACCES ? "-EACCES" : "-EPERM", node, group);
    else
        snprintf(why, size, "%.60s can't be opened: %s", node, strerror(-r));
}

static void describe(struct udev_device *dev, struct npu_node_found *n)
{
    struct udev_device *bus = udev_device_get_parent(dev),
                       *pci = udev_device_get_parent_with_subsystem_devtype(dev, "pci", NULL);
    const char *node = udev_device_get_devnode(dev), *driver = bus ? udev_device_get_driver(bus) : NULL;
    const char *subsystem = udev_device_get_subsystem(dev);
    char name[64], version[128];
    int r;

    memset(n, 0, sizeof *n);
    snprintf(name, sizeof name, "%s", driver ? driver : "");
    snprintf(version, sizeof version, "%s", driver ? driver : "unknown driver");
    snprintf(n->info.node, sizeof n->info.node, "%s", node);
    snprintf(n->info.id, sizeof n->info.id, "%.31s", udev_device_get_sysname(dev));
    if (pci && udev_device_get_sysname(pci))
        snprintf(n->pci, sizeof n->pci, "%.15s", udev_device_get_sysname(pci));
    n->accel = subsystem && strcmp(subsystem, "accel") == 0;
    n->info.kind = n->accel ? NPU_KIND_NPU : NPU_KIND_GPU;
    r = ask_driver(node, name, sizeof name, version, sizeof version);
    snprintf(n->info.driver, sizeof n->info.driver, "%s", version);
    snprintf(n->info.name, sizeof n->info.name, "%.60s %s", name[0] ? name : "unknown",
             n->accel ? "accelerator" : "GPU");
    n->accessible = r == 0;
    if (r < 0)
        no_access(node, r, n->info.why_not, sizeof n->info.why_not);
    else
        snprintf(n->info.why_not, sizeof n->info.why_not, "no OpenCL driver serves it: %s", remedy(name));
}

int npu_find_nodes(struct npu_node_found *ret_found, int max)
{
    struct udev *u = udev_new();
    struct udev_enumerate *e = u ? udev_enumerate_new(u) : NULL;
    struct udev_list_entry *item;
    int n = 0;

    if (e) {
        udev_enumerate_add_match_subsystem(e, "accel");
        udev_enumerate_add_match_subsystem(e, "drm");
        udev_enumerate_scan_devices(e);
    }
    for (item = e ? udev_enumerate_get_list_entry(e) : NULL; item && n < max; item = udev_list_entry_get_next(item)) {
        struct udev_device *dev = udev_device_new_from_syspath(u, udev_list_entry_get_name(item));
        const char *name = dev ? udev_device_get_sysname(dev) : NULL; /* NULL also if it was unplugged meanwhile */

        if (name && udev_device_get_devnode(dev) &&
            (strncmp(name, "renderD", 7) == 0 || strncmp(name, "accel", 5) == 0))
            describe(dev, &ret_found[n++]);
        if (dev)
            udev_device_unref(dev);
    }
    if (e)
        udev_enumerate_unref(e);
    if (u)
        udev_unref(u);
    return n;
}

/* Gives a device its node; only an accel node makes an NPU of it. */
static void join_one(struct cl_found *c, struct npu_node_found *n)
{
    if (!c->info.node[0])
        snprintf(c->info.node, sizeof c->info.node, "%s", n->info.node);
    if (n->accel)
        c->info.kind = NPU_KIND_NPU;
    n->joined = true;
}

void npu_join_nodes(struct cl_found *cl, int n_cl, struct npu_node_found *node, int n_nodes)
{
    int gpus = 0, renders = 0, gpu = 0, render = 0;

    for (int i = 0; i < n_cl; i++)
        for (int k = 0; k < n_nodes; k++)
            if (cl[i].pci[0] && strcmp(cl[i].pci, node[k].pci) == 0 &&
                (node[k].accel || cl[i].info.kind == NPU_KIND_GPU))
                join_one(&cl[i], &node[k]);
    for (int i = 0; i < n_cl; i++)
        if (cl[i].info.kind == NPU_KIND_GPU && !cl[i].info.node[0] && !cl[i].pci[0]) {
            gpu = i;
            gpus++;
        }
    for (int k = 0; k < n_nodes; k++)
        if (!node[k].accel && !node[k].joined) {
            render = k;
            renders++;
        }
    if (gpus == 1 && renders == 1) /* no bus addresses, but only one way to pair them */
        join_one(&cl[gpu], &node[render]);
}
