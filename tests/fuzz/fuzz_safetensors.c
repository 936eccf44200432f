/* fuzz_safetensors.c - any bytes as a safetensors file: refused with a reason, or tensors that lie within them and can
 * be read. */
#include <stdlib.h>
#include <string.h>

#include "libnpu/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_file *f;
    char why[256] = "";

    if (st_open_bytes(data, size, &f, why, sizeof why) < 0)
        return why[0] ? 0 : (abort(), 0);
    for (int i = 0; i < st_n_tensors(f); i++) {
        const struct st_tensor *t = st_tensor(f, i);
        int64_t n = npu_shape_elements(&t->shape);
        float x;

        if (st_find(f, t->name) != t || (const uint8_t *)t->data < data ||
            (const uint8_t *)t->data + t->size > data + size)
            abort();
        if (t->has_dtype && n > 0 && st_read_f32(t, n - 1, 1, &x) != 0)
            abort();
    }
    st_metadata(f, "format");
    st_close(f);
    return 0;
}
