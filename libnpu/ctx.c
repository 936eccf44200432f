/* ctx.c - the context: which devices there are, opening one by id or by kind. */
#include "libnpu/ctx.h"

#include <stdarg.h>
#include <stdlib.h>

#include "libnpu/dev.h"
#include "libnpu/dev/null.h"
#include "libnpu/dev/sim.h"
#include "libnpu/discover.h"
#include "libnpu/tune.h"

int npu_ctx_fail(struct npu_ctx *c, int r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(c->error, sizeof c->error, fmt, ap);
    va_end(ap);
    return r;
}

const char *npu_ctx_error(const npu_ctx *c)
{
    return c->error;
}

int npu_ctx_n_devices(const npu_ctx *c)
{
    return c->n_devices;
}

int npu_ctx_device(const npu_ctx *c, int index, struct npu_dev_info *ret_info)
{
    if (index < 0 || index >= c->n_devices)
        return -ERANGE;
    *ret_info = c->device[index];
    return 0;
}

/* Where program binaries are kept if the caller leaves it to us; NULL = nowhere. */
static char *default_cache_dir(void)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *dir = NULL;

    if (xdg && xdg[0] == '/')
        return asprintf(&dir, "%s/gazed", xdg) < 0 ? NULL : dir;
    if (home && home[0] == '/')
        return asprintf(&dir, "%s/.cache/gazed", home) < 0 ? NULL : dir;
    return NULL;
}

/* Nodes that could be used if a driver served them: says which drivers failed, if any. */
static void explain_nodes(struct npu_node_found *node, int n, struct cl_search *search)
{
    struct npu_icd icd[NPU_MAX_ICDS];
    bool looked = search->why[0] || cl_is_loaded();

    for (int i = 0; i < n; i++) {
        char *why = node[i].info.why_not;
        size_t at = strlen(why);

        if (node[i].joined || !node[i].accessible)
            continue;
        if (!looked) { /* the loader says nothing of a driver that it can't load */
            int n_icds = npu_icd_list(icd, NPU_MAX_ICDS);

            looked = true;
            if (n_icds > search->platforms) {
                npu_icd_check(icd, n_icds);
                npu_icd_text(icd, n_icds, search->why, sizeof search->why);
            }
        }
        if (search->why[0])
            snprintf(why + at, sizeof node[i].info.why_not - at, " (%s)", search->why);
    }
}

/* OpenCL devices, then nodes that none of them stands for, then ref, then null if the environment asks for it. */
static int find_devices(npu_ctx *c)
{
    struct cl_found *cl = calloc(NPU_MAX_DEVICES, sizeof *cl);
    struct npu_node_found *node = calloc(NPU_MAX_DEVICES, sizeof *node);
    struct cl_search search = {0};
    int n_cl, n_nodes;

    if (!cl || !node) {
        free(cl);
        free(node);
        return -ENOMEM;
    }
    n_cl = npu_find_cl(cl, NPU_MAX_DEVICES - 2, &search);
    n_nodes = npu_find_nodes(node, NPU_MAX_DEVICES);
    npu_join_nodes(cl, n_cl, node, n_nodes);
    explain_nodes(node, n_nodes, &search);
    for (int i = 0; i < n_cl; i++)
        c->device[c->n_devices++] = cl[i].info;
    for (int i = 0; i < n_nodes && c->n_devices < NPU_MAX_DEVICES - 2; i++)
        if (!node[i].joined)
            c->device[c->n_devices++] = node[i].info;
    npu_dev_ref_info(&c->device[c->n_devices++]);
    if (getenv("NPU_NULL"))
        npu_dev_null_info(getenv("NPU_NULL"), &c->device[c->n_devices++]);
    strcpy(c->cl_why, search.why);
    strcpy(c->error, search.why);
    free(cl);
    free(node);
    return 0;
}

