/* npu.h - libnpu, a small accelerator runtime for vision models: devices, graphs, plans.
 *
 * A graph is a list of operations on dense tensors of fixed shape; it knows no device. A plan is a graph made ready for
 * one device: memory placed, kernels built, tiers chosen. Running a plan allocates and compiles nothing.
 *
 * Every call returns 0 or a negative errno-style status unless its comment says otherwise. The library never prints,
 * aborts or exits. Texts that explain a failure stay with the object (npu_ctx_error, npu_graph_error, npu_plan_error).
 * Objects are not thread-safe; different objects of one context may be used by different threads, except while a device
 * is being opened.
 *
 * Tensors are dense and in C order. Pictures are NHWC, tokens [batch, token, channel], convolution weights
 * [kh, kw, cin / groups, cout]. Arithmetic is f32 whatever the storage type.
 */
#ifndef NPU_H
#define NPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- limits: everything that a file or a caller can drive ---- */
#define NPU_MAX_DIMS     6
#define NPU_MAX_NAME     96                 /* bytes of a tensor's name, with its NUL */
#define NPU_MAX_ELEMENTS (INT64_C(1) << 31) /* of one tensor */
#define NPU_MAX_NODES    16384
#define NPU_MAX_DEVICES  16

enum npu_dtype { NPU_F32 = 0, NPU_BF16 = 1, NPU_F16 = 2, NPU_I32 = 3, NPU_U8 = 4, NPU_I8 = 5, NPU_DTYPES };

size_t npu_dtype_size(enum npu_dtype t);      /* bytes of an element; 0 for an unknown type */
const char *npu_dtype_name(enum npu_dtype t); /* "f32" ...; "?" for an unknown type */

struct npu_shape {
    int rank; /* 0 (a scalar) .. NPU_MAX_DIMS */
    int64_t dim[NPU_MAX_DIMS];
};
/* Product of dims, 1 for a scalar; a dim of 0 gives 0. NPU_MAX_ELEMENTS + 1 where those that are not 0 give more than
 * NPU_MAX_ELEMENTS, or one is negative. */
int64_t npu_shape_elements(const struct npu_shape *s);

/* ---- context and devices ---- */
typedef struct npu_ctx npu_ctx;
typedef struct npu_dev npu_dev;

enum npu_dev_kind { NPU_KIND_REF, NPU_KIND_CPU, NPU_KIND_GPU, NPU_KIND_NPU };

struct npu_dev_info {
    char id[32];      /* "ref", "cl0", "cl1" ...: what npu_dev_open takes */
    char name[128];   /* as the driver gives it */
    char driver[128]; /* platform and driver version; for a bare kernel node its driver name */
    char node[64];    /* /dev/dri/renderD128, /dev/accel/accel0; "" if none is known */
    enum npu_dev_kind kind;
    bool usable;
    char why_not[256]; /* why a device can't be used, with the remedy; "" if usable */
    int compute_units;
    uint64_t memory_bytes;
    char extensions[4096];       /* OpenCL extensions, space separated; "" otherwise */
    char built_in_kernels[1024]; /* kernels that the OpenCL driver brings along, separated by semicolons */
    char tiers[256];             /* matrix tiers that may serve here, best first, space separated: "amx-bf16 vec16" */
};

/* Looks for devices: OpenCL through the ICD loader, the kernel's accel and drm nodes, and `ref`, which is always there.
 * No device is not an error. cache_dir: where program binaries are kept; NULL means $XDG_CACHE_HOME/gazed or
 * ~/.cache/gazed; "" means none. PoCL keeps its own: below cache_dir if one is given and POCL_CACHE_DIR says nothing
 * else, set in the environment for as long as the process lives. A directory that can't be used only costs time.
 * Drivers are first loaded in a child process, so one that crashes or hangs when it is asked for devices does no harm:
 * it is left out, and with it its file in OCL_ICD_VENDORS, set in the environment. npu_ctx_error names drivers that
 * failed, or says why there is no OpenCL device at all. */
