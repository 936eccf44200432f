/* test_npu_sim_listing.c - programs of plans as text and binary: the same instructions come back, and whoever has
 * nothing but the text and the parameters computes what the plan does. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libnpu/dev/sim.h"
#include "libnpu/rng.h"
#include "libnpu/sim/asm.h"
#include "libnpu/sim/listing.h"

enum { H = 6, W = 8, C = 12, OUT = 5, MAX_TENSORS = 16 };

static npu_ctx *ctx;

static int open_ctx(void **state)
{
    return npu_ctx_new("", &ctx);
}

static int close_ctx(void **state)
{
    ctx = npu_ctx_free(ctx);
    return 0;
}

static npu_val param(npu_graph *g, const char *name, int rank, const int64_t *dim)
{
    return npu_param(g, name, rank, dim, (struct npu_init){NPU_INIT_NORMAL, 0.4f});
}

/* A convolution and a linear map with weights to pack, and exp(shift), which is a constant. One name would end a
 * comment. */
static npu_graph *network(void)
{
    const int64_t image[4] = {1, H, W, 1}, w[4] = {3, 3, 1, C}, head[2] = {C, OUT}, c = C;
    npu_graph *g;
    npu_val x;

    assert_int_equal(npu_graph_new(0, &g), 0);
    x = npu_conv2d(g, npu_input(g, "image", NPU_F32, 4, image), param(g, "w\n.xm 3", 4, w), NULL);
    x = npu_relu(g, npu_add(g, x, npu_exp(g, param(g, "shift", 1, &c))));
    x = npu_reduce(g, npu_reshape(g, x, 3, (int64_t[]){1, -1, C}), NPU_REDUCE_MEAN, 2);
    npu_output(g, "y", npu_matmul(g, x, param(g, "head", 2, head), NULL));
    assert_string_equal(npu_graph_error(g), "");
    return g;
}

static npu_plan *plan_on(npu_dev *d, npu_graph *g, float *image)
{
    npu_plan *p;

    if (npu_plan_new(d, g, NULL, &p) < 0)
        fail_msg("%s", npu_ctx_error(ctx));
    assert_int_equal(npu_plan_init(p, 5), 0);
    for (int i = 0; i < H * W; i++)
        image[i] = npu_rng_uniform(3, (uint64_t)i) * 2 - 1;
    assert_int_equal(npu_plan_write(p, "image", image, H * W * sizeof *image), 0);
    return p;
}

static char *text_of(const npu_plan *p, bool setup, size_t *ret_size)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, ret_size);

    assert_non_null(f);
    assert_int_equal(sim_listing_text(p, "a\nb", setup, f), 0);
    fclose(f);
    return text;
}

static struct sim_source assemble(const char *text, size_t size)
{
    char why[256] = "";
    struct sim_source s;

    if (sim_assemble(text, size, &s, why, sizeof why) < 0)
        fail_msg("%s", why);
    return s;
}

static void check_same(const struct sim_program *a, const struct sim_program *b)
{
    uint8_t x[SIM_INSN_BYTES], y[SIM_INSN_BYTES];

    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++) {
        sim_insn_encode(&a->insn[i], x);
        sim_insn_encode(&b->insn[i], y);
        assert_memory_equal(x, y, sizeof x);
    }
}

static void the_same_bytes_come_back(void **state)
{
    float image[H * W];
    npu_graph *g = network();
    npu_dev *d;
    npu_plan *p;

    assert_int_equal(npu_dev_open(ctx, "sim:8x8,um=64K", &d), 0);
    p = plan_on(d, g, image);
    for (int setup = 0; setup < 2; setup++) {
        const struct sim_plan *sp = npu_plan_sim(p);
        const struct sim_program *program = setup ? &sp->setup : &sp->program;
        struct sim_program read;
        char *bytes = NULL, why[256];
        size_t size;
        char *text = text_of(p, setup, &size);
        struct sim_source s = assemble(text, size);
        FILE *f;

        assert_true(program->n > 5);
        check_same(&s.program, program);
        assert_int_equal(s.xm_bytes, sp->machine->mem[SIM_XM].size);
        assert_non_null(strstr(text, setup ? "# bf16 weights head\n" : "# matmul y\n"));
        assert_non_null(strstr(text, "made for 8x8,wm=131072,im=131072,acc=131072,um=65536; "));
        sim_source_free(&s);
        free(text);

        f = open_memstream(&bytes, &size);
        assert_int_equal(sim_listing_binary(p, setup, f), 0);
        fclose(f);
        assert_int_equal(size, 16 + (size_t)program->n * SIM_INSN_BYTES);
        assert_int_equal(sim_binary_read((uint8_t *)bytes, size, &read, why, sizeof why), 0);
        check_same(&read, program);
        sim_program_free(&read);
        free(bytes);
    }
    npu_plan_free(p);
    npu_dev_close(d);
    npu_graph_free(g);
}

