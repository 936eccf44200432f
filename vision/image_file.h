// Pictures by path: JPEG or PNG, told apart by their first bytes.
#pragma once

#include "vision/image.h"
#include "vision/jpeg.h"
#include "vision/png.h"

// A larger file is refused before it is read.
#define IMAGE_FILE_MAX_BYTES (64u << 20)

// Loads a regular file as RGB (channels 3) or grey (1) at full size. *ret_image is the caller's to free. On failure
// `message` (size IMAGE_MESSAGE_SIZE, may be NULL) says why, without the path. -errno of the file operations (-ENOENT,
// -EACCES, -EISDIR ...); -ENODATA an empty file; -EBADMSG neither JPEG nor PNG, corrupt or truncated; -EFBIG or
// -EMSGSIZE too large; -EOPNOTSUPP a kind that is not supported; -ENOMEM.
int image_load(const char *path, int channels, struct image *ret_image, char *message);

// Writes a file in one go (created or replaced); on failure no partial file is left. -errno of the file operations.
int image_file_write(const char *path, const void *data, size_t size);
