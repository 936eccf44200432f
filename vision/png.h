// PNG from memory and to memory and files (libpng). Files: see image_file.h for reading by path.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vision/image.h"

// Any PNG kind becomes 8-bit RGB (channels 3) or grey (1); alpha is blended over mid grey (128). *ret_image is the
// caller's to free. `message` (size IMAGE_MESSAGE_SIZE of jpeg.h, may be NULL) says why on failure. -EINVAL bad
// arguments; -EBADMSG not a PNG, corrupt or truncated; -EMSGSIZE larger than IMAGE_MAX_SIDE_PX; -ENOMEM.
int png_decode(const uint8_t *data, size_t size, int channels, struct image *ret_image, char *message);
// *ret_data is malloc'ed, the caller's to free. -EINVAL, -ENOMEM.
int png_encode(const struct image *image, uint8_t **ret_data, size_t *ret_size);
// The same to a file (created or replaced); also -errno of the file operations.
int png_write(const struct image *image, const char *path);
