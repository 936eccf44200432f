// Ranking of V4L2 formats x sizes x intervals.
#include "daemon/v4l2_rank.h"

#include <linux/videodev2.h>
#include <math.h>

int v4l2_format_class(uint32_t fourcc)
{
    switch (fourcc) {
    case V4L2_PIX_FMT_GREY:
        return 0;
    case V4L2_PIX_FMT_NV12:
        return 1;
    case V4L2_PIX_FMT_YUYV:
        return 2;
    case V4L2_PIX_FMT_MJPEG:
    case V4L2_PIX_FMT_JPEG:
        return 3;
    default:
        return -1;
    }
}

double v4l2_offer_cost(const struct v4l2_offer *offer, const struct v4l2_wish *wish)
{
    int class = v4l2_format_class(offer->fourcc);
    if (class < 0 || offer->width <= 0 || offer->height <= 0 || offer->fps < 0)
        return -1;

    double fps = offer->fps > 0 ? offer->fps : wish->fps;
    double missing_rate = fps < wish->fps ? 1 - fps / wish->fps : 0;
    double extra_rate = fps > wish->fps ? fmin(1, log2(fps / wish->fps) / 8) : 0;

    double area = log2((double)offer->width * offer->height / ((double)wish->width * wish->height));
    double missing_area = area < 0 ? -area : 0;
    double extra_area = area > 0 ? area : 0;
    double aspect = fabs(log2((double)offer->width / offer->height * wish->height / wish->width));

    return 100 * missing_rate + 20 * missing_area + 10 * extra_area + 2 * aspect + extra_rate + class;
}

int v4l2_rank(const struct v4l2_offer *offers, int count, const struct v4l2_wish *wish, const unsigned char *skip)
{
    int best = -1;
    double best_cost = 0;
    for (int i = 0; i < count; i++) {
        if (skip && skip[i])
            continue;
        double cost = v4l2_offer_cost(&offers[i], wish);
        if (cost >= 0 && (best < 0 || cost < best_cost)) {
            best = i;
            best_cost = cost;
        }
    }
    return best;
}
