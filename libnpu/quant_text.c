/* quant_text.c - how a quantised weight file says which layers are int8: a recipe as text in its metadata.
 *
 *     int8 static 1
 *     <weight> <x scale> <x zero> <y scale> <y zero> <residual scale> <residual zero> <shift> <residual multiplier>
 *
 * Scales are the bits of their f32 in hexadecimal. `int8 dynamic 1` has layers' names only, `bf16 1` no lines.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/quant.h"
#include "libnpu/safetensors.h"

static uint32_t bits(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

static float from_bits(unsigned u)
{
    const uint32_t word = u;
    float f;

    memcpy(&f, &word, sizeof f);
    return f;
}

int npu_quant_print(const struct npu_quant_recipe *r, char **ret_text)
{
    static const char *const head[] = {"int8 static 1\n", "int8 dynamic 1\n", "bf16 1\n"};
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return -ENOMEM;
    fputs(head[r->mode], f);
    for (int i = 0; i < r->n_layers; i++) {
        const struct npu_quant_layer *l = &r->layer[i];

        if (r->mode == NPU_QUANT_DYNAMIC)
            fprintf(f, "%s\n", l->weight);
        else
            fprintf(f, "%s %08x %d %08x %d %08x %d %d %d\n", l->weight, bits(l->x_scale), l->x_zero, bits(l->y_scale),
                    l->y_zero, bits(l->res_scale), l->res_zero, l->shift, (int)l->res_mul);
    }
    if (fclose(f) != 0) {
        free(text);
        return -ENOMEM;
    }
    *ret_text = text;
    return 0;
}

static int parse_layer(const char *line, enum npu_quant_mode mode, struct npu_quant_layer *l)
{
    unsigned x, y, res;
    int mul, n;

    n = sscanf(line, "%95s %x %d %x %d %x %d %d %d", l->weight, &x, &l->x_zero, &y, &l->y_zero, &res, &l->res_zero,
               &l->shift, &mul);
    if (mode == NPU_QUANT_DYNAMIC)
        return n == 1 ? 0 : -EBADMSG;
    if (n != 9)
        return -EBADMSG;
    l->x_scale = from_bits(x);
    l->y_scale = from_bits(y);
    l->res_scale = from_bits(res);
    l->res_mul = mul;
    return l->x_scale > 0 && l->y_scale >= 0 && l->res_scale >= 0 ? 0 : -EBADMSG;
}

static const char *parse_mode(const char *text, enum npu_quant_mode *ret_mode)
{
    static const char *const head[] = {"int8 static 1\n", "int8 dynamic 1\n", "bf16 1\n"};

    for (int i = 0; i < 3; i++)
        if (strncmp(text, head[i], strlen(head[i])) == 0) {
            *ret_mode = (enum npu_quant_mode)i;
            return text + strlen(head[i]);
        }
    return NULL;
}

int npu_quant_parse(const char *text, struct npu_quant_recipe **ret_recipe)
{
    enum npu_quant_mode mode = NPU_QUANT_STATIC;
    const char *at = parse_mode(text, &mode);
    struct npu_quant_recipe *r;
    int lines = 0, status = 0;

    for (const char *c = at; c && *c; c++)
        lines += *c == '\n';
    if (!at || lines > NPU_QUANT_MAX_LAYERS || (mode == NPU_QUANT_BF16 && lines > 0))
        return -EBADMSG;
    r = calloc(1, sizeof *r + (size_t)lines * sizeof r->layer[0]);
    if (!r)
        return -ENOMEM;
    r->mode = mode;
    while (status == 0 && *at) {
        const size_t n = strcspn(at, "\n");
        char line[256];

        if (at[n] != '\n' || n >= sizeof line) {
            status = -EBADMSG;
            break;
        }
        memcpy(line, at, n);
        line[n] = '\0';
        status = parse_layer(line, mode, &r->layer[r->n_layers++]);
        at += n + 1;
    }
    if (status < 0) {
        free(r);
        return status;
    }
    *ret_recipe = r;
    return 0;
}

int npu_graph_quantise_as(npu_graph *g, const char *path, char *why, size_t why_size)
{
    struct npu_quant_recipe *recipe = NULL;
    struct st_file *f;
    const char *text;
    int r = st_open(path, &f, why, why_size);

    if (r < 0)
        return r;
    text = st_metadata(f, NPU_QUANT_KEY);
    r = text ? npu_quant_parse(text, &recipe) : 0;
    st_close(f);
    if (r < 0)
        snprintf(why, why_size, "%s",
                 r == -ENOMEM ? "out of memory" : "its metadata " NPU_QUANT_KEY " is not understood");
    if (r == 0 && recipe) {
        r = npu_graph_quantise(g, recipe);
        if (r < 0)
            snprintf(why, why_size, "%s", npu_graph_error(g));
    }
    free(recipe);
    return r;
}