int npu_ctx_new(const char *cache_dir, npu_ctx **ret_ctx);
npu_ctx *npu_ctx_free(npu_ctx *c); /* accepts and returns NULL; devices must be closed before */
const char *npu_ctx_error(const npu_ctx *c);
int npu_ctx_n_devices(const npu_ctx *c);
int npu_ctx_device(const npu_ctx *c, int index, struct npu_dev_info *ret_info); /* -ERANGE */

/* Opens a device by id ("ref", "cl0"), by kind ("npu", "gpu", "cpu", "cl": the first usable one of that kind or API) or
 * the best there is ("auto" or NULL: NPU, GPU, CPU, ref). "null" is ref with faults on demand, for tests:
 * "null:lost=3" (docs/LIBNPU.md). "sim" is a simulated NPU; "sim:16x16,wm=64K" one of other measures
 * (docs/NPU-ISA.md; NPU_SIM in the environment for "sim" alone). -ENODEV with npu_ctx_error() saying what was found and
 * why not. */
int npu_dev_open(npu_ctx *c, const char *which, npu_dev **ret_dev);
npu_dev *npu_dev_close(npu_dev *d); /* plans must be freed before; accepts and returns NULL */
const struct npu_dev_info *npu_dev_get_info(const npu_dev *d);
/* Why a plan of this device could not be made or a run failed, the last time that happened; "" if it never did. A copy,
 * since plans of other threads may fail meanwhile. */
void npu_dev_error(const npu_dev *d, char *buf, size_t size);

/* A way to compute products and convolutions on a device (docs/LIBNPU.md, "Tiers"). */
struct npu_tier_info {
    char name[32];
    bool passed;   /* it may serve */
    char why[160]; /* why it may not; or how it did in measurements, "" if there were none */
};
/* Tier `index` of those that such devices may have, best first; -ERANGE past the last. Runs self-tests that have not
 * run yet. */
int npu_dev_tier(npu_dev *d, int index, struct npu_tier_info *ret_info);

/* ---- graphs ---- */
typedef struct npu_graph npu_graph;

/* A value (tensor) of a graph. 0 (NPU_NONE) stands for an optional input that is not given. A builder that fails
 * returns a negative status and the graph remembers the first failure with the operation's name; builders given a
 * negative value pass it on. So a model is written without checks and npu_graph_error / npu_plan_new report once. */
typedef int32_t npu_val;
#define NPU_NONE 0

enum npu_graph_flags {
    NPU_GRAPH_TRAIN = 1, /* fused activations are built as separate nodes so that gradients exist */
    /* Mixed precision: products and convolutions may round their factors to bf16, also in gradients, where the device
     * has a unit for it; sums and all else stay f32. Convolutions that Winograd's tiles serve stay f32 too. */
    NPU_GRAPH_MIXED = 2,
};

int npu_graph_new(unsigned flags, npu_graph **ret_graph);
npu_graph *npu_graph_free(npu_graph *g);
const char *npu_graph_error(const npu_graph *g); /* "" if none */
int npu_graph_status(const npu_graph *g);        /* 0 or the first failure */
unsigned npu_graph_flags(const npu_graph *g);
const struct npu_shape *npu_val_shape(const npu_graph *g, npu_val v); /* NULL if v is no value */
enum npu_dtype npu_val_dtype(const npu_graph *g, npu_val v);
npu_val npu_graph_find(const npu_graph *g, const char *name); /* a named input, parameter, state or output; -ENOENT */

/* How a parameter starts: a pure function of (seed, name, element), so it is the same on every device. */
enum npu_init_kind { NPU_INIT_ZERO, NPU_INIT_CONST, NPU_INIT_NORMAL, NPU_INIT_TRUNC_NORMAL, NPU_INIT_UNIFORM };
struct npu_init {
    enum npu_init_kind kind;
    float a; /* CONST: the value; NORMAL: sigma; TRUNC_NORMAL: sigma, cut at 2 sigma; UNIFORM: +-a */
};