int npu_ctx_new(const char *cache_dir, npu_ctx **ret_ctx)
{
    npu_ctx *c = calloc(1, sizeof *c);
    int r;

    if (!c)
        return -ENOMEM;
    if (!cache_dir)
        c->cache_dir = default_cache_dir();
    else if (cache_dir[0])
        c->cache_dir = strdup(cache_dir);
    cl_prepare_environment(cache_dir && cache_dir[0] ? cache_dir : NULL);
    r = find_devices(c);
    if (r < 0) {
        npu_ctx_free(c);
        return r;
    }
    *ret_ctx = c;
    return 0;
}

npu_ctx *npu_ctx_free(npu_ctx *c)
{
    if (c) {
        cl_release_environment();
        free(c->cache_dir);
        free(c);
    }
    return NULL;
}

static const char *const kind_names[] = {"ref", "cpu", "gpu", "npu"};

static bool wanted(const struct npu_dev_info *i, const char *which)
{
    if (strcmp(which, i->id) == 0 || strcmp(which, kind_names[i->kind]) == 0)
        return true;
    return strcmp(which, "cl") == 0 && strncmp(i->id, "cl", 2) == 0;
}

/* The best usable device that answers to `which` (NULL: any): NPU, GPU, CPU, ref. */
static const struct npu_dev_info *choose(const npu_ctx *c, const char *which)
{
    const struct npu_dev_info *best = NULL;

    for (int i = 0; i < c->n_devices; i++) {
        const struct npu_dev_info *d = &c->device[i];

        if (d->usable && (!which || wanted(d, which)) && (!best || d->kind > best->kind))
            best = d;
    }
    return best;
}

static int no_device(npu_ctx *c, const char *which)
{
    char found[800] = "";
    size_t n = 0;

    for (int i = 0; i < c->n_devices && n < sizeof found; i++) {
        const struct npu_dev_info *d = &c->device[i];

        n += (size_t)snprintf(found + n, sizeof found - n, "%s%s (%s%s%s)", i ? ", " : "", d->id, d->name,
                              d->usable ? "" : "; ", d->why_not);
    }
    return npu_ctx_fail(c, -ENODEV, "no usable device \"%s\"; found: %s%s%s", which, found, c->cl_why[0] ? "; " : "",
                        c->cl_why);
}

/* "null" and "null:OPTIONS", "sim" and "sim:OPTIONS" are there if they are called by name. Options: NULL if it is
 * another name; those of the environment if there are none. */
static const char *named_options(const char *which, const char *name, const char *variable)
{
    const size_t n = strlen(name);
    const char *options = getenv(variable);

    if (!which || strncmp(which, name, n) != 0 || (which[n] && which[n] != ':'))
        return NULL;
    return which[n] ? which + n + 1 : options ? options : "";
}

static int open_found(npu_ctx *c, const struct npu_dev_info *i, npu_dev **ret_dev)
{
    const char *options = getenv("NPU_NULL");

    if (strcmp(i->id, "null") == 0)
        return npu_dev_null_open(c, options ? options : "", ret_dev);
    return strcmp(i->id, "ref") == 0 ? npu_dev_ref_open(c, i, ret_dev) : npu_dev_cl_open(c, i, ret_dev);
}

int npu_dev_open(npu_ctx *c, const char *which, npu_dev **ret_dev)
{
    const struct npu_dev_info *i = choose(c, which && strcmp(which, "auto") != 0 ? which : NULL);
    const char *null_options = named_options(which, "null", "NPU_NULL"),
               *sim_options = named_options(which, "sim", "NPU_SIM");
    int r;

    if (null_options)
        r = npu_dev_null_open(c, null_options, ret_dev);
    else if (sim_options)
        r = npu_dev_sim_open(c, sim_options, ret_dev);
    else
        r = i ? open_found(c, i, ret_dev) : no_device(c, which ? which : "auto");
    if (r == 0)
        c->n_open++;
    return r;
}

npu_dev *npu_dev_close(npu_dev *d)
{
    if (d) {
        d->ctx->n_open--;
        npu_tune_free(d->tune);
        d->ops->close(d);
    }
    return NULL;
}

const struct npu_dev_info *npu_dev_get_info(const npu_dev *d)
{
    return &d->info;
}
