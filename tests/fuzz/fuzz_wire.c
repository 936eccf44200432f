/* Any bytes to gaze wire: a frame is refused or means something that encodes and decodes to the same again.
 * A libFuzzer entry (make fuzz-wire); tests/unit/test_wire_fuzz.c drives it in the ordinary tests. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

/* data is copied to a block of exactly its size, so that the address sanitizer sees each byte read beyond it. */
static void check_frame(const uint8_t *data, size_t size)
{
    static struct wire_msg first, second;
    static uint8_t again[WIRE_OUT_MAX], third[WIRE_OUT_MAX];
    uint8_t *frame = malloc(size);
    size_t again_size, third_size;

    must(frame != NULL);
    memcpy(frame, data, size);
    if (wire_decode(frame, size, &first) == 0 && !((first.flags & WIRE_FLAG_JSON) && first.json.text)) {
        must(wire_encode(again, sizeof(again), &first, &again_size) == 0);
        must(wire_decode(again, again_size, &second) == 0);
        must(wire_encode(third, sizeof(third), &second, &third_size) == 0);
        must(third_size == again_size && memcmp(again, third, again_size) == 0);
        if (first.type == WIRE_RESULT)
            must(wire_json_result((char *)again, sizeof(again), &first.result, &again_size) == 0);
        if (first.type == WIRE_STATUS)
            must(wire_json_status((char *)again, sizeof(again), &first.status, &again_size) == 0);
    }
    wire_patch_dropped(frame, size, 1);
    wire_patch_publish(frame, size, 1);
    free(frame);
}

/* The input is a stream: frames after each other, up to the first that is none. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_header h;

    while (wire_peek(data, size, WIRE_OUT_MAX, &h) == 1) {
        check_frame(data, h.size);
        data += h.size;
        size -= h.size;
    }
    return 0;
}
