// File sources: framing of MJPEG and Y4M, pacing, folders, and files that are nothing.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/clip_file.h"
#include "daemon/source.h"
#include "vision/image_file.h"

static char folder[] = "/tmp/gazed-test-XXXXXX";
static char message[SOURCE_MESSAGE_SIZE];
static uint8_t *picture; // one encoded JPEG
static size_t picture_size;

static const char *at(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *data, size_t size, int times)
{
    FILE *f = fopen(at(name), "wb");
    assert_non_null(f);
    for (int i = 0; i < times; i++)
        assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int open_file(const char *name, const struct source_settings *settings, struct source **ret_source)
{
    char spec[300];
    snprintf(spec, sizeof(spec), "file:%s", at(name));
    message[0] = 0;
    return source_open(spec, settings, ret_source, message);
}

static int setup(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    struct image im;
    if (image_alloc(64, 48, 3, &im) < 0)
        return -1;
    for (int i = 0; i < im.stride * im.height; i++)
        im.data[i] = (uint8_t)(i * 7);
    int r = jpeg_encode(&im, 90, &picture, &picture_size);
    if (r == 0)
        r = png_write(&im, at("b.png"));
    image_free(&im);
    return r;
}

static int teardown(void **state)
{
    char command[300];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    free(picture);
    return system(command);
}

static void mjpeg_frames_are_found_and_looped(void **state)
{
    put("clip.mjpeg", picture, picture_size, 3);
    struct source_settings settings = {.fast = true};
    struct source *s;
    struct frame f = {0};
    assert_int_equal(open_file("clip.mjpeg", &settings, &s), 0);
    assert_string_equal(s->info.format, "MJPG");
    assert_int_equal(source_start(s, message), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(source_next(s, now_ns(), &f), 0);
        assert_int_equal(f.size, picture_size);
        assert_memory_equal(f.data, picture, picture_size);
        assert_int_equal(f.sequence, i + 1);
        source_release(s, &f);
    }
    assert_int_equal(source_next(s, now_ns(), &f), -ENODATA);
    source_close(s);

    settings.loop = true;
    assert_int_equal(open_file("clip.mjpeg", &settings, &s), 0);
    assert_int_equal(source_start(s, message), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(source_next(s, now_ns(), &f), 0);
        source_release(s, &f);
    }
    source_close(s);
}

static void pacing_keeps_the_rate_and_drops_late_frames(void **state)
{
    put("clip.mjpeg", picture, picture_size, 30);
    struct source_settings settings = {.fps = 100, .loop = true};
    struct source *s;
    struct frame f = {0};
    assert_int_equal(open_file("clip.mjpeg", &settings, &s), 0);
    int64_t start = now_ns();
    assert_int_equal(source_start(s, message), 0);
    int got = 0;
    while (got < 20) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 2000), 1);
        int r = source_next(s, now_ns(), &f);
        if (r == -EAGAIN)
            continue;
        assert_int_equal(r, 0);
        assert_true(f.capture_ns <= now_ns());
        source_release(s, &f);
        got++;
    }
    assert_true(now_ns() - start >= 180 * 1000000); // 20 frames at 100/s can't come faster
    usleep(200000);
    assert_int_equal(source_next(s, now_ns(), &f), 0);
    assert_true(s->info.dropped >= 15); // those that nobody fetched in 0.2 s
    assert_true(now_ns() - f.capture_ns < 50 * 1000000);
    source_close(s);
}

