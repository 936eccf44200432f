/* bench_print.c - what npu-bench found, for people and as JSON. */
#include "libnpu/graph.h"
#include "libnpu/json_text.h"
#include "models/tool/bench.h"

static const char *what_runs(const struct bench_args *a)
{
    return a->train ? "training step" : bench_precision_names[a->precision];
}

/* Numbers that are trained. */
static int64_t parameters_of(const npu_graph *g)
{
    int64_t sum = 0;

    for (npu_val v = 1; v <= g->n_values; v++)
        if (npu_value_of(g, v)->kind == NPU_VALUE_PARAM)
            sum += npu_shape_elements(npu_val_shape(g, v));
    return sum;
}

/* Everything but times; without the closing bracket. */
void bench_print_head(const struct bench_args *a, npu_dev *dev, const struct bench_net *n, FILE *out)
{
    const struct npu_dev_info *info = npu_dev_get_info(dev);
    struct npu_plan_stats s = {0};

    npu_plan_get_stats(n->plan, &s);
    fputs("{\"network\": ", out);
    npu_json_text(out, a->what);
    fputs(", \"device\": ", out);
    npu_json_text(out, info->id);
    fputs(", \"device_name\": ", out);
    npu_json_text(out, info->name);
    fprintf(out, ", \"precision\": \"%s\", \"train\": %s, \"threads\": %d, \"batch\": %d, \"parameters\": %lld",
            bench_precision_names[a->precision], a->train ? "true" : "false", info->compute_units, a->batch,
            (long long)parameters_of(n->graph));
    fprintf(out,
            ", \"memory\": {\"persistent_bytes\": %zu, \"arena_bytes\": %zu, \"sum_of_params_bytes\": %zu, "
            "\"sum_of_values_bytes\": %zu, \"nodes\": %d, \"launches\": %d}",
            s.persistent_bytes, s.arena_bytes, s.sum_of_params_bytes, s.sum_of_values_bytes, s.nodes, s.launches);
}

/* ---- JSON ---- */
static void json_times(const struct bench_times *t, int batch)
{
    printf("\"runs\": %d, \"min_ms\": %.5f, \"p50_ms\": %.5f, \"p90_ms\": %.5f, \"mean_ms\": %.5f, \"cpu_ms\": %.5f, "
           "\"per_s\": %.3f",
           t->runs, t->min_ms, t->p50_ms, t->p90_ms, t->mean_ms, t->cpu_ms,
           t->mean_ms > 0 ? 1e3 * batch / t->mean_ms : 0.0);
}

static void json_points(const char *name, const struct bench_point *p, int n)
{
    printf(",\n \"%s\": [", name);
    for (int i = 0; i < n; i++) {
        printf("%s\n  {\"batch\": %d, \"width\": %d, \"height\": %d, ", i ? "," : "", p[i].batch, p[i].size.width,
               p[i].size.height);
        json_times(&p[i].times, p[i].batch);
        putchar('}');
    }
    putchar(']');
}

static void json_start(const char *name, const struct bench_start *s)
{
    printf("\"%s\": {\"context_ms\": %.3f, \"plan_ms\": %.3f, \"first_ms\": %.3f, \"process_ms\": %.3f}", name,
           s->context_ms, s->plan_ms, s->first_ms, s->process_ms);
}

void bench_print_json(const struct bench_args *a, npu_dev *dev, const struct bench_net *n, const struct bench_result *r,
                      npu_plan *profiled)
{
    bench_print_head(a, dev, n, stdout);
    fputs(",\n ", stdout);
    json_times(&r->times, a->batch);
    fputs(",\n \"start\": ", stdout);
    if (r->has_start) {
        putchar('{');
        json_start("empty", &r->empty);
        fputs(", ", stdout);
        json_start("warm", &r->warm);
        putchar('}');
    } else {
        fputs("null", stdout);
    }
    json_points("batches", r->batches, r->n_batches);
    json_points("sizes", r->sizes, r->n_sizes);
    printf(",\n \"extra_ms\": %.5f,\n \"plan\": ", r->extra_ms);
    if (profiled)
        npu_plan_explain(profiled, stdout, true);
    else
        fputs("null", stdout);
    puts("}");
}

/* ---- text ---- */
static void text_start(const char *name, const struct bench_start *s)
{
    printf("  %-14s %.0f ms = context %.0f + plan %.0f + first result %.0f (process %.0f)\n", name,
           s->context_ms + s->plan_ms + s->first_ms, s->context_ms, s->plan_ms, s->first_ms, s->process_ms);
}

void bench_print_text(const struct bench_args *a, npu_dev *dev, const struct bench_net *n, const struct bench_result *r)
{
    const struct npu_dev_info *info = npu_dev_get_info(dev);
    const struct bench_times *t = &r->times;
    struct npu_plan_stats s = {0};
    const double mib = 1 << 20;

    npu_plan_get_stats(n->plan, &s);
    printf("%s, %s, batch %d, on %s (%s), %d thread%s\n", a->what, what_runs(a), a->batch, info->id, info->name,
           info->compute_units, info->compute_units == 1 ? "" : "s");
    printf("  %-14s p50 %.4f ms, p90 %.4f, least %.4f (%d runs)\n", "one run", t->p50_ms, t->p90_ms, t->min_ms,
           t->runs);
    printf("  %-14s %.1f pictures/s, %.4f ms of processor time a run\n", "throughput",
           t->mean_ms > 0 ? 1e3 * a->batch / t->mean_ms : 0.0, t->cpu_ms);
    printf("  %-14s %.2f MiB for %.2f MiB of parameters, %.2f MiB for %.2f MiB of results\n", "memory",
           (double)s.persistent_bytes / mib, (double)s.sum_of_params_bytes / mib, (double)s.arena_bytes / mib,
           (double)(s.sum_of_values_bytes - s.sum_of_params_bytes) / mib);
    printf("  %-14s %d nodes, %d launches\n", "plan", s.nodes, s.launches);
    if (r->has_start) {
        text_start("empty cache", &r->empty);
        text_start("warm cache", &r->warm);
    }
    for (int i = 0; i < r->n_batches; i++)
        printf("  batch %-8d p50 %.4f ms, %.4f ms each\n", r->batches[i].batch, r->batches[i].times.p50_ms,
               r->batches[i].times.p50_ms / r->batches[i].batch);
    if (r->n_batches > 1)
        printf("  %-14s %.4f ms\n", "one more", r->extra_ms);
    for (int i = 0; i < r->n_sizes; i++)
        printf("  %4dx%-9d p50 %.4f ms\n", r->sizes[i].size.width, r->sizes[i].size.height, r->sizes[i].times.p50_ms);
}
