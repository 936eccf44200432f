// Pictures by path: see image_file.h.
#include "vision/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int say(char *message, int status, const char *text)
{
    if (message)
        snprintf(message, IMAGE_MESSAGE_SIZE, "%s", text);
    return status;
}

static int read_all(int fd, uint8_t *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EBADMSG;
        done += (size_t)n;
    }
    return 0;
}

// Checks kind and size before a byte is read.
static int check_file(int fd, size_t *ret_size, char *message)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return say(message, -errno, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return say(message, -EISDIR, "a folder, not a picture");
    if (!S_ISREG(st.st_mode))
        return say(message, -EINVAL, "not a regular file");
    if (st.st_size == 0)
        return say(message, -ENODATA, "the file is empty (0 bytes)");
    if (st.st_size > (off_t)IMAGE_FILE_MAX_BYTES)
        return say(message, -EFBIG, "the file is too large for a picture (over 64 MiB)");
    *ret_size = (size_t)st.st_size;
    return 0;
}

static int load_file(const char *path, uint8_t **ret_data, size_t *ret_size, char *message)
{
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return say(message, -errno, strerror(errno));
    int r = check_file(fd, &size, message);
    if (r < 0) {
        close(fd);
        return r;
    }
    uint8_t *data = malloc(size);
    r = data ? read_all(fd, data, size) : -ENOMEM;
    close(fd);
    if (r < 0) {
        free(data);
        return say(message, r, r == -EBADMSG ? "the file shrank while it was read" : strerror(-r));
    }
    *ret_data = data;
    *ret_size = size;
    return 0;
}

static int decode_jpeg(const uint8_t *data, size_t size, int channels, struct image *ret_image, char *message)
{
    struct jpeg_decoder *decoder;
    struct jpeg_frame frame;
    struct image image;
    int r = jpeg_decoder_new(&decoder);
    if (r < 0)
        return say(message, r, strerror(-r));
    r = jpeg_decode(decoder, data, size, channels, 0, 0, &frame, message);
    if (r == 0) {
        r = image_alloc(frame.image.width, frame.image.height, channels, &image);
        if (r < 0)
            say(message, r, strerror(-r));
    }
    if (r == 0) {
        image_copy(&frame.image, &image);
        *ret_image = image;
    }
    jpeg_decoder_free(decoder);
    return r;
}

int image_load(const char *path, int channels, struct image *ret_image, char *message)
{
    static const uint8_t jpeg_magic[] = {0xff, 0xd8, 0xff}, png_magic[] = {0x89, 'P', 'N', 'G'};
    uint8_t *data = NULL;
    size_t size = 0;
    if (!path || (channels != 1 && channels != 3))
        return say(message, -EINVAL, "bad arguments");
    int r = load_file(path, &data, &size, message);
    if (r < 0)
        return r;
    if (size >= sizeof(jpeg_magic) && memcmp(data, jpeg_magic, sizeof(jpeg_magic)) == 0)
        r = decode_jpeg(data, size, channels, ret_image, message);
    else if (size >= sizeof(png_magic) && memcmp(data, png_magic, sizeof(png_magic)) == 0)
        r = png_decode(data, size, channels, ret_image, message);
    else
        r = say(message, -EBADMSG, "neither a JPEG nor a PNG (unknown first bytes)");
    free(data);
    return r;
}

int image_file_write(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    struct stat st;
    bool is_regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    int r = 0;
    for (size_t done = 0; done < size && r == 0;) {
        ssize_t n = write(fd, (const uint8_t *)data + done, size - done);
        if (n < 0 && errno != EINTR)
            r = -errno;
        else if (n > 0)
            done += (size_t)n;
    }
    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r < 0 && is_regular)
        unlink(path);
    return r;
}
