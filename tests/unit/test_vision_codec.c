// JPEG, PNG and pictures by path: round trips, scaling, MJPEG without tables, every truncation, damaged bytes, limits,
// messages.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "vision/image_file.h"
#include "vision/jpeg.h"
#include "vision/png.h"

static char folder[] = "/tmp/test_vision_codec.XXXXXX";

static struct image smooth_image(int width, int height, int channels)
{
    struct image image;
    assert_int_equal(image_alloc(width, height, channels, &image), 0);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                image.data[y * image.stride + x * channels + c] =
                    (uint8_t)(128 + 90 * sin(x * 0.05 + c) * cos(y * 0.04 - 0.3 * c));
    return image;
}

static double mean_difference(const struct image *a, const struct image *b)
{
    double sum = 0;
    assert_true(a->width == b->width && a->height == b->height && a->channels == b->channels);
    for (int y = 0; y < a->height; y++)
        for (int x = 0; x < a->width * a->channels; x++)
            sum += abs(a->data[y * a->stride + x] - b->data[y * b->stride + x]);
    return sum / (a->width * a->height * a->channels);
}

static struct jpeg_decoder *new_decoder(void)
{
    struct jpeg_decoder *d;
    assert_int_equal(jpeg_decoder_new(&d), 0);
    return d;
}

static void test_jpeg_round_trip(void **state)
{
    struct jpeg_decoder *d = new_decoder();
    const int sizes[][2] = {{1, 1}, {7, 3}, {160, 120}, {333, 77}, {8, 8}, {640, 480}};
    for (int i = 0; i < 12; i++) { // one handle, sizes and kinds mixed
        struct image image = smooth_image(sizes[i % 6][0], sizes[i % 6][1], i < 6 ? 3 : 1);
        struct jpeg_frame frame;
        uint8_t *data;
        size_t size;
        assert_int_equal(jpeg_encode(&image, 95, &data, &size), 0);
        assert_int_equal(jpeg_decode(d, data, size, image.channels, 0, 0, &frame, NULL), 0);
        assert_true(mean_difference(&image, &frame.image) < (i < 6 ? 4 : 1.5));
        assert_int_equal(frame.full_width, image.width);
        assert_int_equal(frame.denominator, 1);
        assert_int_equal(frame.warnings, 0);
        // The other kind too: grey of colour, colour of grey.
        assert_int_equal(jpeg_decode(d, data, size, 4 - image.channels, 0, 0, &frame, NULL), 0);
        struct image converted = smooth_image(image.width, image.height, 4 - image.channels);
        assert_int_equal(image_copy(&image, &converted), 0);
        assert_true(mean_difference(&converted, &frame.image) < 3);
        free(data);
        image_free(&image);
        image_free(&converted);
    }
    jpeg_decoder_free(d);
    assert_null(jpeg_decoder_free(NULL));
}

static void test_jpeg_scaling(void **state)
{
    struct jpeg_decoder *d = new_decoder();
    struct image image = smooth_image(1281, 721, 3);
    uint8_t *data;
    size_t size;
    assert_int_equal(jpeg_encode(&image, 90, &data, &size), 0);
    const int wanted[][3] = {{0, 0, 1},     {1281, 721, 1}, {1281, 1, 1},  {642, 10, 1}, {641, 361, 2},
                             {640, 362, 1}, {321, 0, 4},    {320, 180, 4}, {1, 1, 8},    {5000, 5000, 1}};
    for (int i = 0; i < 10; i++) {
        struct jpeg_frame frame;
        assert_int_equal(jpeg_decode(d, data, size, 3, wanted[i][0], wanted[i][1], &frame, NULL), 0);
        int k = wanted[i][2];
        assert_int_equal(frame.denominator, k);
        assert_int_equal(frame.image.width, (1281 + k - 1) / k);
        assert_int_equal(frame.image.height, (721 + k - 1) / k);
        assert_int_equal(frame.full_width, 1281);
        // A pixel of the result is the average of k x k; the partial ones at the edges are left out.
        struct image whole, seen, small;
        int w = 1281 / k, h = 721 / k;
        assert_int_equal(image_crop_view(&image, 0, 0, w * k, h * k, &whole), 0);
        assert_int_equal(image_crop_view(&frame.image, 0, 0, w, h, &seen), 0);
        assert_int_equal(image_alloc(w, h, 3, &small), 0);
        assert_int_equal(image_resize(&whole, &small), 0);
        assert_true(mean_difference(&small, &seen) < 4);
        image_free(&small);
    }
    free(data);
    image_free(&image);
    jpeg_decoder_free(d);
}

