/* bench_time.c - how long runs take, measured by this program alone or at a driver's word. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libnpu/plan.h"
#include "models/tool/bench.h"

enum { MAX_RUNS = 100000, MIN_RUNS = 3, MAX_WARM_UP = 200 };

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int run_net(void *net)
{
    struct bench_net *n = net;

    return bench_net_run(n) < 0 ? bench_fail("a run failed: %s", npu_plan_error(n->plan)) : 0;
}

/* ms[n] of n runs. */
static int run_often(bench_run_fn *run, void *arg, int runs, int64_t until_ns, double *ms, int *ret_runs)
{
    int k = 0;

    for (; k < runs && (k < MIN_RUNS || npu_now_ns() < until_ns); k++) {
        const int64_t start = npu_now_ns();
        const int r = run(arg);

        if (r)
            return r;
        ms[k] = 1e-6 * (double)(npu_now_ns() - start);
    }
    *ret_runs = k;
    return 0;
}

int bench_time(struct bench_net *n, double seconds, struct bench_times *ret_times)
{
    double *ms = malloc(MAX_RUNS * sizeof *ms), cpu;
    struct bench_times t = {0};
    int warm, r;

    if (!ms)
        return bench_fail("out of memory");
    r = run_often(run_net, n, MAX_WARM_UP, npu_now_ns() + (int64_t)(2e8 * seconds), ms, &warm);
    cpu = cpu_ms();
    if (r == 0)
        r = run_often(run_net, n, MAX_RUNS, npu_now_ns() + (int64_t)(1e9 * seconds), ms, &t.runs);
    if (r == 0) {
        t.cpu_ms = (cpu_ms() - cpu) / t.runs;
        for (int i = 0; i < t.runs; i++)
            t.mean_ms += ms[i] / t.runs;
        qsort(ms, (size_t)t.runs, sizeof *ms, by_value);
        t.min_ms = ms[0];
        t.p50_ms = ms[t.runs / 2];
        t.p90_ms = ms[t.runs * 9 / 10];
        *ret_times = t;
    }
    free(ms);
    return r;
}

/* ---- at a driver's word ---- */
static int serve_runs(bench_run_fn *run, void *arg, int runs, int warm_up, double *ms)
{
    int done;
    double cpu;
    int r = run_often(run, arg, warm_up, INT64_MAX, ms, &done);

    cpu = cpu_ms();
    if (r == 0)
        r = run_often(run, arg, runs, INT64_MAX, ms, &done);
    if (r)
        return r;
    printf("{\"cpu_ms\": %.4f, \"ms\": [", (cpu_ms() - cpu) / (done > 0 ? done : 1));
    for (int i = 0; i < done; i++)
        printf("%s%.5f", i ? ", " : "", ms[i]);
    puts("]}");
    return 0;
}

int bench_serve_runs(bench_run_fn *run, void *arg)
{
    char line[64];
    double *ms = malloc(MAX_RUNS * sizeof *ms);
    int r = 0;

    if (!ms)
        return bench_fail("out of memory");
    fflush(stdout);
    while (r == 0 && fgets(line, sizeof line, stdin)) {
        int runs = 0, warm_up = 0;
        char word[8] = "";
        const int fields = sscanf(line, "%7s %d %d", word, &runs, &warm_up);

        if (fields >= 2 && strcmp(word, "run") == 0 && runs > 0 && runs <= MAX_RUNS && warm_up >= 0 &&
            warm_up <= MAX_RUNS)
            r = serve_runs(run, arg, runs, warm_up, ms);
        else if (fields == 1 && strcmp(word, "quit") == 0)
            break;
        else
            printf("{\"error\": \"run N [WARM-UP], with N from 1 to %d, or quit\"}\n", MAX_RUNS);
        fflush(stdout);
    }
    free(ms);
    return r;
}

int bench_serve(const struct bench_args *a, npu_dev *dev, struct bench_net *n)
{
    bench_print_head(a, dev, n, stdout);
    puts("}");
    return bench_serve_runs(run_net, n);
}
