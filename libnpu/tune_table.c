/* tune_table.c - verdicts on tiers: a table a device, kept in one entry of the program cache, whose rules for damaged
 * and unwritable entries hold. Processes that save at once keep what the other saved, or measure it again. */
#include <inttypes.h>
#include <stdlib.h>

#include "libnpu/dev/cl.h"
#include "libnpu/kernels.h"
#include "libnpu/tune.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { MAX_VERDICTS = 1024, MAX_LINE = 512 };

struct npu_tune {
    char *cache_dir;
    uint64_t key;
    int n;
    struct npu_tune_verdict *verdict[MAX_VERDICTS]; /* readers keep pointers */
    bool changed;
};

/* "AMD EPYC ...": drivers of other devices don't name the host's processor, which drives them. */
static void cpu_model(char buf[49])
{
    memset(buf, 0, 49);
#if defined(__x86_64__)
    for (unsigned i = 0; i < 3; i++) {
        unsigned r[4] = {0};

        if (__get_cpuid(0x80000002u + i, &r[0], &r[1], &r[2], &r[3]))
            memcpy(buf + 16 * i, r, sizeof r);
    }
#endif
}

/* Of all kernel texts: other kernels, other verdicts. */
static uint64_t kernels_hash(void)
{
    const char *text[64];
    int n = 0;

    for (const struct npu_kernel_source *s = npu_kernel_sources; s->name && n < 64; s++)
        text[n++] = s->text;
    return cl_cache_key(text, n);
}

static void load(struct npu_tune *t)
{
    unsigned char *bytes;
    size_t size;

    if (cl_cache_read(t->cache_dir, t->key, &bytes, &size) < 0)
        return;
    npu_tune_parse(t, (const char *)bytes, size);
    free(bytes);
}

struct npu_tune *npu_tune_new(const char *cache_dir, const char *identity, int units)
{
    struct npu_tune *t = calloc(1, sizeof *t);
    char model[49], rest[64];
    const char *key[] = {"tiers 1", GAZED_VERSION, identity, model, rest};

    if (!t)
        return NULL;
    if (cache_dir && !(t->cache_dir = strdup(cache_dir))) {
        free(t);
        return NULL;
    }
    cpu_model(model);
    snprintf(rest, sizeof rest, "%d %" PRIx64, units, kernels_hash());
    t->key = cl_cache_key(key, sizeof key / sizeof key[0]);
    load(t);
    t->changed = false;
    return t;
}

struct npu_tune *npu_tune_free(struct npu_tune *t)
{
    if (!t)
        return NULL;
    for (int i = 0; i < t->n; i++)
        free(t->verdict[i]);
    free(t->cache_dir);
    free(t);
    return NULL;
}

static struct npu_tune_verdict *find(const struct npu_tune *t, const char *class_text)
{
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->verdict[i]->class_text, class_text) == 0)
            return t->verdict[i];
    return NULL;
}

const struct npu_tune_verdict *npu_tune_find(const struct npu_tune *t, const char *class_text)
{
    return find(t, class_text);
}

int npu_tune_add(struct npu_tune *t, const struct npu_tune_verdict *v)
{
    struct npu_tune_verdict *to = find(t, v->class_text);

    if (!to) {
        if (t->n == MAX_VERDICTS)
            return -ENOSPC;
        to = malloc(sizeof *to);
        if (!to)
            return -ENOMEM;
        t->verdict[t->n++] = to;
    }
    *to = *v;
    t->changed = true;
    return 0;
}

/* The candidates' names are the class's last words. Position of one, -1 if it is not among them. */
static int candidate(const struct npu_tune_verdict *v, const char *tier)
{
    const char *end = v->class_text + strlen(v->class_text);

    for (int i = v->n - 1; i >= 0; i--) {
        const char *at = end;

        while (at > v->class_text && at[-1] != ' ')
            at--;
        if ((size_t)(end - at) == strlen(tier) && memcmp(at, tier, (size_t)(end - at)) == 0)
            return i;
        end = at > v->class_text ? at - 1 : at;
    }
    return -1;
}

bool npu_tune_score(const struct npu_tune *t, const char *tier, struct npu_tune_score *ret_score)
{
    struct npu_tune_score s = {.least = HUGE_VAL};

    for (int i = 0; i < t->n; i++) {
        const struct npu_tune_verdict *v = t->verdict[i];
        const int k = candidate(v, tier);
        double times;

        if (k < 0)
            continue;
        s.classes++;
        times = (double)v->us[k] / (double)v->us[v->taken];
        if (k == v->taken) {
            s.best++;
        } else {
            s.least = fmin(s.least, fmax(times, 1.0)); /* the default order wins by a margin */
            s.most = fmax(fmax(s.most, times), 1.0);
        }
    }
    if (s.classes > 0)
        *ret_score = s;
    return s.classes > 0;
}

