// One Euro filter: see one_euro.h.
#include "vision/one_euro.h"

#include <math.h>

// Smoothing factor of an exponential filter with this cutoff at this time step (paper, eq. 2 and 5).
static double smoothing(double cutoff_hz, double step_s)
{
    double r = 2 * 3.14159265358979323846 * cutoff_hz * step_s;
    return r / (r + 1);
}

double one_euro_update(struct one_euro *filter, const struct one_euro_settings *settings, double value, int64_t time_ns)
{
    if (!isfinite(value))
        return filter->value;
    bool gap = filter->started && settings->max_gap_ns > 0 && time_ns > filter->time_ns &&
               (uint64_t)time_ns - (uint64_t)filter->time_ns > (uint64_t)settings->max_gap_ns;
    if (!filter->started || gap) {
        *filter = (struct one_euro){true, time_ns, value, 0, value};
        return value;
    }
    if (time_ns <= filter->time_ns)
        return filter->value;
    double step_s = (double)((uint64_t)time_ns - (uint64_t)filter->time_ns) * 1e-9;
    double speed = (value - filter->raw) / step_s;
    double a = smoothing(settings->derivative_cutoff_hz, step_s);
    filter->derivative += a * (speed - filter->derivative);
    double cutoff_hz = settings->min_cutoff_hz + settings->beta * fabs(filter->derivative);
    filter->value += smoothing(cutoff_hz, step_s) * (value - filter->value);
    filter->raw = value;
    filter->time_ns = time_ns;
    return filter->value;
}
