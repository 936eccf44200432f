// PNG by libpng's simplified interface: see png.h.
#include "vision/png.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "vision/image_file.h"
#include "vision/jpeg.h"

static int fail(png_image *png, int status, const char *text, char *message)
{
    if (message)
        snprintf(message, IMAGE_MESSAGE_SIZE, "%s", text);
    png_image_free(png);
    return status;
}

int png_decode(const uint8_t *data, size_t size, int channels, struct image *ret_image, char *message)
{
    const png_color mid_grey = {128, 128, 128};
    png_image png = {.version = PNG_IMAGE_VERSION};
    struct image decoded = {0}, converted = {0};
    char text[IMAGE_MESSAGE_SIZE];
    if (!data || (channels != 1 && channels != 3))
        return fail(&png, -EINVAL, "bad arguments", message);
    if (!png_image_begin_read_from_memory(&png, data, size))
        return fail(&png, -EBADMSG, png.message, message);
    if (png.width > IMAGE_MAX_SIDE_PX || png.height > IMAGE_MAX_SIDE_PX) {
        snprintf(text, sizeof(text), "too large: %u x %u, at most %d a side", png.width, png.height, IMAGE_MAX_SIDE_PX);
        return fail(&png, -EMSGSIZE, text, message);
    }
    // Grey from colour is our luma (image_copy), not libpng's: so that PNG and JPEG agree.
    bool colour = png.format & PNG_FORMAT_FLAG_COLOR;
    png.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    int r = image_alloc((int)png.width, (int)png.height, colour ? 3 : 1, &decoded);
    if (r < 0)
        return fail(&png, r, "out of memory", message);
    if (!png_image_finish_read(&png, &mid_grey, decoded.data, decoded.stride, NULL)) {
        image_free(&decoded);
        snprintf(text, sizeof(text), "corrupt or truncated: %s", png.message);
        return fail(&png, -EBADMSG, text, message);
    }
    if (decoded.channels == channels) {
        *ret_image = decoded;
        return 0;
    }
    r = image_alloc(decoded.width, decoded.height, channels, &converted);
    if (r == 0)
        image_copy(&decoded, &converted);
    image_free(&decoded);
    if (r < 0)
        return fail(&png, r, "out of memory", message);
    *ret_image = converted;
    return 0;
}

int png_encode(const struct image *image, uint8_t **ret_data, size_t *ret_size)
{
    if (image_check(image) < 0)
        return -EINVAL;
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (unsigned)image->width,
                     .height = (unsigned)image->height,
                     .format = image->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
    uint8_t *data = malloc(size);
    if (!data)
        return -ENOMEM;
    if (!png_image_write_to_memory(&png, data, &size, 0, image->data, image->stride, NULL)) {
        png_image_free(&png);
        free(data);
        return -ENOMEM;
    }
    *ret_data = data;
    *ret_size = size;
    return 0;
}

int png_write(const struct image *image, const char *path)
{
    uint8_t *data = NULL;
    size_t size = 0;
    int r = png_encode(image, &data, &size);
    if (r < 0)
        return r;
    r = image_file_write(path, data, size);
    free(data);
    return r;
}
