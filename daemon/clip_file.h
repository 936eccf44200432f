// A clip on disk, MJPEG or Y4M: its frames are found when it is opened, and read one by one when they are asked for.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/clip.h"

#define CLIP_FILE_MAX_BYTES       (UINT64_C(4) << 30)
#define CLIP_FILE_MAX_FRAMES      1000000
#define CLIP_FILE_MAX_FRAME_BYTES ((size_t)64 << 20) // a JPEG that is longer is none

struct clip_frame {
    uint64_t offset;
    size_t bytes; // the JPEG, or the luma plane
};

struct clip_file {
    int fd; // -1: none is open
    bool is_y4m;
    struct y4m y4m; // of a Y4M
    struct clip_frame *frames;
    uint64_t count;
    uint8_t *data; // the frame read last; has room for the largest
};

// Whether a file that begins so is a clip; a lone JPEG is one of one frame.
bool clip_file_is_clip(const uint8_t *head, size_t size);
// Finds the frames of the open file, at least one; takes over fd (also on failure). path is for the message
// (SOURCE_MESSAGE_SIZE). -EBADMSG no whole frame, or a broken header; -EOPNOTSUPP, -EMSGSIZE as clip_parse_y4m;
// -ENOMEM; -errno of reading.
int clip_file_open(int fd, uint64_t size, const char *path, struct clip_file *ret_clip, char *message);
// Reads a frame into clip->data. -ESTALE: the file has become shorter and ends before the frame does; -errno of
// reading. No allocation.
int clip_file_read(struct clip_file *clip, uint64_t index);
// fd is -1 then; does nothing where it was.
void clip_file_close(struct clip_file *clip);
