// Frames to grey: luma only where the format has it.
#include "daemon/grey.h"

#include <errno.h>
#include <stdio.h>

#include "vision/pixel.h"

void grey_clear(struct grey *g)
{
    g->jpeg = jpeg_decoder_free(g->jpeg);
    image_free(&g->image);
}

static int from_jpeg(struct grey *g, const struct frame *frame, struct image *ret_image, char *message)
{
    int r = g->jpeg ? 0 : jpeg_decoder_new(&g->jpeg);
    struct jpeg_frame decoded = {0};
    if (r >= 0)
        r = jpeg_decode(g->jpeg, frame->data, frame->size, 1, 0, 0, &decoded, message);
    if (r >= 0)
        *ret_image = decoded.image;
    return r;
}

int grey_from_frame(struct grey *g, const struct frame *frame, struct image *ret_image, char *message)
{
    static const enum pixel_format formats[FRAME_FORMATS] = {
        [FRAME_GREY] = PIXEL_GREY, [FRAME_YUYV] = PIXEL_YUYV, [FRAME_NV12] = PIXEL_NV12, [FRAME_RGB24] = PIXEL_RGB24};
    message[0] = 0;
    if (frame->format == FRAME_JPEG)
        return from_jpeg(g, frame, ret_image, message);
    int r;
    if (frame->format == FRAME_GREY) { // as it is; image_view only reads through the pointer
        r = image_view((uint8_t *)(uintptr_t)frame->data, frame->size, frame->width, frame->height, frame->stride, 1,
                       ret_image);
    } else {
        r = 0;
        if (g->image.width != frame->width || g->image.height != frame->height) {
            image_free(&g->image);
            r = image_alloc(frame->width, frame->height, 1, &g->image);
        }
        if (r >= 0)
            r = pixel_convert(formats[frame->format], frame->data, frame->size, frame->stride, &g->image);
        if (r >= 0)
            *ret_image = g->image;
    }
    if (r < 0)
        snprintf(message, IMAGE_MESSAGE_SIZE, "a frame of %zu bytes is no %d x %d picture", frame->size, frame->width,
                 frame->height);
    return r;
}
