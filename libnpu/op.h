/* op.h - the contract between an operation and the runtime (internal to libnpu).
 *
 * One operation is one libnpu/op/<op>.c: attributes, builder (declared in npu.h), shape rule, C reference, backward,
 * lowering to kernel launches, and test cases; its OpenCL C is kernels/<op>.cl. Operations know no OpenCL type: they
 * describe launches, a device runs them.
 */
#ifndef NPU_OP_H
#define NPU_OP_H

#include <errno.h>
#include <math.h>
#include <string.h>

#include "libnpu/npu.h"

#define NPU_MAX_IN       10
#define NPU_MAX_OUT      4
#define NPU_MAX_ATTR     96
#define NPU_MAX_ARGS     32
#define NPU_MAX_LAUNCHES 8

struct npu_op;

struct npu_node {
    const struct npu_op *op;
    bool exact;  /* of an int8 network: computed as op->exact_ref says, to the last bit */
    bool rounds; /* may round its factors, in[0] and in[1], to bf16 (NPU_GRAPH_MIXED; widen.h) */
    int n_in, n_out;
    npu_val in[NPU_MAX_IN]; /* NPU_NONE where an optional input is absent */
    npu_val out[NPU_MAX_OUT];
    /* out[i] is the same memory as in[alias[i]] (in-place update or reshape); -1 = memory of its own */
    int8_t alias[NPU_MAX_OUT];
    _Alignas(8) unsigned char attr[NPU_MAX_ATTR]; /* the op's own plain struct */
};

/* ---- graph building, for builders and backward rules ---- */
/* Appends a node: copies attr, runs op->shape, creates the outputs. Returns out[0] or a negative status (remembered in
 * the graph with the op's name). Nodes run in the order in which they were added. Any negative input is passed on. */
npu_val npu_node_add(npu_graph *g, const struct npu_op *op, const npu_val *in, int n_in, const void *attr,
                     size_t attr_size);