// Copies a JPEG without the segments of one marker before its scan (0xc4: Huffman tables, 0xdb: quantisation).
static size_t without_segments(const uint8_t *in, size_t size, uint8_t marker, uint8_t *out)
{
    size_t from = 2, to = 2;
    memcpy(out, in, 2);
    while (from + 4 <= size && in[from] == 0xff && in[from + 1] != 0xda) {
        size_t length = 2 + ((size_t)in[from + 2] << 8 | in[from + 3]);
        if (in[from + 1] != marker) {
            memcpy(out + to, in + from, length);
            to += length;
        }
        from += length;
    }
    memcpy(out + to, in + from, size - from);
    return to + size - from;
}

static void test_mjpeg_without_tables(void **state)
{
    struct jpeg_decoder *d = new_decoder(), *fresh = new_decoder();
    struct image image = smooth_image(200, 100, 3);
    struct jpeg_frame frame;
    char message[IMAGE_MESSAGE_SIZE];
    uint8_t *data;
    size_t size;
    assert_int_equal(jpeg_encode(&image, 90, &data, &size), 0);
    uint8_t *stripped = malloc(size);
    size_t left = without_segments(data, size, 0xc4, stripped);
    assert_true(left < size - 300);
    assert_int_equal(jpeg_decode(fresh, stripped, left, 3, 0, 0, &frame, NULL), 0);
    assert_true(mean_difference(&image, &frame.image) < 4);
    // After a frame that brought its own tables the standard ones must hold again; a frame without quantisation is
    // refused even when the last one had it.
    assert_int_equal(jpeg_decode(d, data, size, 3, 0, 0, &frame, NULL), 0);
    assert_int_equal(jpeg_decode(d, stripped, left, 3, 0, 0, &frame, NULL), 0);
    assert_true(mean_difference(&image, &frame.image) < 4);
    left = without_segments(data, size, 0xdb, stripped);
    assert_int_equal(jpeg_decode(d, stripped, left, 3, 0, 0, &frame, message), -EBADMSG);
    assert_non_null(strstr(message, "quantisation"));
    free(stripped);
    free(data);
    image_free(&image);
    jpeg_decoder_free(d);
    jpeg_decoder_free(fresh);
}

static void test_jpeg_truncated_everywhere(void **state)
{
    struct jpeg_decoder *d = new_decoder();
    struct image image = smooth_image(120, 90, 3);
    struct jpeg_frame frame = {.denominator = 77};
    char message[IMAGE_MESSAGE_SIZE];
    uint8_t *data;
    size_t size;
    assert_int_equal(jpeg_encode(&image, 80, &data, &size), 0);
    for (size_t cut = 0; cut + 2 < size; cut++) { // all but the end marker is needed
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, data, cut);
        message[0] = 0;
        assert_int_equal(jpeg_decode(d, exact, cut, 3, 0, 0, &frame, message), -EBADMSG);
        assert_true(strlen(message) > 4);
        assert_int_equal(frame.denominator, 77);
        free(exact);
    }
    // A frame cut short and closed with an end marker, as cameras do it on a lost packet.
    memcpy(data + size / 2, "\xff\xd9", 2);
    assert_int_equal(jpeg_decode(d, data, size / 2 + 2, 3, 0, 0, &frame, message), -EBADMSG);
    assert_non_null(strstr(message, "truncated"));
    // Rubbish behind the end marker is padding.
    free(data);
    assert_int_equal(jpeg_encode(&image, 80, &data, &size), 0);
    uint8_t *padded = calloc(1, size + 1000);
    memcpy(padded, data, size);
    assert_int_equal(jpeg_decode(d, padded, size + 1000, 3, 0, 0, &frame, message), 0);
    free(padded);
    free(data);
    image_free(&image);
    jpeg_decoder_free(d);
}

static void test_jpeg_damaged_bytes(void **state)
{
    struct jpeg_decoder *d = new_decoder();
    struct image image = smooth_image(64, 48, 3);
    uint8_t *data;
    size_t size;
    assert_int_equal(jpeg_encode(&image, 80, &data, &size), 0);
    uint8_t *damaged = malloc(size);
    for (int i = 0; i < 4000; i++) {
        struct jpeg_frame frame;
        memcpy(damaged, data, size);
        for (int k = 0; k <= rand() % 4; k++)
            damaged[(size_t)rand() % size] = (uint8_t)rand();
        int r = jpeg_decode(d, damaged, size, rand() & 1 ? 3 : 1, 0, 0, &frame, NULL);
        assert_true(r == 0 || r == -EBADMSG || r == -EMSGSIZE || r == -EOPNOTSUPP || r == -ENOMEM);
    }
    struct jpeg_frame frame;
    assert_int_equal(jpeg_decode(d, data, size, 3, 0, 0, &frame, NULL), 0); // the handle survived all of it
    assert_true(mean_difference(&image, &frame.image) < 6);
    free(damaged);
    free(data);
    image_free(&image);
    jpeg_decoder_free(d);
}

