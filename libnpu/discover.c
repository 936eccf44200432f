/* discover.c - which OpenCL devices there are, and why there are none. */
#include "libnpu/discover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct answer {
    int n, platforms;
    struct cl_found found[NPU_MAX_DEVICES];
};

static void list_cl(void *answer)
{
    struct answer *a = answer;

    a->n = cl_list_devices(a->found, NPU_MAX_DEVICES, &a->platforms);
}

/* In a child process, or here if drivers live here already. */
static int list(struct answer *a, int *ret_signal)
{
    int r = 0;

    *ret_signal = 0;
    if (cl_is_loaded())
        list_cl(a);
    else
        r = npu_probe(list_cl, a, sizeof *a, npu_probe_ms(), ret_signal);
    return r == 0 && (a->n < 0 || a->n > NPU_MAX_DEVICES) ? -EPROTO : r;
}

static void explain_failure(int r, int sig, char *why, size_t size)
{
    if (r == -ETIMEDOUT)
        snprintf(why, size, "an OpenCL driver hung while it was asked for devices; see /etc/OpenCL/vendors");
    else if (r == -EPIPE && sig)
        snprintf(why, size,
                 "an OpenCL driver crashed (signal %d) while it was asked for devices; see /etc/OpenCL/vendors", sig);
    else
        snprintf(why, size, "OpenCL drivers could not be asked: %s", strerror(-r));
}

/* Some driver crashed or hung: finds out which, leaves it out and asks the others. */
static int list_without_harmful(struct answer *a, int r, int sig, char *why, size_t size)
{
    struct npu_icd icd[NPU_MAX_ICDS];
    int n = npu_icd_list(icd, NPU_MAX_ICDS), harmful = 0;

    explain_failure(r, sig, why, size);
    if (r != -ETIMEDOUT && r != -EPIPE)
        return r;
    npu_icd_check(icd, n);
    for (int i = 0; i < n; i++)
        harmful += icd[i].harmful;
    if (harmful == 0) /* none of them alone */
        return r;
    npu_icd_text(icd, n, why, size);
    r = npu_icd_leave_out_harmful(icd, n);
    return r == 0 ? list(a, &sig) : r;
}

static void explain_nothing(char *why, size_t size)
{
    struct npu_icd icd[NPU_MAX_ICDS];
    int n = npu_icd_list(icd, NPU_MAX_ICDS);

    if (n > 0 && !cl_is_loaded())
        npu_icd_check(icd, n);
    npu_icd_text(icd, n, why, size);
    if (n == 0)
        snprintf(why, size, "no OpenCL driver is installed: install pocl-opencl-icd or your device's driver");
    else if (!why[0])
        snprintf(why, size, "no OpenCL driver could be loaded; see /etc/OpenCL/vendors");
}

int npu_find_cl(struct cl_found *ret_found, int max, struct cl_search *ret_search)
{
    struct answer *a = calloc(1, sizeof *a);
    char *why = ret_search->why;
    int r, sig, n = 0;

    *ret_search = (struct cl_search){0};
    if (!a) {
        snprintf(why, sizeof ret_search->why, "OpenCL drivers could not be asked: out of memory");
        return -ENOMEM;
    }
    r = list(a, &sig);
    if (r < 0)
        r = list_without_harmful(a, r, sig, why, sizeof ret_search->why);
    else if (a->platforms == 0)
        explain_nothing(why, sizeof ret_search->why);
    else if (a->n == 0)
        snprintf(why, sizeof ret_search->why, "%d OpenCL driver(s), but no device", a->platforms);
    ret_search->platforms = r < 0 ? 0 : a->platforms;
    for (; r == 0 && n < a->n && n < max; n++)
        ret_found[n] = a->found[n];
    free(a);
    return r < 0 ? r : n;
}
