/* replay.c - the corpus of a fuzzer in the ordinary tests. */
#include "tests/fuzz/replay.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 16 };

/* Copied to a block of exactly its size, so that the address sanitizer sees each byte read beyond it. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void change(uint8_t *data, size_t size, unsigned changes)
{
    static const uint8_t other[] = {0, 1, 0x7f, 0x80, 0xff, '0', '-', '\n'};
    unsigned seed = (unsigned)size;

    for (unsigned i = 0; i < changes && size > 0; i++) {
        const size_t at = (size_t)rand_r(&seed) % size;
        const uint8_t was = data[at];

        if (i % 4 == 0) {
            feed(data, at);
            continue;
        }
        data[at] = i % 4 == 1 ? (uint8_t)(was ^ 1u << rand_r(&seed) % 8) : other[(size_t)rand_r(&seed) % sizeof other];
        feed(data, size);
        data[at] = was;
    }
}

unsigned fuzz_replay(const char *folder, unsigned changes)
{
    static uint8_t data[MOST];
    DIR *dir = opendir(folder);
    struct dirent *e;
    unsigned count = 0;

    while (dir && (e = readdir(dir))) {
        char path[512];
        FILE *f;
        size_t size;

        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        f = fopen(path, "rb");
        if (!f)
            abort();
        size = fread(data, 1, sizeof data, f);
        fclose(f);
        feed(data, size);
        change(data, size, changes);
        count++;
    }
    if (dir)
        closedir(dir);
    return count;
}