static void y4m_luma_comes_out(void **state)
{
    static const char header[] = "YUV4MPEG2 W6 H4 F25:1 Ip C420jpeg\n";
    uint8_t bytes[256];
    size_t n = sizeof(header) - 1;
    memcpy(bytes, header, n);
    for (int k = 0; k < 2; k++) {
        memcpy(bytes + n, "FRAME\n", 6);
        for (int i = 0; i < 36; i++)
            bytes[n + 6 + (size_t)i] = (uint8_t)(100 * k + i);
        n += 42;
    }
    put("clip.y4m", bytes, n, 1);
    struct source_settings settings = {.fast = true};
    struct source *s;
    struct frame f = {0};
    assert_int_equal(open_file("clip.y4m", &settings, &s), 0);
    assert_int_equal(source_start(s, message), 0);
    assert_int_equal((int)s->info.fps, 25);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(source_next(s, now_ns(), &f), 0);
        assert_int_equal(f.format, FRAME_GREY);
        assert_int_equal(f.width, 6);
        assert_int_equal(f.height, 4);
        assert_int_equal(f.size, 24);
        assert_int_equal(f.data[23], 100 * k + 23);
        source_release(s, &f);
    }
    source_close(s);

    static const struct {
        const char *header;
        int r;
    } cases[] = {
        {"YUV4MPEG2 W0 H4\n", -EBADMSG},      {"YUV4MPEG2 W6\n", -EBADMSG},  {"YUV4MPEG2 W6 H4 C420p10\n", -EOPNOTSUPP},
        {"YUV4MPEG2 W99999 H4\n", -EMSGSIZE}, {"YUV4MPEG2 W6 H4", -EBADMSG}, {"YUV4MPEG2 Wx Hy\n", -EBADMSG},
        {"YUV4MPEG2 W6 H4 Cmono F30:0\n", 0}, {"YUV4MPEG2 W6 H4\n", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct y4m y;
        assert_int_equal(clip_parse_y4m((const uint8_t *)cases[i].header, strlen(cases[i].header), &y), cases[i].r);
    }
}

static void framing_survives_every_cut_and_garbage(void **state)
{
    uint8_t *two = malloc(2 * picture_size + 7);
    memcpy(two, "garbage", 7);
    memcpy(two + 7, picture, picture_size);
    memcpy(two + 7 + picture_size, picture, picture_size);
    for (size_t cut = 0; cut <= 2 * picture_size + 7; cut++) {
        size_t offset = 0, start, size;
        int found = 0;
        uint8_t *exact = malloc(cut ? cut : 1); // so that reading past the end is seen by the sanitizer
        memcpy(exact, two, cut);
        enum clip_found what;
        while ((what = clip_next_jpeg(exact, cut, &offset, &start, &size)) != CLIP_NONE) {
            assert_true(start + size <= cut || what == CLIP_CUT);
            assert_true(what == CLIP_CUT || size == picture_size);
            found += what == CLIP_FRAME;
            offset += what == CLIP_CUT;
        }
        assert_int_equal(found, cut >= 2 * picture_size + 7 ? 2 : cut >= picture_size + 7 ? 1 : 0);
        free(exact);
    }
    free(two);
}

// A JPEG of `size` bytes: segments of noise without any meaning. Returns the byte behind it.
static uint8_t *put_jpeg(uint8_t *p, size_t size)
{
    uint8_t *end = p + size;
    *p++ = 0xff;
    *p++ = 0xd8;
    while (p + 2 < end) {
        size_t n = (size_t)(end - p) - 4 < 60000 ? (size_t)(end - p) - 4 : 50000; // the last is no shorter than 4 bytes
        *p++ = 0xff;
        *p++ = 0xe1;
        *p++ = (uint8_t)(n >> 8);
        *p++ = (uint8_t)n;
        for (size_t i = 2; i < n; i++)
            *p++ = (uint8_t)(i % 3 == 0 ? 0xff : i % 3 == 1 ? 0xd8 : 0xff); // looks like pictures: is none
    }
    *p++ = 0xff;
    *p++ = 0xd9;
    return p;
}

// Frames lie across the reader's windows in every way, and one is larger than a window.
static void large_clips_are_read_frame_by_frame(void **state)
{
    static const size_t sizes[] = {500000, 300000, 248574, 4, 2, 1048576, 3000000, 70000, 900000, 1148576, 65000};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    size_t total = 0;
    for (int i = 0; i < COUNT; i++)
        total += sizes[i] + 6;
    uint8_t *clip = malloc(total), *p = clip;
    size_t start[COUNT + 1];
    for (int i = 0; i < COUNT; i++) {
        start[i] = (size_t)(p - clip);
        p = put_jpeg(p, sizes[i] < 16 ? 16 : sizes[i]);
    }
    start[COUNT] = (size_t)(p - clip);
    assert_true(start[COUNT] <= total + 64);
    put("large.mjpeg", clip, start[COUNT], 1);
    struct source_settings settings = {.fast = true};
    struct source *s;
    struct frame f = {0};
    assert_int_equal(open_file("large.mjpeg", &settings, &s), 0);
    assert_int_equal(s->info.frames, COUNT);
    assert_int_equal(source_start(s, message), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(source_next(s, now_ns(), &f), 0);
        assert_int_equal(f.size, start[i + 1] - start[i]);
        assert_memory_equal(f.data, clip + start[i], f.size);
        source_release(s, &f);
    }
    assert_int_equal(source_next(s, now_ns(), &f), -ENODATA);
    source_close(s);
    free(clip);
}