npu_val npu_input(npu_graph *g, const char *name, enum npu_dtype t, int rank, const int64_t *dim);
/* Trained, persistent, read and written with npu_plan_read/write by name. f32. */
npu_val npu_param(npu_graph *g, const char *name, int rank, const int64_t *dim, struct npu_init init);
/* Persistent but not trained: running statistics, optimiser moments, position codes. */
npu_val npu_state(npu_graph *g, const char *name, enum npu_dtype t, int rank, const int64_t *dim, struct npu_init init);
int npu_output(npu_graph *g, const char *name, npu_val v); /* readable after a run under this name */

/* ---- operations. x, y: any of f32, bf16, f16 storage unless said; the result has x's type unless said ---- */
enum npu_act { NPU_ACT_NONE, NPU_ACT_RELU, NPU_ACT_RELU6, NPU_ACT_GELU, NPU_ACT_SIGMOID };

struct npu_matmul_opts {
    bool trans_a, trans_b;
    npu_val bias;     /* [N] */
    npu_val residual; /* shape of the result; added after the activation */
    enum npu_act act;
    float scale;  /* multiplies the product before the bias; 0 means 1 */
    bool out_f32; /* result in f32 whatever a's type */
};
/* a [..., M, K] (or [..., K, M]), b [..., K, N] or [..., N, K] with the same leading dims, or a 2-D b shared by all
 * -> [..., M, N]. opts may be NULL. */
npu_val npu_matmul(npu_graph *g, npu_val a, npu_val b, const struct npu_matmul_opts *opts);

struct npu_conv2d_opts {
    int stride; /* both directions; 0 means 1 */
    int pad_top, pad_left, pad_bottom, pad_right;
    int groups;       /* 0 means 1; cin for depthwise */
    npu_val bias;     /* [cout] */
    npu_val residual; /* shape of the result; added before the activation (as ResNets do) */
    enum npu_act act;
};
/* x [n, h, w, cin], w [kh, kw, cin / groups, cout] -> [n, oh, ow, cout] */
npu_val npu_conv2d(npu_graph *g, npu_val x, npu_val w, const struct npu_conv2d_opts *opts);

/* Over the last axis; gamma, beta [C]. */
npu_val npu_layer_norm(npu_graph *g, npu_val x, npu_val gamma, npu_val beta, float eps);
/* Over all but the last axis. train: batch statistics are used and mean/var (states [C]) move towards them by
 * `momentum` (new = (1 - momentum) old + momentum batch, unbiased variance); else mean/var are used as they are. */
npu_val npu_batch_norm(npu_graph *g, npu_val x, npu_val gamma, npu_val beta, npu_val mean, npu_val var, float eps,
                       float momentum, bool train);
/* Puts an inference batch norm into the layer before it, on f32 arrays of the caller: w [..., cout] (n_w elements) and
 * bias [cout] (zeros if there was none) are changed. -EINVAL if n_w is no multiple of cout. */
int npu_fold_batch_norm(float *w, size_t n_w, float *bias, size_t cout, const float *gamma, const float *beta,
                        const float *mean, const float *var, float eps);
npu_val npu_softmax(npu_graph *g, npu_val x); /* over the last axis */
/* qkv [b, n, 3 * d] (q, k, v one after the other, heads inside each) -> [b, n, d]; softmax(q k^T / sqrt(d / heads)) v,
 * without materialised scores in inference. */
npu_val npu_attention(npu_graph *g, npu_val qkv, int heads);

