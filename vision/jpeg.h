// JPEG from and to memory (libjpeg-turbo). A decoder handle is reused from frame to frame.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vision/image.h"

// Room for any message these functions write.
#define IMAGE_MESSAGE_SIZE 240
// A progressive file with more scans is refused: decoding time grows with scans, not with bytes.
#define JPEG_MAX_SCANS 200

struct jpeg_decoder;

struct jpeg_frame {
    struct image image;          // borrowed: valid until the next decode with, or the freeing of, the decoder
    int full_width, full_height; // size before scaling
    int denominator; // 1, 2, 4 or 8: the image is 1/denominator of the full size, rounded up: scale positions by
                     // exactly that, the last column and row may be partial
    int warnings;    // harmless oddities that the decoder noted
};

// -ENOMEM.
int jpeg_decoder_new(struct jpeg_decoder **ret_decoder);
// Accepts NULL; returns NULL.
struct jpeg_decoder *jpeg_decoder_free(struct jpeg_decoder *decoder);

// Decodes `data` to RGB (channels 3) or grey (1), shrunk in the DCT by the largest of 1, 2, 4, 8 that keeps it at least
// min_width x min_height (0, 0 = full size). Frames without Huffman tables (MJPEG) get the standard ones. The buffer
// inside the decoder grows when needed and is kept. On failure `message` (size IMAGE_MESSAGE_SIZE, may be NULL) says
// why. -EINVAL bad arguments; -EBADMSG not a JPEG, corrupt or truncated; -EMSGSIZE larger than IMAGE_MAX_SIDE_PX;
// -EOPNOTSUPP a kind of JPEG that can't become RGB (CMYK); -ENOMEM.
int jpeg_decode(struct jpeg_decoder *decoder, const uint8_t *data, size_t size, int channels, int min_width,
                int min_height, struct jpeg_frame *ret_frame, char *message);

// quality 1..100, 4:2:0 chroma. *ret_data is malloc'ed, the caller's to free. -EINVAL, -ENOMEM.
int jpeg_encode(const struct image *image, int quality, uint8_t **ret_data, size_t *ret_size);
// The same to a file (created or replaced); also -errno of the file operations.
int jpeg_write(const struct image *image, int quality, const char *path);
