// Draws a training's course as SVG.
#include "train/curve.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH  820
#define HEIGHT 300
#define LEFT   60
#define BOTTOM 260
#define TOP    30
#define RIGHT  800

void curve_add_loss(struct curve *c, uint32_t step, float loss)
{
    c->stride = c->stride ? c->stride : 1;
    c->sum += (double)loss;
    if (++c->summed < c->stride)
        return;
    if (c->point_count == CURVE_MAX_POINTS) {
        for (int i = 0; i < CURVE_MAX_POINTS / 2; i++) {
            c->points[i] = c->points[2 * i + 1];
            c->points[i].loss = (c->points[i].loss + c->points[2 * i].loss) / 2;
        }
        c->point_count = CURVE_MAX_POINTS / 2;
        c->stride *= 2;
    }
    c->points[c->point_count].step = step;
    c->points[c->point_count++].loss = (float)(c->sum / c->summed);
    c->sum = 0;
    c->summed = 0;
}

void curve_add_figures(struct curve *c, uint32_t step, const struct figures *figures)
{
    int at = c->judged_count < CURVE_MAX_JUDGED ? c->judged_count++ : CURVE_MAX_JUDGED - 1;
    c->judged[at].step = step;
    c->judged[at].figures = *figures;
}

struct range {
    double low, high;
};

static double place(struct range r, double v, double from, double to)
{
    double share = r.high > r.low ? (v - r.low) / (r.high - r.low) : 0.5;
    return from + share * (to - from);
}

static void frame(FILE *f, double y0, const char *title, struct range steps, struct range values)
{
    fprintf(f,
            "<rect x='%d' y='%.0f' width='%d' height='%d' fill='none' stroke='#999'/>\n"
            "<text x='%d' y='%.0f'>%s</text><text x='4' y='%.0f'>%.3g</text><text x='4' y='%.0f'>%.3g</text>\n"
            "<text x='%d' y='%.0f' text-anchor='end'>step %.0f</text>\n",
            LEFT, y0 + TOP, RIGHT - LEFT, BOTTOM - TOP, LEFT, y0 + TOP - 8, title, y0 + TOP + 10, values.high,
            y0 + BOTTOM, values.low, RIGHT, y0 + BOTTOM + 18, steps.high);
}

static void widen(struct range *r, double v)
{
    if (!isfinite(v))
        return;
    r->low = fmin(r->low, v);
    r->high = fmax(r->high, v);
}

static void draw_loss(FILE *f, const struct curve *c, const char *title)
{
    struct range steps = {0, 1}, values = {INFINITY, -INFINITY};
    for (int i = 0; i < c->point_count; i++) {
        widen(&steps, c->points[i].step);
        // The first points would flatten all others.
        if (i >= c->point_count / 20)
            widen(&values, (double)c->points[i].loss);
    }
    char name[120];
    snprintf(name, sizeof(name), "%.80s: loss", title);
    frame(f, 0, name, steps, values);
    fprintf(f, "<polyline fill='none' stroke='#06c' points='");
    for (int i = 0; i < c->point_count; i++) {
        double y = fmin(fmax((double)c->points[i].loss, values.low), values.high);
        fprintf(f, "%.1f,%.1f ", place(steps, c->points[i].step, LEFT, RIGHT), place(values, y, BOTTOM, TOP));
    }
    fprintf(f, "'/>\n");
}

static void draw_figure(FILE *f, const struct curve *c, int index, double y0)
{
    struct range steps = {0, 1}, values = {INFINITY, -INFINITY};
    for (int i = 0; i < c->judged_count; i++) {
        widen(&steps, c->judged[i].step);
        widen(&values, c->judged[i].figures.list[index].value);
    }
    frame(f, y0, c->judged[0].figures.list[index].name, steps, values);
    for (int i = 0; i < c->judged_count; i++) {
        double v = c->judged[i].figures.list[index].value;
        if (index < c->judged[i].figures.count && isfinite(v))
            fprintf(f, "<circle cx='%.1f' cy='%.1f' r='3' fill='#c30'/>\n",
                    place(steps, c->judged[i].step, LEFT, RIGHT), y0 + place(values, v, BOTTOM, TOP));
    }
}

int curve_write_svg(const struct curve *c, const char *title, const char *path)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return -errno;
    int figures = c->judged_count ? c->judged[0].figures.count : 0;
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='12'>\n"
            "<rect width='100%%' height='100%%' fill='white'/>\n",
            WIDTH, HEIGHT * (1 + figures));
    draw_loss(f, c, title);
    for (int i = 0; i < figures; i++)
        draw_figure(f, c, i, HEIGHT * (i + 1));
    fprintf(f, "</svg>\n");
    int r = ferror(f) ? -EIO : 0;
    return fclose(f) < 0 ? -errno : r;
}
