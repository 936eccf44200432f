// Which of a camera's formats to take: pure ranking of what the driver enumerates.
#pragma once

#include <stdint.h>

// One offer: a pixel format at a size with an interval.
struct v4l2_offer {
    uint32_t fourcc;
    int width, height;
    double fps; // 0 = the driver does not say
};

struct v4l2_wish {
    int width, height;
    double fps;
};

// Bytes a pixel that the format moves over the bus and the cost class of bringing it to grey: lower is better. -1 for a
// format that we don't take.
int v4l2_format_class(uint32_t fourcc);
// Cost of an offer, lower is better; negative = unusable. In order of weight: reaching the wished rate, reaching the
// wished size (too small is worse than too large), format class (GREY, NV12, YUYV, MJPEG).
double v4l2_offer_cost(const struct v4l2_offer *offer, const struct v4l2_wish *wish);
// Index of the best offer, the first among equals; -1 if none is usable. skip[i] != 0 leaves offer i out (may be NULL).
int v4l2_rank(const struct v4l2_offer *offers, int count, const struct v4l2_wish *wish, const unsigned char *skip);
