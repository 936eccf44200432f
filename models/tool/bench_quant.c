/* bench_quant.c - any network made int8 or bf16 for npu-bench: calibrated on inputs given or random, written to a
 * temporary weight file, from which plans are then made as the product makes them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libnpu/quant.h"
#include "models/tool/bench.h"

enum { RANDOM_SAMPLES = 8, MAX_SAMPLES = 1000, MIN_MACS = 65536 };

/* DIR/0, DIR/1, ... as long as there are any, or random ones. */
static int run_samples(const struct bench_args *a, struct bench_net *n, struct npu_calib *calib)
{
    int count = 0, r = 0;

    for (; count < (a->calib ? MAX_SAMPLES : RANDOM_SAMPLES) && r == 0; count++) {
        char folder[PATH_MAX];

        snprintf(folder, sizeof folder, "%s/%d", a->calib ? a->calib : "", count);
        if (a->calib && access(folder, R_OK) < 0)
            break;
        r = bench_net_fill(n, a->calib ? folder : NULL, 100 + (uint64_t)count);
        if (r == 0 && (bench_net_run(n) < 0 || npu_calib_add(calib) < 0))
            r = bench_fail("%s: calibration: %s", a->what, npu_plan_error(n->plan));
    }
    return r == 0 && count == 0 ? bench_fail("%s: no folder 0 with inputs in it", a->calib) : r;
}

static int find_ranges(const struct bench_args *a, struct bench_net *n, struct npu_quant_range *ranges)
{
    struct npu_calib *calib = NULL;
    int r = npu_calib_new(n->plan, &calib) < 0 ? bench_fail("out of memory") : run_samples(a, n, calib);

    if (r == 0)
        npu_calib_ranges(calib, NPU_CALIB_MSE, ranges);
    npu_calib_free(calib);
    return r;
}

static int make(const struct bench_args *a, struct bench_net *n, const char *path)
{
    static const enum npu_quant_mode mode[BENCH_PRECISIONS] = {
        [BENCH_BF16] = NPU_QUANT_BF16, [BENCH_INT8] = NPU_QUANT_STATIC, [BENCH_INT8_DYNAMIC] = NPU_QUANT_DYNAMIC};
    const struct npu_quant_settings settings = {.mode = mode[a->precision], .min_macs = MIN_MACS};
    struct npu_quant_range *ranges = calloc((size_t)npu_graph_n_values(n->graph) + 1, sizeof *ranges);
    struct npu_quant_recipe *recipe = NULL;
    int r = ranges ? 0 : bench_fail("out of memory"), saved;

    if (r == 0 && a->precision == BENCH_INT8)
        r = find_ranges(a, n, ranges);
    if (r == 0) {
        saved = npu_quant_choose(n->graph, &settings, ranges, &recipe);
        if (saved == 0)
            saved = npu_quant_save(n->plan, &settings, recipe, path, NULL);
        if (saved < 0)
            r = bench_fail("%s: %s: %s", a->what, bench_precision_names[a->precision],
                           npu_graph_status(n->graph) < 0 ? npu_graph_error(n->graph) : strerror(-saved));
    }
    free(ranges);
    free(recipe);
    return r;
}

int bench_quantise(const struct bench_args *a, npu_dev *dev, char path[PATH_MAX])
{
    const struct npu_plan_opts keep = {.keep_values = true};
    const char *tmp = getenv("TMPDIR");
    struct bench_net *n = calloc(1, sizeof *n);
    int fd, r;

    if (!n)
        return bench_fail("out of memory");
    snprintf(path, PATH_MAX, "%s/npu-bench-XXXXXX.safetensors", tmp && *tmp ? tmp : "/tmp");
    fd = mkostemps(path, (int)strlen(".safetensors"), O_CLOEXEC);
    if (fd < 0) {
        r = bench_fail("%s: %s", path, strerror(errno));
        path[0] = '\0';
    } else {
        close(fd);
        r = bench_net_open(a, dev, &keep, n);
        if (r == 0)
            r = make(a, n, path);
    }
    bench_net_close(n);
    free(n);
    return r;
}
