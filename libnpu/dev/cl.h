/* cl.h - the OpenCL device's own structures. Only dev/cl_*.c include it. */
#ifndef NPU_DEV_CL_H
#define NPU_DEV_CL_H

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <pthread.h>

#include "libnpu/dev.h"
#include "libnpu/dev/pool.h"

/* A program: one kernel source file with one set of options. Shared by all nodes and plans of a device. */
struct cl_prog {
    char *source; /* name of the kernel file */
    char *options;
    uint64_t key; /* of the binary cache */
    cl_program prog;
    int status;    /* 0 when built, else the failure */
    char *log;     /* the compiler's words if it failed */
    bool building; /* some thread is at it */
    bool saved;    /* the cache has it, or it came from there */
    struct cl_prog *next;
};

struct cl_dev {
    struct npu_dev base;
    cl_platform_id platform;
    cl_device_id id;
    cl_context context;
    const char *std_option;
    char *identity;       /* what of device, driver and platform a binary depends on */
    char *cache_dir;      /* NULL: no binary cache */
    pthread_mutex_t lock; /* progs */
    pthread_cond_t built;
    struct cl_prog *progs;
    pthread_mutex_t build_lock; /* plans are built one after the other */
    cl_command_queue queue;     /* all plans share it (PoCL, see cl_device.c); NULL: each has its own */
    struct npu_pool *pool;      /* NULL: no native kernels */
};

struct cl_launch {
    const struct npu_launch *l;
    struct cl_prog *prog;
    cl_kernel kernel;
    struct cl_native *native;
    bool on_params;
    int step;
    size_t local[3];
    bool has_local;
};

/* A kernel, or native launches that go together (cl_chain.c). */
struct cl_stage {
    const struct cl_launch *const *launch;
    int n;
};

/* The stages of a run in order. parts: of native ones, 0 for kernels; neighbours that are native make one command. */
struct cl_run {
    int n;
    struct cl_stage *stage;
    uint16_t *parts;
    const struct cl_launch **launch; /* of all stages */
};

/* A tensor in memory of the host. full: written, not sent yet; or, of an output, what the last run computed. */
struct cl_letter {
    struct npu_place at;
    void *bytes;
    bool full;
};

struct cl_mail {
    struct cl_letter *letter;
    int n;
};

struct cl_plan {
    cl_command_queue queue;
    bool host; /* native launches only: banks are memory of ours and OpenCL at most starts a run */
    cl_mem *bank;
    void **address; /* of the banks, on devices with native kernels; else NULL */
    cl_mem *value;  /* sub-buffer by value handle - 1; NULL: none or empty */
    cl_mem *buf;    /* sub-buffer by scratch or packed handle */
    struct cl_launch *launch;
    int n_launches;
    struct cl_run run[2]; /* [1]: parameters were written */
    struct cl_mail in, out;
    const struct cl_run *running;
    cl_event *event;        /* profiling: one an entry of the run */
    cl_event last, arrived; /* of the submission in flight: its last launch, and its outputs */
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    bool done, callback_set;
    int callbacks; /* pending */
};

/* cl_device.c */
cl_command_queue cl_queue_new(struct cl_dev *d, bool profile, cl_int *ret_error); /* for a plan: its own or a share */
const char *cl_error_text(cl_int e);
int cl_errno(cl_int e);

/* cl_pci.c: "0000:00:02.0", or "" if the driver does not say. */
void cl_pci_address(cl_device_id d, char *buf, size_t size);

/* cl_program.c: sets each launch's prog, building what is not built yet, several at once. */
int cl_programs_get(struct cl_dev *d, struct npu_plan *p, struct cl_launch *launch, int n);
/* Writes binaries of programs that the cache does not have yet; call when nothing of the plan runs. */
void cl_programs_save(struct cl_dev *d);
void cl_programs_free(struct cl_dev *d);

/* cl_cache.c: files of program binaries. */
uint64_t cl_cache_key(const char *const *part, int n_parts);
/* The cached bytes or -ENOENT; a damaged entry is deleted. */
int cl_cache_read(const char *dir, uint64_t key, unsigned char **ret_bytes, size_t *ret_size);
int cl_cache_write(const char *dir, uint64_t key, const unsigned char *bytes, size_t size);
void cl_cache_remove(const char *dir, uint64_t key);

/* cl_plan.c */
extern const struct npu_dev_ops cl_ops;
/* cl_mail.c: inputs and outputs of a plan whose banks have no address here, without waiting for each. Nothing is in
 * flight when they are read and written. */
int cl_mail_new(struct npu_plan *p);
void cl_mail_free(struct cl_plan *cp);
cl_int cl_mail_write(struct cl_plan *cp, struct npu_place at, const void *data);
cl_int cl_mail_read(struct cl_plan *cp, struct npu_place at, void *data);
/* Of a submission: before its launches, the inputs that were written; behind them its outputs, which sets cp->arrived.
 */
cl_int cl_mail_send(struct cl_plan *cp);
cl_int cl_mail_order(struct cl_plan *cp);
void cl_mail_arrived(struct cl_plan *cp);
/* cl_native.c: native launches. */
int cl_native_find_banks(struct npu_plan *p); /* sets cp->address */
int cl_native_prepare(struct cl_dev *d, struct npu_plan *p, struct cl_launch *k);
int cl_native_parts(const struct cl_dev *d, const struct npu_launch *l);
struct npu_place cl_native_place(const struct npu_plan *p, const struct npu_arg *a); /* bank -1: none */
/* Neighbouring native stages i .. j - 1 of a run as one command; returns j. One at a time if the plan is profiled. */
int cl_native_end(const struct npu_plan *p, const struct cl_run *r, int i);
cl_int cl_native_enqueue(struct npu_plan *p, const struct cl_run *r, int i, int end, cl_event *ret_event);
/* cl_chain.c: how many of n launches go together as one stage, at least 1; and if more, as how many parts. */
int cl_chain(const struct npu_plan *p, const struct cl_launch *const *launch, int n, int *ret_parts);
/* Memory of plans with native launches only. */
bool cl_native_only(const struct npu_plan *p);
int cl_native_memory(struct npu_plan *p);
/* The whole run of such a plan on the calling thread and the pool. */
void cl_native_run(struct npu_plan *p, const struct cl_run *r);

#endif
