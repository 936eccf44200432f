/* null.c - a device for tests and dry runs: the results of the C references, and faults where its options put them.
 *
 * Options are words with commas between them; N counts from 1 and over all plans of the device:
 *   alloc=N   the Nth allocation of device memory fails        build=N   the Nth plan does not build
 *   hang=N    the Nth run never ends                           lost=N    the device is gone in the middle of the Nth
 * run flip=N    the Nth run flips one bit of its first output    dry       runs compute nothing kind=K    it calls
 * itself ref (the default), cpu, gpu or npu
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libnpu/dev/null.h"

struct faults {
    long alloc, build, hang, lost, flip; /* 0: never */
    bool dry;
    enum npu_dev_kind kind;
};

struct null_dev {
    struct npu_dev base;
    struct faults f;
    atomic_long allocs, builds, runs;
    atomic_bool lost;
    _Atomic(const struct npu_plan *) hung;
};

static struct null_dev *dev_of(const struct npu_plan *p)
{
    return (struct null_dev *)p->dev;
}

static const struct npu_dev_ops *ref(void)
{
    return &npu_dev_ref_ops;
}

/* ---- options ---- */
static int parse_kind(const char *value, size_t n, enum npu_dev_kind *ret_kind)
{
    static const char *const name[] = {"ref", "cpu", "gpu", "npu"};

    for (int k = 0; k < 4; k++)
        if (strlen(name[k]) == n && strncmp(value, name[k], n) == 0) {
            *ret_kind = (enum npu_dev_kind)k;
            return 0;
        }
    return -EINVAL;
}

static int parse_word(const char *word, size_t n, struct faults *f)
{
    const struct {
        const char *name;
        long *at;
    } count[] = {
        {"alloc=", &f->alloc}, {"build=", &f->build}, {"hang=", &f->hang}, {"lost=", &f->lost}, {"flip=", &f->flip}};
    char *end;

    if (n == 3 && strncmp(word, "dry", 3) == 0) {
        f->dry = true;
        return 0;
    }
    if (strncmp(word, "kind=", 5) == 0)
        return parse_kind(word + 5, n - 5, &f->kind);
    for (size_t i = 0; i < sizeof count / sizeof count[0]; i++)
        if (strncmp(word, count[i].name, strlen(count[i].name)) == 0) {
            const char *value = word + strlen(count[i].name);

            *count[i].at = strtol(value, &end, 10);
            return value < end && end == word + n && *count[i].at > 0 ? 0 : -EINVAL;
        }
    return -EINVAL;
}

/* 0, or -EINVAL with the offending word. */
static int parse(const char *options, struct faults *ret_faults, const char **ret_word, size_t *ret_n)
{
    struct faults f = {.kind = NPU_KIND_REF};

    for (const char *at = options; *at;) {
        const size_t n = strcspn(at, ",");

        if (n > 0 && parse_word(at, n, &f) < 0) {
            *ret_word = at;
            *ret_n = n;
            return -EINVAL;
        }
        at += n + (at[n] == ',');
    }
    *ret_faults = f;
    return 0;
}

/* ---- plans ---- */
static int gone(struct npu_plan *p)
{
    return npu_plan_fail(p, -ENODEV, "the device is lost (injected)");
}

static int null_lower(struct npu_plan *p)
{
    return ref()->plan_lower(p);
}

static int null_build(struct npu_plan *p)
{
    struct null_dev *d = dev_of(p);

    if (d->lost)
        return gone(p);
    for (int b = 0; b < p->n_banks; b++)
        if (++d->allocs == d->f.alloc)
            return npu_plan_fail(p, -ENOMEM, "no device memory for %zu bytes (injected)", p->bank[b].size);
    if (++d->builds == d->f.build)
        return npu_plan_fail(p, -ENOEXEC, "program does not build (injected)");
    return ref()->plan_build(p);
}

static void null_free(struct npu_plan *p)
{
    ref()->plan_free(p);
}