/* Verdicts of self-tests stand among the others: one candidate with a time of 1 if it passed. */
static void test_name(char *buf, size_t size, const char *tier)
{
    snprintf(buf, size, "self-test:%s", tier);
}

bool npu_tune_get_test(const struct npu_tune *t, const char *tier, bool *ret_passed)
{
    char name[NPU_TUNE_CLASS];
    const struct npu_tune_verdict *v;

    test_name(name, sizeof name, tier);
    v = t ? find(t, name) : NULL;
    if (v)
        *ret_passed = v->us[0] < 1.5f;
    return v;
}

void npu_tune_set_test(struct npu_tune *t, const char *tier, bool passed)
{
    struct npu_tune_verdict v = {.n = 1, .us = {passed ? 1.0f : 2.0f}};

    test_name(v.class_text, sizeof v.class_text, tier);
    if (t && npu_tune_add(t, &v) == 0)
        npu_tune_save(t);
}

/* Likewise what was put off, with a last word that no tier has as its name. */
static void put_off_name(char *buf, size_t size, const char *class_text)
{
    snprintf(buf, size, "%s put-off", class_text);
}

enum npu_tune_put_off npu_tune_put_off(const struct npu_tune *t, const char *class_text)
{
    char name[NPU_TUNE_CLASS];
    const struct npu_tune_verdict *v;

    put_off_name(name, sizeof name, class_text);
    v = find(t, name);
    return !v ? NPU_TUNE_NEW : v->us[0] < 1.5f ? NPU_TUNE_BUSY : NPU_TUNE_LATE;
}

void npu_tune_set_put_off(struct npu_tune *t, const char *class_text, enum npu_tune_put_off p)
{
    struct npu_tune_verdict v = {.n = 1, .us = {p == NPU_TUNE_BUSY ? 1.0f : 2.0f}};

    put_off_name(v.class_text, sizeof v.class_text, class_text);
    npu_tune_add(t, &v);
}

/* class TAB taken TAB time of each candidate */
char *npu_tune_print(const struct npu_tune *t, size_t *ret_size)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, ret_size);

    if (!f)
        return NULL;
    for (int i = 0; i < t->n; i++) {
        const struct npu_tune_verdict *v = t->verdict[i];

        fprintf(f, "%s\t%d\t", v->class_text, v->taken);
        for (int k = 0; k < v->n; k++)
            fprintf(f, "%s%.3f", k ? " " : "", (double)v->us[k]);
        fputc('\n', f);
    }
    if (fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}

static bool parse_line(char *line, struct npu_tune_verdict *v)
{
    char *taken = strchr(line, '\t'), *times = taken ? strchr(taken + 1, '\t') : NULL, *end;

    if (!times || taken - line >= (ptrdiff_t)sizeof v->class_text || taken == line)
        return false;
    memset(v, 0, sizeof *v);
    memcpy(v->class_text, line, (size_t)(taken - line));
    v->taken = (int)strtol(taken + 1, &end, 10);
    if (end == taken + 1 || *end != '\t')
        return false;
    for (char *at = times + 1; *at && v->n < NPU_TUNE_OPTIONS; at = end) {
        v->us[v->n] = strtof(at, &end);
        if (end == at || !(v->us[v->n] > 0.0f && v->us[v->n] < 1e12f))
            return false;
        v->n++;
    }
    return v->taken >= 0 && v->taken < v->n;
}

void npu_tune_parse(struct npu_tune *t, const char *text, size_t size)
{
    for (const char *at = text, *end = text + size; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const size_t n = (size_t)((stop ? stop : end) - at);
        struct npu_tune_verdict v;
        char line[MAX_LINE];

        if (n < sizeof line) {
            memcpy(line, at, n);
            line[n] = '\0';
            if (parse_line(line, &v) && !find(t, v.class_text))
                npu_tune_add(t, &v);
        }
        at += n + 1;
    }
}

void npu_tune_save(struct npu_tune *t)
{
    size_t size = 0;
    char *text;

    if (!t->changed || !t->cache_dir)
        return;
    load(t); /* what another process learned meanwhile */
    text = npu_tune_print(t, &size);
    if (text && size > 0)
        cl_cache_write(t->cache_dir, t->key, (const unsigned char *)text, size);
    free(text);
    t->changed = false;
}