/* Output i of the node that made v (v must be its out[0]). */
npu_val npu_node_output(npu_graph *g, npu_val v, int i);
/* Remembers a failure: returns r. fmt says what was wrong and the remedy. */
int npu_graph_fail(npu_graph *g, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool npu_val_needs_grad(const npu_graph *g, npu_val v); /* a trained parameter is upstream */
/* Changes only when a parameter or state is written from outside: one that no node of this graph updates, or computed
 * from such values only (the runtime then runs the whole node on_params). Final once the graph is complete: for
 * lowering. */
bool npu_val_is_frozen(const npu_graph *g, npu_val v);

/* ---- shape rule ---- */
struct npu_tensor_type {
    enum npu_dtype dtype;
    struct npu_shape shape;
};
/* in[i] is all zero where absent. Fills node->n_out, node->alias (preset to -1) and out[]. Must check everything:
 * ranks, dims, types, attributes; on failure put the reason (shapes in it) into why and return -EINVAL. */
typedef int npu_shape_fn(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t why_size);

/* ---- C reference ---- */
struct npu_tensor {
    enum npu_dtype dtype;
    struct npu_shape shape;
    void *data; /* NULL where an optional input is absent */
};
struct npu_ref_call {
    const struct npu_node *node;
    struct npu_tensor in[NPU_MAX_IN];
    struct npu_tensor out[NPU_MAX_OUT];
    void *scratch; /* op->ref_scratch bytes */
};
typedef int npu_ref_fn(const struct npu_ref_call *c);

float npu_load(const struct npu_tensor *t, int64_t i);          /* element i as f32 */
void npu_store(const struct npu_tensor *t, int64_t i, float v); /* rounds to nearest even; saturates integers */

/* ---- backward ---- */
/* gout[i]: gradient of output i or NPU_NONE. Appends nodes and sets gin[i] for those inputs with npu_val_needs_grad;
 * leaves others at NPU_NONE. Gradients have the shape and type of the value. */
typedef int npu_grad_fn(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin);

/* ---- lowering ---- */
enum npu_cpu_feature {
    NPU_CPU_AVX2_FMA = 1,
    NPU_CPU_AVX512 = 2,
    NPU_CPU_AVX512_BF16 = 4,
    NPU_CPU_AMX_BF16 = 8,
    NPU_CPU_AMX_INT8 = 16,
    NPU_CPU_AVX512_VNNI = 32,
    NPU_CPU_AVX_VNNI = 64
};
struct npu_traits {
    enum npu_dev_kind kind;
    int compute_units;
    int vec_f32;        /* preferred float vector width: 8 on AVX2, 16 on AVX-512, 4 on NEON, 1 on most GPUs */
    size_t local_bytes; /* local memory a work-group */
    size_t max_work_group;
    bool native;         /* native (C) launches run here */
    unsigned cpu;        /* enum npu_cpu_feature bits that passed their self-test (native tiers only) */
    float product_error; /* of a matrix product, as a share of its largest result; 0: that of f32 */
    bool int_dot;        /* the integer dot product extension is there and passed its self-test */
    unsigned subgroup;   /* sub-group products that passed theirs (libnpu/tier/subgroup.h) */
    bool builtin;        /* the driver's own kernel for products did (libnpu/tier/builtin.h) */
};

enum npu_arg_kind { NPU_ARG_VAL, NPU_ARG_SCRATCH, NPU_ARG_PACKED, NPU_ARG_I32, NPU_ARG_F32, NPU_ARG_LOCAL };
struct npu_arg {
    enum npu_arg_kind kind;
    union {
        npu_val val; /* VAL: NPU_NONE passes a null pointer; counted for the DT<k> numbering all the same */
        int buf;     /* SCRATCH, PACKED: handle from npu_lower_scratch / npu_lower_packed */
        int32_t i;
        float f;
        size_t bytes; /* LOCAL */
    };
};

/* A C function run as part of the queue in place of a kernel: part 0..n_parts-1 run in parallel on the device's
 * threads. p[i] points at argument i's memory (VAL, SCRATCH, PACKED); scalars are in arg[i]. */
struct npu_native_call {
    const struct npu_arg *arg;
    void *const *p;
    const void *attr; /* the node's attributes */
};
typedef void npu_native_fn(const struct npu_native_call *c, int part, int n_parts);

/* Of a native launch that can run as any number n of parts: what each of them touches. Bits are arguments. */
struct npu_cut {
    int64_t units;    /* if n divides it, part p has bytes size p / n .. size (p + 1) / n - 1 of split arguments */
    uint32_t split;   /* divided among the parts; of others a part may touch all bytes */
    uint32_t written; /* 0: nothing of this is known */
};

struct npu_launch {
    const char *source; /* kernels/<source>.cl; a line #include "x.clh" in it is replaced by kernels/x.clh */
    const char *entry;  /* kernel function in it; K_<entry> is defined if the file has a line #ifdef K_<entry> */
    char defs[192]; /* further "-DNAME=VALUE" build options; DT<k> of the k-th VAL argument is added by the device */
    struct npu_arg arg[NPU_MAX_ARGS];
    int n_args;
    int dims;
    size_t global[3], local[3]; /* local all 0: the device chooses; else global must be a multiple of local */
    npu_native_fn *native;      /* if set: run this instead of the kernel */
    int parts;                  /* of a native launch; 0: as many as there are threads */
    struct npu_cut cut;
    bool on_params;   /* run only when a parameter was written since the last run: weight packing */
    const char *tier; /* for explain: "vec8", "amx-bf16" ... */
};

struct npu_lower; /* owned by the device */
const struct npu_traits *npu_lower_traits(const struct npu_lower *l);
const struct npu_graph *npu_lower_graph(const struct npu_lower *l);
struct npu_tensor_type npu_lower_type(const struct npu_lower *l, npu_val v);
/* May this native tier serve the node? False while another one is measured or was chosen. */
bool npu_lower_tier(const struct npu_lower *l, const char *tier);
/* Says why a tier can't serve the node (static text, for npu_plan_explain). Returns -EOPNOTSUPP. */
int npu_lower_refuse(struct npu_lower *l, const char *tier, const char *why);
/* Starts a launch; NULL when NPU_MAX_LAUNCHES is passed (lowering then fails by itself). Arguments are appended in
 * order. */
struct npu_launch *npu_lower_launch(struct npu_lower *l, const char *source, const char *entry);
void npu_launch_def(struct npu_launch *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void npu_launch_val(struct npu_launch *k, npu_val v);
void npu_launch_i32(struct npu_launch *k, int64_t v); /* out of int32 range: lowering fails with -EOVERFLOW */
void npu_launch_f32(struct npu_launch *k, float v);
void npu_launch_buf(struct npu_launch *k, enum npu_arg_kind kind, int buf);
void npu_launch_size(struct npu_launch *k, size_t gx, size_t gy, size_t gz); /* gy, gz 0 = fewer dims */
void npu_launch_local(struct npu_launch *k, size_t lx, size_t ly, size_t lz);
/* For work over n consecutive elements, in pieces that suit the device: appends the four int arguments of NPU_SPAN_ARGS
 * and sets the sizes (kernels/lib.clh). Several elements of one work-item are consecutive on CPUs, strided on GPUs; w:
 * elements a step. */
void npu_launch_span(struct npu_launch *k, const struct npu_traits *t, int64_t n, int w);
int npu_lower_scratch(struct npu_lower *l, size_t bytes); /* alive during this node only */
int npu_lower_packed(struct npu_lower *l, size_t bytes);  /* alive as long as the plan */
/* PoCL compiles a kernel anew for each local size (about a second): on CPUs keep to one local size a kernel, preferably
 * 1 x 1 x 1 with blocks of work (>= 10 us) in each work-item; where the device chooses it takes 1 x 1 x 1 on CPUs.
 *
 * Adds launches for the node. 0, -EOPNOTSUPP (this device can't) or another failure. A node with an empty output adds
 * none. */
typedef int npu_lower_fn(const struct npu_node *n, struct npu_lower *l);

/* ---- tests ---- */
/* Builds test graph `index` (inputs made with npu_input, named "a", "b", ...; ranges by npu_test_range), returns the
 * value to compare; NPU_NONE past the last one. Odd, one-element, empty, large-ish and strided cases belong here. */
typedef npu_val npu_case_fn(npu_graph *g, int index);
/* Values of a test input are drawn from [lo, hi) (default -1, 1); integers are rounded down. */
void npu_test_range(npu_graph *g, npu_val v, float lo, float hi);

struct npu_op {
    const char *name;
    npu_shape_fn *shape;
    npu_ref_fn *ref;
    npu_grad_fn *grad; /* NULL: no backward (grad ops themselves) */
    npu_lower_fn *lower;
    npu_case_fn *test_case;
    /* Aliased outputs are written: the node updates parameters or states in place (adamw, running statistics), so it is
     * never left out, and readers of the old handle that come later in node order see the new contents. Without this
     * flag an alias is a view (reshape): the node only gives the memory another type and lowers to nothing. */
    bool updates;
    /* Output 0 may be placed over any input of the same size that dies here: element i of the output depends on nothing
     * of that input but element i, and on sums that are made before any of it is written (no `restrict` on the pointers
     * then). */
    bool elementwise;
    bool moves; /* only moves elements of in[0], its only input, or chooses the largest: int8 ones keep their scale */
    bool exact; /* the device must give what the reference gives, bit by bit */
    /* For nodes with `exact`: the operation with every rounding stated (libnpu/op/exact.h), which a device must then
     * give bit by bit. NULL: ref and lower are that already, or the operation has no such form. */
    npu_ref_fn *exact_ref;
    npu_lower_fn *exact_lower;
    bool kinks; /* outputs are not differentiable everywhere the cases draw from: npu-ops grad looks where they are */
    float tol_rel,
        tol_abs; /* device against reference, f32; 0 = 1e-5, 1e-5. bf16/f16 outputs get 2^-7 / 2^-10 on top */
    /* For npu-ops perf: floating-point operations of a node (NULL: only bytes are reported), and cases of typical size
     * built as by test_case (NULL: the test cases). */
    double (*flops)(const struct npu_node *n, const struct npu_tensor_type *in, const struct npu_tensor_type *out);
    npu_case_fn *perf_case;
    size_t (*ref_scratch)(const struct npu_node *n, const struct npu_tensor_type *in); /* NULL: none */
};

/* What computes the node. */
static inline npu_ref_fn *npu_node_ref(const struct npu_node *n)
{
    return n->exact && n->op->exact_ref ? n->op->exact_ref : n->op->ref;
}
static inline npu_lower_fn *npu_node_lower(const struct npu_node *n)
{
    return n->exact && n->op->exact_lower ? n->op->exact_lower : n->op->lower;
}
/* The node's result is defined to the last bit. */
static inline bool npu_node_is_exact(const struct npu_node *n)
{
    return n->op->exact || (n->exact && n->op->exact_ref);
}

/* All operations (libnpu/op/registry.c), ended by NULL. */
extern const struct npu_op *const npu_all_ops[];

/* attr of a node as the op's struct */
#define NPU_ATTR(type, node) ((const type *)(const void *)(node)->attr)

#endif