static void test_jpeg_limits(void **state)
{
    struct jpeg_decoder *d = new_decoder();
    struct image image = smooth_image(16, 16, 3);
    struct jpeg_frame frame;
    char message[IMAGE_MESSAGE_SIZE];
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(jpeg_encode(&image, 0, &data, &size), -EINVAL);
    assert_int_equal(jpeg_encode(&image, 101, &data, &size), -EINVAL);
    assert_null(data);
    assert_int_equal(jpeg_encode(&image, 80, &data, &size), 0);
    assert_int_equal(jpeg_decode(d, data, size, 2, 0, 0, &frame, message), -EINVAL);
    assert_int_equal(jpeg_decode(d, NULL, size, 3, 0, 0, &frame, message), -EINVAL);
    assert_int_equal(jpeg_decode(d, data, 0, 3, 0, 0, &frame, message), -EBADMSG);
    assert_string_equal(message, "empty");
    for (size_t i = 0; i + 9 < size; i++) // the frame header's height, then width
        if (data[i] == 0xff && data[i + 1] == 0xc0) {
            data[i + 5] = (IMAGE_MAX_SIDE_PX + 1) >> 8;
            data[i + 6] = (IMAGE_MAX_SIDE_PX + 1) & 255;
            break;
        }
    assert_int_equal(jpeg_decode(d, data, size, 3, 0, 0, &frame, message), -EMSGSIZE);
    assert_non_null(strstr(message, "too large: 16 x 8193"));
    free(data);
    image_free(&image);
    jpeg_decoder_free(d);
}

static void test_png_round_trip(void **state)
{
    for (int channels = 1; channels <= 3; channels += 2) {
        struct image image = smooth_image(93, 41, channels), view, back;
        uint8_t *data;
        size_t size;
        assert_int_equal(image_crop_view(&image, 3, 1, 80, 30, &view), 0); // rows with a stride
        assert_int_equal(png_encode(&view, &data, &size), 0);
        assert_int_equal(png_decode(data, size, channels, &back, NULL), 0);
        assert_true(mean_difference(&view, &back) == 0);
        image_free(&back);
        assert_int_equal(png_decode(data, size, 4 - channels, &back, NULL), 0);
        assert_int_equal(back.channels, 4 - channels);
        image_free(&back);
        free(data);
        image_free(&image);
    }
}

static void test_png_damage(void **state)
{
    struct image image = smooth_image(40, 30, 3), back = {.width = 77};
    char message[IMAGE_MESSAGE_SIZE];
    uint8_t *data;
    size_t size;
    assert_int_equal(png_encode(&image, &data, &size), 0);
    for (size_t cut = 0; cut + 20 < size; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, data, cut);
        message[0] = 0;
        assert_int_equal(png_decode(exact, cut, 3, &back, message), -EBADMSG);
        assert_true(strlen(message) > 4 && back.width == 77);
        free(exact);
    }
    for (int i = 0; i < 3000; i++) {
        struct image maybe;
        size_t at = (size_t)rand() % size;
        uint8_t was = data[at];
        data[at] = (uint8_t)rand();
        int r = png_decode(data, size, 3, &maybe, NULL);
        assert_true(r == 0 || r == -EBADMSG || r == -EMSGSIZE || r == -ENOMEM);
        if (r == 0)
            image_free(&maybe);
        data[at] = was;
    }
    assert_int_equal(png_decode(NULL, 5, 3, &back, message), -EINVAL);
    assert_int_equal(png_decode(data, size, 4, &back, message), -EINVAL);
    free(data);
    image_free(&image);
}

// PNGs of other kinds, made by an independent encoder: 2 x 1 pixels each.
static void test_png_kinds(void **state)
{
    static const uint8_t palette[] = {
        // indexed: red, then blue
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
        0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x03, 0x00, 0x00, 0x00, 0xc3, 0xfc, 0x8f, 0xb8, 0x00, 0x00, 0x00,
        0x06, 0x50, 0x4c, 0x54, 0x45, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0x6c, 0xa1, 0xfd, 0x8e, 0x00, 0x00, 0x00,
        0x0b, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x60, 0x60, 0x04, 0x00, 0x00, 0x04, 0x00, 0x02, 0xbf, 0x7a,
        0x3f, 0x4a, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
    };
    static const uint8_t rgba[] = {
        // white at alpha 255, black at alpha 0
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
        0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0xf4, 0x22, 0x7f, 0x8a, 0x00, 0x00, 0x00,
        0x0e, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0x0f, 0x04, 0x0c, 0x40, 0x00, 0x00, 0x19, 0xef, 0x03,
        0xfd, 0x6c, 0xc8, 0x94, 0x08, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
    };
    static const uint8_t grey16[] = {
        // 16 bit: 0x4040, 0xffff
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
        0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x10, 0x00, 0x00, 0x00, 0x00, 0x81, 0xd9, 0xfc, 0x15, 0x00, 0x00, 0x00,
        0x0d, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x70, 0x70, 0xf8, 0xff, 0x1f, 0x00, 0x04, 0xc2, 0x02, 0x7f,
        0xa7, 0xf4, 0xb6, 0x2d, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
    };
    struct image image;
    assert_int_equal(png_decode(palette, sizeof(palette), 3, &image, NULL), 0);
    assert_memory_equal(image.data, "\xff\x00\x00\x00\x00\xff", 6);
    image_free(&image);
    assert_int_equal(png_decode(rgba, sizeof(rgba), 3, &image, NULL), 0);
    assert_memory_equal(image.data, "\xff\xff\xff\x80\x80\x80", 6);
    image_free(&image);
    assert_int_equal(png_decode(grey16, sizeof(grey16), 1, &image, NULL), 0);
    assert_memory_equal(image.data, "\x40\xff", 2);
    image_free(&image);
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *data, size_t size)
{
    assert_int_equal(image_file_write(path_of(name), data, size), 0);
}