static void put_at(const char *name, off_t offset, const void *data, size_t size)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, offset), size);
    close(fd);
}

// Files with holes are large for nobody but their reader.
static void limits_hold(void **state)
{
    static const uint8_t begin[] = {0xff, 0xd8, 0xff, 0xda, 0, 2}; // and then nothing but zeros
    static const char header[] = "YUV4MPEG2 W1 H1 Cmono\n";
    struct source_settings settings = {.fast = true};
    struct source *s = NULL;
    struct frame f = {0};

    // A JPEG that is too long for one is none; the next is found.
    put_at("long.mjpeg", 0, begin, sizeof(begin));
    put_at("long.mjpeg", (off_t)CLIP_FILE_MAX_FRAME_BYTES + 1000, picture, picture_size);
    assert_int_equal(open_file("long.mjpeg", &settings, &s), 0);
    assert_int_equal(s->info.frames, 1);
    assert_int_equal(source_start(s, message), 0);
    assert_int_equal(source_next(s, now_ns(), &f), 0);
    assert_int_equal(f.size, picture_size);
    source_close(s);
    assert_int_equal(unlink(at("long.mjpeg")), 0);

    put_at("huge.mjpeg", 0, picture, picture_size);
    assert_int_equal(truncate(at("huge.mjpeg"), (off_t)CLIP_FILE_MAX_BYTES + 1), 0);
    assert_int_equal(open_file("huge.mjpeg", &settings, &s), -EFBIG);
    assert_non_null(strstr(message, "larger than 4096 MiB"));
    assert_int_equal(unlink(at("huge.mjpeg")), 0);

    assert_int_equal(mkdir(at("large"), 0755), 0);
    put_at("large/1.jpg", 0, picture, picture_size);
    assert_int_equal(truncate(at("large/1.jpg"), IMAGE_FILE_MAX_BYTES + 1), 0);
    assert_int_equal(open_file("large", &settings, &s), 0);
    assert_int_equal(source_start(s, message), 0);
    assert_int_equal(source_next(s, now_ns(), &f), -EAGAIN);
    assert_non_null(strstr(s->why, "large/1.jpg is larger than 64 MiB"));
    source_close(s);

    size_t n = sizeof(header) - 1, frames = CLIP_FILE_MAX_FRAMES + 2;
    char *clip = malloc(n + 7 * frames);
    memcpy(clip, header, n);
    for (size_t i = 0; i < frames; i++)
        memcpy(clip + n + 7 * i, "FRAME\n.", 7);
    put("many.y4m", clip, n + 7 * frames, 1);
    free(clip);
    assert_int_equal(open_file("many.y4m", &settings, &s), 0);
    assert_int_equal(s->info.frames, CLIP_FILE_MAX_FRAMES);
    source_close(s);
}

static void a_clip_cut_short_while_it_plays_is_told(void **state)
{
    static const char header[] = "YUV4MPEG2 W64 H64 Cmono\n";
    uint8_t y4m[3 * (6 + 64 * 64) + sizeof(header)], *p = y4m;
    p = (uint8_t *)memcpy(p, header, sizeof(header) - 1) + sizeof(header) - 1;
    for (int i = 0; i < 3; i++, p += 64 * 64)
        p = (uint8_t *)memcpy(p, "FRAME\n", 6) + 6;
    for (int kind = 0; kind < 2; kind++) {
        const char *name = kind ? "shrinks.y4m" : "shrinks.mjpeg";
        size_t frame_bytes = kind ? 6 + 64 * 64 : picture_size;
        if (kind)
            put(name, y4m, (size_t)(p - y4m), 1);
        else
            put(name, picture, picture_size, 3);
        struct source_settings settings = {.fast = true, .loop = true};
        struct source *s;
        struct frame f = {0};
        assert_int_equal(open_file(name, &settings, &s), 0);
        assert_int_equal(s->info.frames, 3);
        assert_int_equal(source_start(s, message), 0);
        assert_int_equal(source_next(s, now_ns(), &f), 0);
        source_release(s, &f);
        assert_int_equal(truncate(at(name), (off_t)(frame_bytes * 2)), 0); // in the second frame of the Y4M
        int r = source_next(s, now_ns(), &f);
        assert_int_equal(r, kind ? -ESTALE : 0);
        if (r == 0)
            assert_memory_equal(f.data, picture, picture_size);
        assert_int_equal(source_next(s, now_ns(), &f), -ESTALE);
        assert_non_null(strstr(s->why, "frame 3 of 3 can't be read: the file was cut short"));
        assert_int_equal(source_next(s, now_ns(), &f), 0); // the first is still there
        assert_string_equal(s->why, "");
        assert_int_equal(truncate(at(name), 0), 0);
        assert_int_equal(source_next(s, now_ns(), &f), -ESTALE);
        source_close(s);
        assert_int_equal(open_file(name, &settings, &s), -EBADMSG);
        assert_non_null(strstr(message, "is empty"));
    }
}

