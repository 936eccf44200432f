// A camera frame of any format as the grey image that the networks read.
#pragma once

#include "daemon/source.h"
#include "vision/image.h"
#include "vision/jpeg.h"

// All zero is the start; grey_clear at the end. Buffers grow to the largest frame seen and stay.
struct grey {
    struct jpeg_decoder *jpeg;
    struct image image;
};

void grey_clear(struct grey *g);
// *ret_image is borrowed: from `frame` itself or from `g`, until the next call or the release of the frame. message:
// size IMAGE_MESSAGE_SIZE, says why on failure. -EBADMSG a damaged frame, and the statuses of jpeg_decode and
// pixel_convert.
int grey_from_frame(struct grey *g, const struct frame *frame, struct image *ret_image, char *message);