static void assert_load(const char *name, int status, const char *text)
{
    struct image image = {.width = 77};
    char message[IMAGE_MESSAGE_SIZE] = "";
    int r = image_load(path_of(name), 3, &image, message);
    if (r != status || !strstr(message, text))
        fail_msg("%s: %d \"%s\" instead of %d \"%s\"", name, r, message, status, text);
    assert_int_equal(image.width, 77);
}

static void test_load(void **state)
{
    struct image image = smooth_image(100, 60, 3), back;
    uint8_t *data;
    size_t size;
    assert_int_equal(jpeg_write(&image, 95, path_of("a.png")), 0); // the name says nothing
    assert_int_equal(image_load(path_of("a.png"), 3, &back, NULL), 0);
    assert_true(mean_difference(&image, &back) < 4);
    image_free(&back);
    assert_int_equal(png_write(&image, path_of("b.jpg")), 0);
    assert_int_equal(image_load(path_of("b.jpg"), 3, &back, NULL), 0);
    assert_true(mean_difference(&image, &back) == 0);
    image_free(&back);
    assert_int_equal(image_load(path_of("b.jpg"), 1, &back, NULL), 0);
    assert_int_equal(back.channels, 1);
    image_free(&back);
    write_file("empty", "", 0);
    assert_load("empty", -ENODATA, "empty (0 bytes)");
    write_file("text", "hello, this is text", 19);
    assert_load("text", -EBADMSG, "neither a JPEG nor a PNG");
    write_file("short", "\xff", 1);
    assert_load("short", -EBADMSG, "neither a JPEG nor a PNG");
    assert_int_equal(jpeg_encode(&image, 95, &data, &size), 0);
    write_file("cut.jpg", data, size / 2);
    assert_load("cut.jpg", -EBADMSG, "truncated");
    free(data);
    assert_int_equal(png_encode(&image, &data, &size), 0);
    write_file("cut.png", data, size / 2);
    assert_load("cut.png", -EBADMSG, "truncated");
    free(data);
    assert_load("missing", -ENOENT, "No such file");
    assert_load(".", -EISDIR, "folder");
    assert_int_equal(truncate(path_of("text"), (off_t)IMAGE_FILE_MAX_BYTES + 1), 0);
    assert_load("text", -EFBIG, "too large");
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    assert_load("pipe", -EINVAL, "not a regular file");
    assert_int_equal(image_load(NULL, 3, &back, NULL), -EINVAL);
    assert_int_equal(png_write(&image, path_of("no/such/folder.png")), -ENOENT);
    image_free(&image);
}

static void test_full_disk(void **state)
{
    struct image image = smooth_image(100, 60, 3);
    int r = png_write(&image, "/dev/full");
    if (r != -EACCES && r != -ENOENT)
        assert_int_equal(r, -ENOSPC);
    struct stat st;
    if (r == -ENOSPC)
        assert_int_equal(stat("/dev/full", &st), 0); // a device is not a partial file
    image_free(&image);
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    const char *names[] = {"a.png", "b.jpg", "empty", "text", "short", "cut.jpg", "cut.png", "pipe"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(path_of(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jpeg_round_trip),
        cmocka_unit_test(test_jpeg_scaling),
        cmocka_unit_test(test_mjpeg_without_tables),
        cmocka_unit_test(test_jpeg_truncated_everywhere),
        cmocka_unit_test(test_jpeg_damaged_bytes),
        cmocka_unit_test(test_jpeg_limits),
        cmocka_unit_test(test_png_round_trip),
        cmocka_unit_test(test_png_damage),
        cmocka_unit_test(test_png_kinds),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
