/* One message of every kind with known values; tests/wire/golden/<name>.bin holds its bytes in minor 0. */
#pragma once

#include "wire/wire.h"

struct wire_sample {
    const char *name;
    void (*fill)(struct wire_msg *msg); /* msg is all zero before */
};

extern const struct wire_sample wire_samples[];
extern const unsigned wire_sample_count;

/* Fills msg with the sample of that name; asserts that there is one. */
void wire_sample_get(const char *name, struct wire_msg *msg);

/* Reads a whole file of at most cap bytes; asserts on failure. Returns its size. */
size_t wire_read_file(const char *path, uint8_t *buf, size_t cap);