/* A line "# 4096 1536 input [1,6,8,1] f32 image" of a listing. */
struct tensor {
    uint64_t at;
    size_t size;
    char kind[16], name[64];
};

static int read_tensors(const char *text, struct tensor *ret_tensor)
{
    int n = 0;

    for (const char *line = text; (line = strchr(line, '\n')); line++) {
        struct tensor t;

        if (sscanf(line, "\n# %" SCNu64 " %zu %15s [%*[0-9,]] %*s %63[^\n]", &t.at, &t.size, t.kind, t.name) == 4) {
            assert_true(n < MAX_TENSORS);
            ret_tensor[n++] = t;
        }
    }
    return n;
}

/* Poison is all that this board's memory holds but for what the text says is to be written. */
static void check_board(npu_plan *p, const float *image, const float *want)
{
    struct tensor t[MAX_TENSORS];
    size_t size, setup_size;
    char *text = text_of(p, false, &size), *setup_text = text_of(p, true, &setup_size);
    struct sim_source program = assemble(text, size), setup = assemble(setup_text, setup_size);
    const int n = read_tensors(text, t);
    struct sim_machine *m;
    int outputs = 0;

    assert_int_equal(n, 5); /* image, w, shift, head, y */
    assert_int_equal(sim_machine_new(npu_dev_sim_config(p->dev), program.xm_bytes, &m), 0);
    for (int i = 0; i < n; i++) {
        char bytes[4096];
        const bool input = strcmp(t[i].kind, "input") == 0;
        const char *name = t[i].name[0] == 'w' ? "w\n.xm 3" : t[i].name;

        if (strcmp(t[i].kind, "output") == 0)
            continue;
        assert_true(t[i].size <= sizeof bytes);
        if (!input)
            assert_int_equal(npu_plan_read(p, name, bytes, t[i].size), 0);
        assert_int_equal(sim_machine_write(m, t[i].at, input ? (const void *)image : bytes, t[i].size), 0);
    }
    if (sim_machine_run(m, &setup.program, 1) < 0 || sim_machine_run(m, &program.program, 1) < 0)
        fail_msg("%s", m->error);
    for (int i = 0; i < n; i++)
        if (strcmp(t[i].kind, "output") == 0) {
            float y[OUT];

            assert_string_equal(t[i].name, "y");
            assert_int_equal(t[i].size, sizeof y);
            assert_int_equal(sim_machine_read(m, t[i].at, y, sizeof y), 0);
            assert_memory_equal(y, want, sizeof y);
            outputs++;
        }
    assert_int_equal(outputs, 1);
    sim_machine_free(m);
    sim_source_free(&program);
    sim_source_free(&setup);
    free(text);
    free(setup_text);
}

static void a_board_needs_nothing_else(void **state)
{
    static const char *const machines[] = {"sim", "sim:8x8,wm=4K,im=4K,acc=4K,um=16K,ib=4", "sim:stay=0"};

    for (size_t k = 0; k < sizeof machines / sizeof machines[0]; k++) {
        float image[H * W], y[OUT];
        npu_graph *g = network();
        npu_dev *d;
        npu_plan *p;

        assert_int_equal(npu_dev_open(ctx, machines[k], &d), 0);
        p = plan_on(d, g, image);
        if (npu_plan_run(p) < 0)
            fail_msg("%s", npu_plan_error(p));
        assert_int_equal(npu_plan_read(p, "y", y, sizeof y), 0);
        check_board(p, image, y);
        npu_plan_free(p);
        npu_dev_close(d);
        npu_graph_free(g);
    }
}

static void others_have_none(void **state)
{
    float image[H * W];
    npu_graph *g = network();
    npu_dev *d;
    npu_plan *p;

    assert_int_equal(npu_dev_open(ctx, "ref", &d), 0);
    p = plan_on(d, g, image);
    assert_int_equal(sim_listing_text(p, "", false, stdout), -EOPNOTSUPP);
    assert_int_equal(sim_listing_binary(p, true, stdout), -EOPNOTSUPP);
    npu_plan_free(p);
    npu_dev_close(d);
    npu_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes_come_back),
        cmocka_unit_test(a_board_needs_nothing_else),
        cmocka_unit_test(others_have_none),
    };
    return cmocka_run_group_tests(tests, open_ctx, close_ctx);
}