static int null_write(struct npu_plan *p, struct npu_place at, const void *data)
{
    return dev_of(p)->lost ? gone(p) : ref()->write(p, at, data);
}

static int null_read(struct npu_plan *p, struct npu_place at, void *data)
{
    return dev_of(p)->lost ? gone(p) : ref()->read(p, at, data);
}

/* One bit of the first output, another one in each run. */
static int flip_bit(struct npu_plan *p, long run)
{
    struct npu_place at = {.bank = -1};
    unsigned char byte;
    size_t bit;
    int r;

    if (p->graph->n_outputs > 0)
        at = npu_plan_place(p, p->graph->output[0].val);
    if (at.bank < 0 || at.size == 0)
        return 0;
    bit = (size_t)run * 2654435761u % (at.size * 8);
    at = (struct npu_place){at.bank, at.offset + bit / 8, 1};
    r = ref()->read(p, at, &byte);
    byte ^= (unsigned char)(1u << bit % 8);
    return r < 0 ? r : ref()->write(p, at, &byte);
}

static int null_submit(struct npu_plan *p)
{
    struct null_dev *d = dev_of(p);
    const long run = ++d->runs;
    int r;

    if (d->lost)
        return gone(p);
    if (run == d->f.lost) {
        d->lost = true; /* told by the wait: the submission itself was taken */
        return 0;
    }
    if (run == d->f.hang) {
        d->hung = p;
        return 0;
    }
    r = d->f.dry ? 0 : ref()->submit(p);
    return r == 0 && run == d->f.flip ? flip_bit(p, run) : r;
}

static int null_wait(struct npu_plan *p, int64_t timeout_ns)
{
    struct null_dev *d = dev_of(p);
    struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000}, hour = {.tv_sec = 3600};

    if (d->lost)
        return gone(p);
    if (d->hung != p)
        return d->f.dry ? 0 : ref()->wait(p, timeout_ns);
    if (timeout_ns < 0)
        for (;;) /* as a driver does that hangs */
            nanosleep(&hour, NULL);
    nanosleep(&t, NULL);
    return -ETIMEDOUT;
}

static void null_close(struct npu_dev *d)
{
    free(d);
}

static const struct npu_dev_ops null_ops = {
    .name = "null",
    .plan_lower = null_lower,
    .plan_build = null_build,
    .plan_free = null_free,
    .write = null_write,
    .read = null_read,
    .submit = null_submit,
    .wait = null_wait,
    .close = null_close,
};

/* ---- the device ---- */
void npu_dev_null_info(const char *options, struct npu_dev_info *ret_info)
{
    struct npu_dev_info i;
    struct faults f;
    const char *word;
    size_t n;

    npu_dev_ref_info(&i);
    strcpy(i.id, "null");
    strcpy(i.name, "null device (plain C reference with faults)");
    if (parse(options, &f, &word, &n) == 0) {
        i.kind = f.kind;
    } else {
        i.usable = false;
        snprintf(i.why_not, sizeof i.why_not, "NPU_NULL: no such option: %.*s", (int)(n < 60 ? n : 60), word);
    }
    *ret_info = i;
}

int npu_dev_null_open(struct npu_ctx *c, const char *options, struct npu_dev **ret_dev)
{
    struct null_dev *d;
    struct faults f;
    const char *word;
    size_t n;

    if (parse(options, &f, &word, &n) < 0)
        return npu_ctx_fail(c, -EINVAL, "null device: no such option: %.*s", (int)(n < 60 ? n : 60), word);
    d = calloc(1, sizeof *d);
    if (!d)
        return npu_ctx_fail(c, -ENOMEM, "null device: out of memory");
    npu_dev_null_info(options, &d->base.info);
    d->base.ops = &null_ops;
    d->base.ctx = c;
    d->base.traits = (struct npu_traits){.kind = f.kind, .compute_units = 1, .vec_f32 = 1, .max_work_group = 1};
    d->base.align = 64;
    d->base.max_bank = SIZE_MAX / 4;
    d->f = f;
    *ret_dev = &d->base;
    return 0;
}
