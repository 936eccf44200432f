/* The smallest program with libgaze: prints where each person looks until it is interrupted.
 * cc watch.c $(pkg-config --cflags --libs gaze) -o watch */
#include <stdio.h>
#include <string.h>

#include "client/gaze.h" /* <gaze.h> where it is installed */

static void on_result(void *userdata, const struct gaze_result *result)
{
    for (uint32_t i = 0; i < result->face_count; i++) {
        const struct gaze_face *face = result->faces[i];

        if (face->flags & GAZE_FACE_GAZE)
            printf("person %u looks %.1f degrees to the left, %.1f up (+-%.1f)\n", face->id, face->yaw_deg,
                   face->pitch_deg, face->sigma_deg);
    }
}

int main(int argc, char **argv)
{
    struct gaze_listener listener = {.size = sizeof(listener), .result = on_result};
    struct gaze_subscription subscription = {.size = sizeof(subscription), .topics = GAZE_TOPIC_RESULTS, .rate_hz = 10};
    struct gaze *gaze;
    int r = gaze_open(argc > 1 ? argv[1] : NULL, "watch example", &listener, NULL, &gaze);

    if (r < 0) {
        fprintf(stderr, "no connection: %s\n", strerror(-r));
        return 1;
    }
    r = gaze_subscribe(gaze, &subscription);
    while (r >= 0)
        r = gaze_dispatch(gaze, -1);
    fprintf(stderr, "the connection is lost: %s\n", strerror(-r));
    gaze_close(gaze);
    return 1;
}