npu_val npu_gelu(npu_graph *g, npu_val x); /* tanh form: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
npu_val npu_relu(npu_graph *g, npu_val x);
npu_val npu_relu6(npu_graph *g, npu_val x);
npu_val npu_sigmoid(npu_graph *g, npu_val x);
npu_val npu_tanh(npu_graph *g, npu_val x);
npu_val npu_exp(npu_graph *g, npu_val x);
npu_val npu_abs(npu_graph *g, npu_val x);
npu_val npu_erf(npu_graph *g, npu_val x);
npu_val npu_gelu_erf(npu_graph *g, npu_val x);                    /* exact form: 0.5 x (1 + erf(x / sqrt(2))) */
npu_val npu_prelu(npu_graph *g, npu_val x, npu_val slope);        /* slope [C] (last axis) or [1] */
npu_val npu_scale(npu_graph *g, npu_val x, float mul, float add); /* mul * x + add */
/* Broadcasting from the right as NumPy does: y may have fewer dims and dims of 1; the result has x's shape. */
npu_val npu_add(npu_graph *g, npu_val x, npu_val y);
npu_val npu_sub(npu_graph *g, npu_val x, npu_val y);
npu_val npu_mul(npu_graph *g, npu_val x, npu_val y);

struct npu_pool_opts {
    int kernel, stride, pad;
};
npu_val npu_max_pool(npu_graph *g, npu_val x, struct npu_pool_opts o);  /* NHWC, also i8; padding never wins */
npu_val npu_mean_pool(npu_graph *g, npu_val x, struct npu_pool_opts o); /* NHWC; padding not counted */
enum npu_resize_mode { NPU_RESIZE_NEAREST, NPU_RESIZE_BILINEAR };       /* half-pixel centres */
npu_val npu_resize(npu_graph *g, npu_val x, int64_t h, int64_t w, enum npu_resize_mode m);

npu_val npu_concat(npu_graph *g, const npu_val *x, int n, int axis); /* n <= 8 */
/* x[start : start + size] along one axis with a step of 1 */
npu_val npu_slice(npu_graph *g, npu_val x, int axis, int64_t start, int64_t size);
npu_val npu_permute(npu_graph *g, npu_val x, const int *order); /* order[i]: which axis of x becomes axis i */
npu_val npu_reshape(npu_graph *g, npu_val x, int rank, const int64_t *dim); /* no copy; one dim may be -1 */
npu_val npu_cast(npu_graph *g, npu_val x, enum npu_dtype t);                /* to float types; from u8/i8/i32 too */
/* Rows of x [b, n, c] picked by index [b, m] (i32) -> [b, m, c]; for patch masking. An index out of range gives zeros.
 */
npu_val npu_gather_rows(npu_graph *g, npu_val x, npu_val index);

enum npu_reduce_kind { NPU_REDUCE_SUM, NPU_REDUCE_MEAN };
/* axes: bit i set = axis i is summed away; the axis is dropped. axes 0 means all. */
npu_val npu_reduce(npu_graph *g, npu_val x, enum npu_reduce_kind k, unsigned axes);

/* Losses -> f32 scalar (rank 0). weight: NULL-able (NPU_NONE), the shape of x or broadcast as in npu_add; the loss is
 * sum(weight * l) / sum(weight), 0 if that sum is 0. target and weight get no gradient. */
npu_val npu_mse(npu_graph *g, npu_val x, npu_val target, npu_val weight);
npu_val npu_l1(npu_graph *g, npu_val x, npu_val target, npu_val weight);
npu_val npu_bce_logits(npu_graph *g, npu_val x, npu_val target, npu_val weight);
/* x [..., C] logits, target [...] i32 class or -1 = ignored -> mean over those not ignored */
npu_val npu_cross_entropy(npu_graph *g, npu_val x, npu_val target);

/* ---- training: nodes added to the same graph ---- */
/* Adds the gradient of the scalar `loss` with respect to every parameter that it reaches. -EOPNOTSUPP names the
 * operation that has no backward. Call once. */
int npu_graph_backward(npu_graph *g, npu_val loss);
npu_val npu_graph_grad(const npu_graph *g, npu_val v); /* gradient of a parameter or input after backward; -ENOENT */
/* Makes backward go through this input too (for tests and for gradients with respect to pictures). */
int npu_graph_want_grad(npu_graph *g, npu_val v);

