// JPEG to memory and files: see jpeg.h.
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include <jerror.h>

#include "vision/image_file.h"
#include "vision/jpeg.h"

// Our own destination: libjpeg's leaks its buffer when the encoder fails half way.
struct encoder {
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr destination;
    jmp_buf jump;
    uint8_t *data;
    size_t capacity;
};

static void on_error(j_common_ptr info)
{
    struct encoder *e = info->client_data;
    longjmp(e->jump, info->err->msg_code == JERR_OUT_OF_MEMORY ? ENOMEM : EINVAL);
}

static void on_message(j_common_ptr info, int level) {}

static boolean grow(j_compress_ptr info)
{
    struct encoder *e = info->client_data;
    size_t used = e->capacity, capacity = e->capacity ? 2 * e->capacity : 1 << 16;
    uint8_t *data = realloc(e->data, capacity);
    if (!data)
        longjmp(e->jump, ENOMEM);
    e->data = data;
    e->capacity = capacity;
    e->destination.next_output_byte = data + used;
    e->destination.free_in_buffer = capacity - used;
    return TRUE;
}

static void start(j_compress_ptr info)
{
    grow(info);
}

static void finish(j_compress_ptr info) {}

static void write_rows(struct encoder *e, const struct image *image, int quality)
{
    jpeg_create_compress(&e->info);
    e->info.dest = &e->destination;
    e->info.image_width = (unsigned)image->width;
    e->info.image_height = (unsigned)image->height;
    e->info.input_components = image->channels;
    e->info.in_color_space = image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&e->info);
    jpeg_set_quality(&e->info, quality, TRUE);
    jpeg_start_compress(&e->info, TRUE);
    while (e->info.next_scanline < e->info.image_height) {
        JSAMPROW row = image->data + (size_t)image->stride * e->info.next_scanline;
        jpeg_write_scanlines(&e->info, &row, 1);
    }
    jpeg_finish_compress(&e->info);
}

int jpeg_encode(const struct image *image, int quality, uint8_t **ret_data, size_t *ret_size)
{
    if (image_check(image) < 0 || quality < 1 || quality > 100)
        return -EINVAL;
    struct encoder e = {
        .destination = {.init_destination = start, .empty_output_buffer = grow, .term_destination = finish}};
    e.info.err = jpeg_std_error(&e.errors);
    e.errors.error_exit = on_error;
    e.errors.emit_message = on_message;
    e.info.client_data = &e;
    int error = setjmp(e.jump);
    if (error) {
        jpeg_destroy_compress(&e.info);
        free(e.data);
        return -error;
    }
    write_rows(&e, image, quality);
    *ret_size = e.capacity - e.destination.free_in_buffer;
    *ret_data = e.data;
    jpeg_destroy_compress(&e.info);
    return 0;
}

int jpeg_write(const struct image *image, int quality, const char *path)
{
    uint8_t *data = NULL;
    size_t size = 0;
    int r = jpeg_encode(image, quality, &data, &size);
    if (r < 0)
        return r;
    r = image_file_write(path, data, size);
    free(data);
    return r;
}