static void folders_are_sorted_and_broken_pictures_passed_over(void **state)
{
    assert_int_equal(mkdir(at("pictures"), 0755), 0);
    put("pictures/c.jpg", picture, picture_size, 1);
    put("pictures/a.jpg", picture, picture_size, 1);
    put("pictures/aa.jpg", "", 0, 1);
    put("pictures/readme.txt", "x", 1, 1);
    char command[600];
    snprintf(command, sizeof(command), "cp '%s/b.png' '%s/pictures/b.png'", folder, folder);
    assert_int_equal(system(command), 0);

    struct source_settings settings = {.fast = true};
    struct source *s;
    struct frame f = {0};
    assert_int_equal(open_file("pictures", &settings, &s), 0);
    assert_int_equal(source_start(s, message), 0);
    static const enum frame_format expected[] = {FRAME_JPEG, FRAME_RGB24, FRAME_JPEG};
    int got = 0;
    for (;;) {
        int r = source_next(s, now_ns(), &f);
        if (r == -ENODATA)
            break;
        if (r == -EAGAIN)
            continue; // aa.jpg, empty
        assert_int_equal(r, 0);
        assert_true(got < 3);
        assert_int_equal(f.format, expected[got++]); // NOLINT(clang-analyzer-core.CallAndMessage): got is below 3
        source_release(s, &f);
    }
    assert_int_equal(got, 3);
    assert_int_equal(s->info.bad, 1);
    source_stop(s);
    assert_int_equal(source_start(s, message), 0);
    assert_int_equal(source_next(s, now_ns(), &f), 0);
    assert_int_equal(source_next(s, now_ns(), &f), -EAGAIN);
    assert_non_null(strstr(s->why, "aa.jpg is empty (0 bytes)"));
    source_close(s);
}

static void what_is_no_picture_is_told(void **state)
{
    put("empty.jpg", "", 0, 1);
    put("text.jpg", "hello, world", 12, 1);
    put("cut.jpg", picture, picture_size / 2, 1);
    assert_int_equal(mkdir(at("nothing"), 0755), 0);
    static const struct {
        const char *name;
        int r;
        const char *text;
    } cases[] = {
        {"empty.jpg", -EBADMSG, "empty"},  {"text.jpg", -EBADMSG, "neither"}, {"cut.jpg", -EBADMSG, "truncated"},
        {"absent.jpg", -ENOENT, "absent"}, {"nothing", -ENOENT, "has no"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct source *s = NULL;
        assert_int_equal(open_file(cases[i].name, NULL, &s), cases[i].r);
        assert_non_null(strstr(message, cases[i].text));
        assert_null(s);
    }
    struct source *s = NULL;
    assert_int_equal(source_open("webcam", NULL, &s, message), -EINVAL);
    assert_non_null(strstr(message, "v4l2"));
    assert_int_equal(source_open("file:", NULL, &s, message), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mjpeg_frames_are_found_and_looped),
        cmocka_unit_test(pacing_keeps_the_rate_and_drops_late_frames),
        cmocka_unit_test(y4m_luma_comes_out),
        cmocka_unit_test(framing_survives_every_cut_and_garbage),
        cmocka_unit_test(large_clips_are_read_frame_by_frame),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_clip_cut_short_while_it_plays_is_told),
        cmocka_unit_test(folders_are_sorted_and_broken_pictures_passed_over),
        cmocka_unit_test(what_is_no_picture_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