struct npu_adamw_opts {
    float beta1, beta2, eps, weight_decay; /* Loshchilov and Hutter 2019; decay only on parameters of rank >= 2 */
    float clip_norm;                       /* global gradient norm limit; 0 = none */
};
/* Adds the update of all parameters with gradients. Adds inputs "lr" (f32 scalar) and "step" (f32 scalar, from 1) and
 * the output "grad_norm"; the moments are states "adamw.m.<param>" and "adamw.v.<param>". */
int npu_graph_adamw(npu_graph *g, const struct npu_adamw_opts *o);
/* v = momentum v + g + wd w; w -= lr v. Adds the input "lr"; states "sgd.v.<param>". */
int npu_graph_sgd(npu_graph *g, float momentum, float weight_decay);

/* ---- plans ---- */
typedef struct npu_plan npu_plan;
typedef struct npu_fence npu_fence;

struct npu_plan_opts {
    bool profile;     /* keep per-node times */
    bool keep_values; /* don't reuse memory: every value can be read (tests) */
};

/* The graph must stay unchanged and alive as long as the plan. On failure *ret_plan is untouched and the reason is in
 * npu_graph_error (bad graph) or npu_ctx_error (device). opts may be NULL. */
int npu_plan_new(npu_dev *d, npu_graph *g, const struct npu_plan_opts *opts, npu_plan **ret_plan);
npu_plan *npu_plan_free(npu_plan *p);
const char *npu_plan_error(const npu_plan *p);

/* Sets all parameters and states to their starting values. */
int npu_plan_init(npu_plan *p, uint64_t seed);
/* Copies a whole tensor in or out by name (inputs, parameters, states; outputs for reading). size must be the tensor's
 * exactly: -EMSGSIZE; unknown name: -ENOENT. Waits for a running submission. */
int npu_plan_write(npu_plan *p, const char *name, const void *data, size_t size);
int npu_plan_read(npu_plan *p, const char *name, void *data, size_t size);
/* Same by value handle: no look-up on the frame path. */
int npu_plan_write_val(npu_plan *p, npu_val v, const void *data, size_t size);
int npu_plan_read_val(npu_plan *p, npu_val v, void *data, size_t size);

/* Starts one run. At most one submission of a plan is in flight: -EBUSY. The fence belongs to the plan. */
int npu_plan_submit(npu_plan *p, npu_fence **ret_fence);
/* timeout_ns < 0 waits for ever. -ETIMEDOUT leaves the run going: wait again, or give the device up. */
int npu_fence_wait(npu_fence *f, int64_t timeout_ns);
int npu_plan_run(npu_plan *p); /* submit + wait for ever */

/* One line a node: name, op, shape, device, tier and why, placed memory; times if profiled. */
int npu_plan_explain(npu_plan *p, FILE *out, bool json);
struct npu_plan_stats {
    size_t persistent_bytes, arena_bytes;            /* parameters, states and packed weights; all else */
    size_t sum_of_params_bytes, sum_of_values_bytes; /* of parameters and states; of all tensors, without reuse */
    int nodes, launches;
    double last_run_ms;
};
int npu_plan_get_stats(const npu_plan *p, struct npu_plan_stats *ret_stats);

/* ---- files: safetensors (huggingface/safetensors format description) ---- */
/* Reads every parameter and state of the plan's graph from the file. All must be there with the right shape and a float
 * type (converted); else -EINVAL and npu_plan_error names the tensor and both shapes. Extra tensors are ignored unless
 * strict. Nothing is written to the plan unless all fit. */
int npu_plan_load(npu_plan *p, const char *path, bool strict);
enum npu_save_flags {
    NPU_SAVE_PARAMS = 1, /* parameters and states other than optimiser moments */
    NPU_SAVE_MOMENTS = 2,
};
/* Written to a temporary file beside it, fsynced and renamed. metadata: key, value, key, value, NULL; may be NULL. */
int npu_plan_save(npu_plan *p, const char *path, unsigned flags, const char *const *metadata);

#ifdef __cplusplus
}
#endif
#endif
