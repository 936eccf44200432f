/* timeline.c - a plan's run on the simulated NPU as a picture: when each unit works, and each layer. */
#include <errno.h>

#include "libnpu/sim/report.h"

enum { LEFT = 250, WIDTH = 1100, TOP = 70, UNIT_ROW = 26, LAYER_ROW = 17, RIGHT = 150 };

/* Colours of operations, by what they cost. */
static const char *colour_of(const char *op)
{
    static const struct {
        const char *op, *colour;
    } t[] = {{"conv2d", "#3b6fb6"},     {"matmul", "#5a9bd4"},   {"attention", "#c0504d"},
             {"layer_norm", "#d8a03c"}, {"softmax", "#d8a03c"},  {"reduce", "#8c6bb1"},
             {"resize", "#6aa84f"},     {"max_pool", "#6aa84f"}, {"mean_pool", "#6aa84f"}};

    for (size_t k = 0; k < sizeof t / sizeof t[0]; k++)
        if (strcmp(t[k].op, op) == 0)
            return t[k].colour;
    return "#8a9aa8";
}

static double x_of(const struct sim_report *r, uint64_t cycle)
{
    return LEFT + (double)cycle * WIDTH / (double)(r->total.cycles ? r->total.cycles : 1);
}

static void text(FILE *out, double x, double y, const char *anchor, const char *s)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    for (; *s; s++) {
        if (*s == '<' || *s == '&' || *s == '>')
            fprintf(out, "&#%d;", *s);
        else
            fputc(*s, out);
    }
    fputs("</text>\n", out);
}

static void bar(FILE *out, const struct sim_report *r, const struct sim_span *s, double y, double height,
                const char *colour)
{
    const double x = x_of(r, s->begin), w = x_of(r, s->end) - x;

    fprintf(out, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, w > 0.3 ? w : 0.3,
            height, colour);
}

/* The instructions of one unit; neighbours of one layer that no eye could tell apart are one bar. */
static void unit_row(FILE *out, const struct sim_report *r, enum sim_unit u, double y)
{
    const uint64_t gap = r->total.cycles / WIDTH + 1;

    text(out, LEFT - 8, y + 16, "end", sim_unit_names[u]);
    for (int k = 0; k < r->n_layers; k++) {
        const struct sim_layer *l = &r->layer[k];
        struct sim_span run = {0};
        bool open = false;

        for (int i = l->first; i < l->first + l->n; i++) {
            const struct sim_span *s = &r->span[i];

            if (sim_insn_unit(&r->program->insn[i]) != u)
                continue;
            if (open && s->begin > run.end + gap) {
                bar(out, r, &run, y, UNIT_ROW - 6, colour_of(l->op));
                open = false;
            }
            run.begin = open ? run.begin : s->begin;
            run.end = open && run.end > s->end ? run.end : s->end;
            open = true;
        }
        if (open)
            bar(out, r, &run, y, UNIT_ROW - 6, colour_of(l->op));
    }
}

static void axis(FILE *out, const struct sim_report *r, double height)
{
    const double ms = (double)r->total.cycles / r->config->clock_hz * 1e3;

    for (int k = 0; k <= 10; k++) {
        const double x = LEFT + WIDTH * k / 10.0;
        char label[32];

        fprintf(out, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", x, x, TOP - 6,
                height - 10);
        snprintf(label, sizeof label, "%.3g ms", ms * k / 10);
        text(out, x, TOP - 12, "middle", label);
    }
}

static void layer_row(FILE *out, const struct sim_report *r, const struct sim_layer *l, double y)
{
    const struct sim_span s = {l->begin, l->end};
    char label[NPU_MAX_NAME + 40];

    snprintf(label, sizeof label, "%s %.30s", l->op, l->name);
    text(out, LEFT - 8, y + 11, "end", label);
    bar(out, r, &s, y + 2, LAYER_ROW - 5, colour_of(l->op));
    if (l->work.products)
        snprintf(label, sizeof label, "%llu, array %.0f%%", (unsigned long long)l->taken,
                 100 * sim_utilisation(r->config, l->work.products, l->end - l->begin));
    else
        snprintf(label, sizeof label, "%llu", (unsigned long long)l->taken);
    text(out, x_of(r, l->end) + 5, y + 11, "start", label);
}

int sim_report_timeline(const struct sim_report *r, const char *title, FILE *out)
{
    const double layers = TOP + SIM_UNITS * UNIT_ROW + 14, height = layers + r->n_layers * LAYER_ROW + 16;
    char line[256];

    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" font-family=\"sans-serif\" "
            "font-size=\"11\">\n<rect width=\"%d\" height=\"%.0f\" fill=\"#fff\"/>\n<g fill=\"#123\">\n",
            LEFT + WIDTH + RIGHT, height, LEFT + WIDTH + RIGHT, height);
    snprintf(line, sizeof line,
             "%.100s: %llu cycles, array %d x %d used %.1f%%. Rows: units, then layers with the cycles "
             "by which each moves the end",
             title, (unsigned long long)r->total.cycles, r->config->rows, r->config->cols,
             100 * sim_utilisation(r->config, r->total.products, r->total.cycles));
    text(out, LEFT, 24, "start", line);
    axis(out, r, height);
    for (int u = 0; u < SIM_UNITS; u++)
        unit_row(out, r, u, TOP + u * UNIT_ROW);
    for (int k = 0; k < r->n_layers; k++)
        layer_row(out, r, &r->layer[k], layers + k * LAYER_ROW);
    fputs("</g>\n</svg>\n", out);
    return ferror(out) ? -EIO : 0;
}
