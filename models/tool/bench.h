/* bench.h - the parts of npu-bench. Functions that can fail print why and return the exit code: 0, 1 or 2. */
#ifndef MODELS_TOOL_BENCH_H
#define MODELS_TOOL_BENCH_H

#include <limits.h>

#include "libnpu/npu_onnx.h"
#include "libnpu/op.h"
#include "models/net.h"

enum { BENCH_MAX_LIST = 16, BENCH_MAX_TENSORS = 64, BENCH_MAX_BATCH = 256 };
/* INT8: ranges by calibration, INT8_DYNAMIC: found at run time. */
enum bench_precision { BENCH_F32, BENCH_BF16, BENCH_INT8, BENCH_INT8_DYNAMIC, BENCH_PRECISIONS };
extern const char *const bench_precision_names[BENCH_PRECISIONS];

struct bench_size {
    int width, height;
};

struct bench_args {
    const char *what;    /* a network's name, a file ending in .onnx, or gemm:MxKxN and matmul:MxKxN with *R behind */
    const char *device;  /* NULL: the best */
    const char *weights; /* file or folder; NULL: the ONNX file's own, or random ones */
    const char *inputs;  /* folder of .npy; NULL: random */
    const char *calib;   /* folder of such folders */
    const char *outputs; /* folder to write to, or NULL */
    enum bench_precision precision;
    struct npu_onnx_opts onnx;
    struct npu_onnx_dim dims[BENCH_MAX_LIST];
    int threads; /* 0: all */
    int batch;
    struct bench_size size; /* of face_finder's picture; 0: its own */
    int batches[BENCH_MAX_LIST], n_batches;
    struct bench_size sizes[BENCH_MAX_LIST];
    int n_sizes;
    double seconds;
    bool json, serve, train, profile, start, first, peak;
};

/* A tensor that is written before each run or once, or read after each run. */
struct bench_tensor {
    char name[NPU_MAX_NAME];
    npu_val v;
    struct npu_tensor t;
    bool once;
};

struct bench_net {
    struct net net;   /* gazed's own networks: the graph is in it */
    npu_onnx *onnx;   /* a file's: likewise */
    npu_graph *other; /* anything else's */
    npu_graph *graph;
    npu_plan *plan;
    int n_in, n_out;
    struct bench_tensor in[BENCH_MAX_TENSORS], out[BENCH_MAX_TENSORS];
    bool no_copies; /* a timed run is the plan's alone: products */
};

struct bench_device {
    npu_ctx *ctx;
    npu_dev *dev;
};
int bench_device_open(const struct bench_args *a, struct bench_device *ret_device);
void bench_device_close(struct bench_device *d);

/* ---- networks ---- */
/* The graph, with inputs and outputs noted but no memory for them yet. */
int bench_net_build(const struct bench_args *a, struct bench_net *n);
/* Graph, plan, parameters, inputs. a->precision other than f32: weights must be quantised ones (bench_quantise), or
 * the graph is of that precision by itself (products). */
int bench_net_open(const struct bench_args *a, npu_dev *dev, const struct npu_plan_opts *o, struct bench_net *n);
void bench_net_close(struct bench_net *n); /* an all-zero one is fine */
/* Fills the inputs: from folder/NAME.npy, or random where folder is NULL. */
int bench_net_fill(struct bench_net *n, const char *folder, uint64_t seed);
int bench_net_write(struct bench_net *n, bool once); /* to the plan; 0 or a negative status, as npu_plan_run */
int bench_net_run(struct bench_net *n);              /* what is timed */
int bench_net_outputs(struct bench_net *n, const char *folder);
/* The same for each of the inputs in inputs/1, inputs/2, ..., to outputs/1, outputs/2, ...; the inputs are then again
 * those they were. */
int bench_net_more_outputs(struct bench_net *n, const char *inputs, const char *outputs);
void bench_note(struct bench_tensor *list, int *n, const char *name, npu_val v);

int bench_gemm_build(const char *what, enum bench_precision p, struct bench_net *n); /* a graph; 2: no such product */
bool bench_is_gemm(const char *what);
/* gaze_vit with loss, gradients and AdamW: all tokens are there. */
int bench_train_build(const struct bench_args *a, struct bench_net *n);
int bench_train_start(npu_plan *plan);

/* Makes the network int8 or bf16 in a weight file whose path is written to `path`; the caller removes it. */
int bench_quantise(const struct bench_args *a, npu_dev *dev, char path[PATH_MAX]);

/* ---- measuring ---- */
struct bench_times {
    int runs;
    double min_ms, p50_ms, p90_ms, mean_ms, cpu_ms; /* cpu: of the process, a run */
};
/* Runs for so long, at least three times, after as long a warm-up as a fifth of it. */
int bench_time(struct bench_net *n, double seconds, struct bench_times *ret_times);

struct bench_start {
    double context_ms, plan_ms, first_ms, process_ms; /* process: from its birth to its end */
};
/* One start of this program in a process of its own, the program cache empty and then warm. */
int bench_start_measure(const struct bench_args *a, struct bench_start *ret_empty, struct bench_start *ret_warm);
/* What that process does. */
int bench_start_once(const struct bench_args *a);

struct bench_peak {
    /* of all processors that are taken, a thread on each; an addition and a multiplication are two operations */
    double f32_gflops, int8_gops, read_gbps;
    const char *how;
};
int bench_peak_measure(double seconds, struct bench_peak *ret_peak);

/* ---- at the word of a driver, on standard input ---- */
typedef int bench_run_fn(void *arg); /* what is timed; non-zero where it failed and has said why */
int bench_serve_runs(bench_run_fn *run, void *arg);
int bench_serve(const struct bench_args *a, npu_dev *dev, struct bench_net *n);
int bench_peak_serve(void); /* a run: the same product of matrices on each of the processors */

/* ---- results ---- */
struct bench_point {
    int batch;
    struct bench_size size;
    struct bench_times times;
};
struct bench_result {
    struct bench_times times;
    bool has_start;
    struct bench_start empty, warm;
    int n_batches, n_sizes;
    struct bench_point batches[BENCH_MAX_LIST], sizes[BENCH_MAX_LIST];
    double extra_ms; /* cost of one more picture in a batch */
};
void bench_print_head(const struct bench_args *a, npu_dev *dev, const struct bench_net *n, FILE *out);
void bench_print_text(const struct bench_args *a, npu_dev *dev, const struct bench_net *n,
                      const struct bench_result *r);
void bench_print_json(const struct bench_args *a, npu_dev *dev, const struct bench_net *n, const struct bench_result *r,
                      npu_plan *profiled);

int bench_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* 1 */

#endif
