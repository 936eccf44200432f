// One Euro filter: Casiez, Roussel, Vogel: 1 EUR filter, CHI 2012. Low-pass whose cutoff rises with speed.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct one_euro_settings {
    double min_cutoff_hz;        // cutoff at rest: lower = smoother
    double beta;                 // cutoff gain, Hz per unit/s: higher = less lag in motion
    double derivative_cutoff_hz; // the paper's 1 Hz
    int64_t max_gap_ns;          // after a longer gap the filter starts anew; 0 = never
};

// For gaze in radians.
#define ONE_EURO_GAZE ((struct one_euro_settings){1.0, 3.0, 1.0, 500 * 1000000ll})

// All zero is the start.
struct one_euro {
    bool started;
    int64_t time_ns;
    double value, derivative, raw; // filtered value, its filtered speed (unit/s), last raw value
};

// The filtered value at time_ns (the raw one stays with the caller). First call, or after a gap: the value itself. A
// time that does not advance leaves the state as it is and returns the last filtered value; a value that is not finite
// likewise (0 before the first).
double one_euro_update(struct one_euro *filter, const struct one_euro_settings *settings, double value,
                       int64_t time_ns);
