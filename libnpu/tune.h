/* tune.h - which tier serves a node, where several can: by measured time (internal to libnpu).
 *
 * A tier is a candidate for a node if the device's self-test passed and the node's lowering takes it. Candidates are
 * measured when a plan is built, once a class of shapes, within a time limit; verdicts are kept on disk beside the
 * program cache. Without a verdict the default order counts (docs/LIBNPU.md, "Tiers").
 */
#ifndef NPU_TUNE_H
#define NPU_TUNE_H

#include "libnpu/plan.h"

enum { NPU_TUNE_OPTIONS = 10, NPU_TUNE_CLASS = 192, NPU_TUNE_TESTS = 16 };

struct npu_tier_option {
    const char *tier;    /* static text */
    const char *refused; /* why the tier can't or shall not do the node (static text); NULL: a candidate */
    float us;            /* median time of a run; 0: not measured */
};

enum npu_choice_why {
    NPU_CHOICE_ONLY,     /* no other candidate */
    NPU_CHOICE_ORDER,    /* not measured: default order */
    NPU_CHOICE_LATE,     /* the same, because the time for measurements was over */
    NPU_CHOICE_BUSY,     /* because other processes disturbed them */
    NPU_CHOICE_MEASURED, /* while this plan was built */
    NPU_CHOICE_KNOWN,    /* by a verdict from before */
    NPU_CHOICE_ASKED,    /* NPU_TIER */
    NPU_CHOICE_NATIVE    /* another was faster, but for it alone the plan would need the driver */
};

/* What is known of the tiers of a step; n 0: the operation has but one way. */
struct npu_choice {
    enum npu_choice_why why;
    int n, taken;
    struct npu_tier_option option[NPU_TUNE_OPTIONS];
};

/* Fills p->choice and the steps' tiers. identity: what of the device, its driver and platform verdicts depend on.
 * Measuring that fails costs only the verdict. 0 or -ENOMEM. */
int npu_tune_plan(struct npu_plan *p, const char *identity);

/* "measured: avx2 41.0 us, vec8 63.2 us; amx-bf16: operands are not bf16", "" if there is nothing to say. */
const char *npu_choice_text(const struct npu_choice *c, char *buf, size_t size);
const char *npu_choice_why_text(enum npu_choice_why w);

/* ---- tune_class.c ---- */
struct npu_tune_class {
    char text[NPU_TUNE_CLASS]; /* operation, types, sizes in powers of two, kernel, stride, threads */
    double work;               /* multiply-adds */
};
/* -ENOENT: an operation without tiers. */
int npu_tune_class(const struct npu_graph *g, const struct npu_node *n, int units, struct npu_tune_class *ret_class);

/* ---- tune_measure.c ---- */
/* Measures a node on candidates: fills us[i] for tier[i]. 0, -ETIME if until_ns (npu_now_ns) comes first, -EAGAIN if
 * others use the processors too much to tell, or another failure; us is untouched then. */
int npu_tune_measure(struct npu_dev *d, const struct npu_graph *g, const struct npu_node *n, const char *const *tier,
                     int n_tiers, int64_t until_ns, float *us);

/* ---- tune_table.c: the verdicts of a device, in memory and on disk ---- */
struct npu_tune;
struct npu_tune_verdict {
    char class_text[NPU_TUNE_CLASS]; /* with the candidates' names */
    int n, taken;
    float us[NPU_TUNE_OPTIONS];
};
/* cache_dir may be NULL: verdicts live as long as the device. NULL: no memory. */
struct npu_tune *npu_tune_new(const char *cache_dir, const char *identity, int units);
struct npu_tune *npu_tune_free(struct npu_tune *t); /* accepts and returns NULL */
const struct npu_tune_verdict *npu_tune_find(const struct npu_tune *t, const char *class_text);
int npu_tune_add(struct npu_tune *t, const struct npu_tune_verdict *v); /* replaces one of the same class */
/* How a tier did in all classes in which it was measured; false if in none. */
struct npu_tune_score {
    int classes, best;
    double least, most; /* times slower than the best one, where it was not */
};
bool npu_tune_score(const struct npu_tune *t, const char *tier, struct npu_tune_score *ret_score);
/* Verdict of a self-test that needs the device's compiler; t may be NULL. */
bool npu_tune_get_test(const struct npu_tune *t, const char *tier, bool *ret_passed); /* false: none yet */
void npu_tune_set_test(struct npu_tune *t, const char *tier, bool passed);
/* What became of the first measurement of a class that has no verdict. */
enum npu_tune_put_off { NPU_TUNE_NEW, NPU_TUNE_BUSY, NPU_TUNE_LATE };
enum npu_tune_put_off npu_tune_put_off(const struct npu_tune *t, const char *class_text);
void npu_tune_set_put_off(struct npu_tune *t, const char *class_text, enum npu_tune_put_off p);
void npu_tune_save(struct npu_tune *t); /* if something was added; failures cost time */
/* Verdicts as text, a line each, and back; lines that make no sense are left out. */
char *npu_tune_print(const struct npu_tune *t, size_t *ret_size); /* malloc'ed; NULL: no memory */
void npu_tune_parse(struct npu_tune *t, const char *text, size_t size);

#endif
