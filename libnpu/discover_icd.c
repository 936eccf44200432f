/* discover_icd.c - the files that name OpenCL drivers (*.icd), and what is wrong with a driver. The loader is silent
 * about one that it can't load, and a driver that crashes takes the process and all other drivers with it.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libnpu/discover.h"

#define DEFAULT_VENDORS "/etc/OpenCL/vendors"

static bool ends_in_icd(const char *name)
{
    size_t n = strlen(name);

    return n > 4 && strcmp(name + n - 4, ".icd") == 0;
}

/* The first line of the file is the library. */
static void add_file(const char *path, struct npu_icd *icd)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = -1;

    *icd = (struct npu_icd){.platforms = -1};
    snprintf(icd->file, sizeof icd->file, "%s", path);
    if (fd >= 0) {
        n = read(fd, icd->library, sizeof icd->library - 1);
        close(fd);
    }
    icd->library[n < 0 ? 0 : n] = '\0';
    icd->library[strcspn(icd->library, "\r\n")] = '\0';
    if (!icd->library[0])
        strcpy(icd->why_not, n < 0 ? "can't be read" : "names no library");
}

static int by_file(const void *a, const void *b)
{
    return strcmp(((const struct npu_icd *)a)->file, ((const struct npu_icd *)b)->file);
}

static int add_folder(const char *path, struct npu_icd *icd, int max)
{
    DIR *h = opendir(path);
    struct dirent *e;
    char name[256];
    int n = 0;

    while (h && n < max && (e = readdir(h)))
        if (ends_in_icd(e->d_name) && snprintf(name, sizeof name, "%s/%s", path, e->d_name) < (int)sizeof name)
            add_file(name, &icd[n++]);
    if (h)
        closedir(h);
    qsort(icd, (size_t)n, sizeof icd[0], by_file);
    return n;
}

int npu_icd_list(struct npu_icd *ret_icd, int max)
{
    const char *vendors = getenv("OCL_ICD_VENDORS"), *folder = getenv("OPENCL_VENDOR_PATH");
    char name[256];
    struct stat st;

    if (!folder || !folder[0])
        folder = DEFAULT_VENDORS;
    if (!vendors || !vendors[0])
        return add_folder(folder, ret_icd, max);
    if (stat(vendors, &st) == 0 && S_ISDIR(st.st_mode))
        return add_folder(vendors, ret_icd, max);
    if (!ends_in_icd(vendors)) {
        if (strchr(vendors, '/') && access(vendors, F_OK) < 0)
            return 0;
        ret_icd[0] = (struct npu_icd){.platforms = -1};
        snprintf(ret_icd[0].library, sizeof ret_icd[0].library, "%s", vendors);
        return 1;
    }
    snprintf(name, sizeof name, "%s/%s", folder, vendors);
    add_file(!strchr(vendors, '/') && access(name, F_OK) == 0 ? name : vendors, ret_icd);
    return 1;
}

/* ---- asking one ---- */
struct question {
    struct npu_icd icd;
    struct cl_found found[NPU_MAX_DEVICES];
};

/* In the child. The loader comes after dlopen, whose error it would keep to itself. */
static void ask(void *answer)
{
    struct question *q = answer;
    struct npu_icd *i = &q->icd;
    void *library = dlopen(i->library, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        snprintf(i->why_not, sizeof i->why_not, "can't be loaded: %s", dlerror());
        return;
    }
    if (!dlsym(library, "clGetExtensionFunctionAddress") && !dlsym(library, "clIcdGetPlatformIDsKHR")) {
        snprintf(i->why_not, sizeof i->why_not, "is no OpenCL driver: %.120s", i->library);
        return;
    }
    setenv("OCL_ICD_VENDORS", i->file[0] ? i->file : i->library, 1); /* as ocl-icd takes it */
    setenv("OCL_ICD_FILENAMES", i->library, 1);                      /* and the Khronos loader */
    cl_list_devices(q->found, NPU_MAX_DEVICES, &i->platforms);
    if (i->platforms == 0)
        snprintf(i->why_not, sizeof i->why_not, "offers nothing on this machine");
}

static void check_one(struct npu_icd *icd)
{
    struct question *q = calloc(1, sizeof *q);
    int r, sig = 0;

    if (!q)
        return;
    q->icd = *icd;
    r = npu_probe(ask, q, sizeof *q, npu_probe_ms(), &sig);
    if (r == 0)
        *icd = q->icd;
    else if (r == -ETIMEDOUT)
        strcpy(icd->why_not, "hung while it was asked for devices");
    else if (r == -EPIPE && sig)
        snprintf(icd->why_not, sizeof icd->why_not, "crashed (signal %d) while it was asked for devices", sig);
    else if (r == -EPIPE)
        strcpy(icd->why_not, "ended the process while it was asked for devices");
    icd->harmful = r == -ETIMEDOUT || r == -EPIPE;
    free(q);
}

void npu_icd_check(struct npu_icd *icd, int n)
{
    for (int i = 0; i < n; i++)
        if (!icd[i].why_not[0])
            check_one(&icd[i]);
}

/* ---- leaving out ---- */
/* A folder of the user's own, in which the names are links to good files; its name comes from them. */
static int make_folder(const struct npu_icd *icd, int n, char *path, size_t size)
{
    const char *tmp = getenv("TMPDIR");
    unsigned hash = 5381;
    struct stat st;

    for (int i = 0; i < n; i++)
        for (const char *c = icd[i].harmful ? "" : icd[i].file; *c; c++)
            hash = hash * 33 + (unsigned char)*c;
    snprintf(path, size, "%s/gazed-opencl-%u-%08x", tmp && tmp[0] == '/' ? tmp : "/tmp", (unsigned)getuid(), hash);
    mkdir(path, 0700);
    if (lstat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) && st.st_uid == getuid() && (st.st_mode & 077) == 0 ? 0 : -EPERM;
}

int npu_icd_leave_out_harmful(const struct npu_icd *icd, int n)
{
    char folder[256], name[300], target[4096];
    int r = make_folder(icd, n, folder, sizeof folder), n_good = 0;

    for (int i = 0; i < n && r == 0; i++) {
        if (icd[i].harmful || !icd[i].file[0] || !realpath(icd[i].file, target))
            continue;
        snprintf(name, sizeof name, "%s/%02d.icd", folder, i);
        if (symlink(target, name) < 0 && errno != EEXIST)
            r = -errno;
        n_good++;
    }
    if (r == 0 && n_good == 0)
        r = -ENOENT;
    if (r == 0 && setenv("OCL_ICD_VENDORS", folder, 1) < 0)
        r = -errno;
    return r;
}

void npu_icd_text(const struct npu_icd *icd, int n, char *buf, size_t size)
{
    size_t at = 0;

    buf[0] = '\0';
    for (int i = 0; i < n && at < size; i++) {
        const char *path = icd[i].file[0] ? icd[i].file : icd[i].library;

        if (icd[i].why_not[0])
            at += (size_t)snprintf(buf + at, size - at, "%s%s: %s", at ? "; " : "", path, icd[i].why_not);
    }
}
