/* test_npu_discover.c - OpenCL devices and kernel nodes of one physical device become one; what a device calls itself.
 * On a fake OpenCL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/discover.h"
#include "tests/torture/fake_cl.h"
#include "tests/unit/npu_helpers.h"

#define A "0000:00:02.0"
#define B "0000:03:00.0"

static struct cl_found opencl(enum npu_dev_kind kind, const char *pci)
{
    struct cl_found c = {.info = {.kind = kind}};

    snprintf(c.pci, sizeof c.pci, "%s", pci);
    return c;
}

static struct npu_node_found node(const char *path, const char *pci)
{
    struct npu_node_found n = {.accel = strstr(path, "accel") != NULL, .accessible = true};

    snprintf(n.info.node, sizeof n.info.node, "%s", path);
    snprintf(n.pci, sizeof n.pci, "%s", pci);
    return n;
}

static void by_address(void **state)
{
    struct cl_found c[] = {opencl(NPU_KIND_CPU, ""), opencl(NPU_KIND_GPU, B), opencl(NPU_KIND_GPU, A)};
    struct npu_node_found n[] = {node("/dev/dri/renderD128", A), node("/dev/dri/renderD129", B)};

    npu_join_nodes(c, 3, n, 2);
    assert_string_equal(c[0].info.node, "");
    assert_string_equal(c[1].info.node, "/dev/dri/renderD129");
    assert_string_equal(c[2].info.node, "/dev/dri/renderD128");
    assert_true(n[0].joined && n[1].joined);
    assert_int_equal(c[1].info.kind, NPU_KIND_GPU);
}

/* An accel node makes an NPU of whatever OpenCL offers there, and of nothing else. */
static void an_accelerator_is_an_npu(void **state)
{
    struct cl_found c[] = {opencl(NPU_KIND_GPU, A), opencl(NPU_KIND_GPU, B)};
    struct npu_node_found n[] = {node("/dev/accel/accel0", B), node("/dev/dri/renderD128", A)};

    npu_join_nodes(c, 2, n, 2);
    assert_int_equal(c[0].info.kind, NPU_KIND_GPU);
    assert_int_equal(c[1].info.kind, NPU_KIND_NPU);
    assert_string_equal(c[1].info.node, "/dev/accel/accel0");
}

/* Two drivers for one device: both have its node, and it is not listed a third time. */
static void two_drivers_of_one_device(void **state)
{
    struct cl_found c[] = {opencl(NPU_KIND_GPU, A), opencl(NPU_KIND_GPU, A)};
    struct npu_node_found n[] = {node("/dev/dri/renderD128", A)};

    npu_join_nodes(c, 2, n, 1);
    for (int i = 0; i < 2; i++)
        assert_string_equal(c[i].info.node, "/dev/dri/renderD128");
    assert_true(n[0].joined);
}

static void without_addresses_only_if_there_is_one_way(void **state)
{
    for (int gpus = 1; gpus <= 2; gpus++)
        for (int nodes = 1; nodes <= 2; nodes++) {
            struct cl_found c[] = {opencl(NPU_KIND_GPU, ""), opencl(NPU_KIND_GPU, "")};
            struct npu_node_found n[] = {node("/dev/dri/renderD128", ""), node("/dev/dri/renderD129", "")};

            npu_join_nodes(c, gpus, n, nodes);
            assert_true(n[0].joined == (gpus == 1 && nodes == 1));
            assert_true((c[0].info.node[0] != '\0') == (gpus == 1 && nodes == 1));
        }
}

static void strangers_stay_apart(void **state)
{
    struct cl_found c[] = {opencl(NPU_KIND_GPU, A), opencl(NPU_KIND_CPU, B)};
    struct npu_node_found n[] = {node("/dev/dri/renderD128", "0000:99:00.0"), node("/dev/dri/renderD129", B)};

    npu_join_nodes(c, 2, n, 2);
    assert_false(n[0].joined || n[1].joined); /* a processor's OpenCL is not for the GPU at its address */
    npu_join_nodes(c, -ENOMEM, n, 2);         /* the search for OpenCL failed */
}

static void drivers_say_where_in_their_own_ways(void **state)
{
    for (int way = FAKE_CL_PCI_KHR; way <= FAKE_CL_PCI_AMD; way++) {
        struct cl_found found[NPU_MAX_DEVICES];
        int platforms;

        fake_cl.device[0].says = way;
        memcpy(fake_cl.device[0].pci, (cl_uint[]){0, 0xc3, 0x1f, 5}, sizeof(cl_uint[4]));
        assert_int_equal(cl_list_devices(found, NPU_MAX_DEVICES, &platforms), 1);
        assert_string_equal(found[0].pci, "0000:c3:1f.5");
    }
    fake_cl.device[0].says = FAKE_CL_NO_PCI;
}

static void what_a_device_calls_itself(void **state)
{
    static const struct {
        cl_device_type type;
        enum npu_dev_kind kind;
    } kinds[] = {{CL_DEVICE_TYPE_CPU, NPU_KIND_CPU},
                 {CL_DEVICE_TYPE_GPU, NPU_KIND_GPU},
                 {CL_DEVICE_TYPE_ACCELERATOR, NPU_KIND_NPU},
                 {CL_DEVICE_TYPE_CUSTOM, NPU_KIND_NPU}};

    fake_cl.n_devices = 2;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct npu_dev_info info;
        npu_ctx *c;

        fake_cl.device[1].type = kinds[i].type;
        assert_int_equal(npu_ctx_new("", &c), 0);
        assert_int_equal(npu_ctx_device(c, 1, &info), 0);
        assert_string_equal(info.id, "cl1");
        assert_int_equal(info.kind, kinds[i].kind);
        assert_true(info.usable);
        npu_ctx_free(c);
    }
}

/* ---- built-in kernels ---- */
#define PRODUCT "pocl.sgemm.local.f32"

static int six(const char *entry)
{
    return strcmp(entry, PRODUCT) == 0 ? 6 : 0;
}

static int no_such(const char *entry)
{
    return 2;
}

/* The second device, opened; a tier's verdict. */
static npu_dev *open_second(const char *tier, npu_ctx **ret_ctx, struct npu_tier_info *ret_tier)
{
    npu_dev *d = NULL;

    fake_cl.n_devices = 2;
    assert_int_equal(npu_ctx_new("", ret_ctx), 0);
    assert_int_equal(npu_dev_open(*ret_ctx, "cl1", &d), 0);
    for (int i = 0; npu_dev_tier(d, i, ret_tier) == 0; i++)
        if (strcmp(ret_tier->name, tier) == 0)
            return d;
    fail_msg("no tier %s", tier);
    return d;
}

static void a_device_without_compiler_says_what_it_has(void **state)
{
    struct npu_dev_info info;
    npu_ctx *c;

    fake_cl.n_devices = 2;
    fake_cl.device[1].type = CL_DEVICE_TYPE_CUSTOM;
    fake_cl.device[1].has_no_compiler = true;
    fake_cl.device[1].built_in_kernels = "pocl.add.i8;" PRODUCT;
    assert_int_equal(npu_ctx_new("", &c), 0);
    assert_int_equal(npu_ctx_device(c, 1, &info), 0);
    assert_false(info.usable);
    assert_string_equal(info.built_in_kernels, "pocl.add.i8;" PRODUCT);
    assert_non_null(strstr(info.why_not, "no compiler"));
    assert_non_null(strstr(info.why_not, "built-in kernels"));
    npu_ctx_free(c);
    fake_cl.device[1].has_no_compiler = false;
    fake_cl.device[1].built_in_kernels = NULL;
    assert_int_equal(npu_ctx_new("", &c), 0);
    assert_int_equal(npu_ctx_device(c, 1, &info), 0);
    assert_true(info.usable);
    assert_string_equal(info.built_in_kernels, "");
    npu_ctx_free(c);
}

/* Only what is listed, builds and computes a product may serve. */
static void built_in_kernels_are_not_believed(void **state)
{
    static const struct {
        const char *kernels, *why;
        int (*n_args)(const char *);
        bool wrong;
    } cases[] = {{NULL, "no built-in kernels", six, false},
                 {"pocl.add.i8;x." PRODUCT ";" PRODUCT ".b", "no product", six, false},
                 {"a;" PRODUCT, "does not build or run", no_such, false},
                 {PRODUCT ";b", "wrong results", six, true}};
    struct npu_tier_info t;
    npu_ctx *c;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_cl.n_args = cases[i].n_args;
        fake_cl.multiplies_wrongly = cases[i].wrong;
        fake_cl.device[1].type = CL_DEVICE_TYPE_ACCELERATOR;
        fake_cl.device[1].built_in_kernels = cases[i].kernels;
        npu_dev_close(open_second("builtin", &c, &t));
        npu_ctx_free(c);
        assert_false(t.passed);
        assert_non_null(strstr(t.why, cases[i].why));
    }
    fake_cl.multiplies_wrongly = false;
}

/* y = a b of 32 x 16 by 16 x 48 numbers, and what serves it. */
static const char *multiply(npu_dev *d)
{
    enum { M = 32, K = 16, N = 48 };
    static float a[M * K], b[K * N], y[M * N];
    const char *tier;
    npu_graph *g;
    npu_plan *p;

    for (int i = 0; i < M * K; i++)
        a[i] = (float)(i % 7 - 3);
    for (int i = 0; i < K * N; i++)
        b[i] = (float)(i % 5 - 2);
    assert_int_equal(npu_graph_new(0, &g), 0);
    npu_output(g, "y",
               npu_matmul(g, npu_input(g, "a", NPU_F32, 2, (int64_t[]){M, K}),
                          npu_input(g, "b", NPU_F32, 2, (int64_t[]){K, N}), NULL));
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    tier = p->lower.launch[p->lower.n_launches - 1].tier;
    assert_int_equal(npu_plan_write(p, "a", a, sizeof a), 0);
    assert_int_equal(npu_plan_write(p, "b", b, sizeof b), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, sizeof y), 0);
    for (int i = 0; i < M * N; i++) {
        float sum = 0;

        for (int k = 0; k < K; k++)
            sum += a[i / N * K + k] * b[k * N + i % N];
        assert_true(y[i] == sum);
    }
    npu_plan_free(p);
    npu_graph_free(g);
    return tier;
}

static void a_right_built_in_product_serves(void **state)
{
    struct npu_tier_info t;
    npu_ctx *c;
    npu_dev *d;

    setenv("NPU_TUNE", "0", 1);
    fake_cl.n_args = six;
    fake_cl.device[1].built_in_kernels = PRODUCT;
    d = open_second("builtin", &c, &t);
    fake_cl.device[1].built_in_kernels = NULL;
    assert_true(t.passed);
    assert_string_equal(multiply(d), "builtin");
    npu_dev_close(d);
    npu_ctx_free(c);
    unsetenv("NPU_TUNE");
}

/* An extension without a kernel here: said of GPUs, and whoever else lists it. */
static void an_extension_without_a_kernel_is_named(void **state)
{
    static const char *const why[] = {"not advertised", "not published"};
    struct npu_tier_info t;
    npu_ctx *c;

    fake_cl.device[1].type = CL_DEVICE_TYPE_GPU;
    for (int listed = 0; listed < 2; listed++) {
        fake_cl.device[1].extensions = listed ? "cl_khr_fp16 cl_img_matrix_multiply" : NULL;
        npu_dev_close(open_second("img-matrix", &c, &t));
        assert_false(t.passed);
        assert_non_null(strstr(t.why, why[listed]));
        npu_ctx_free(c);
    }
    fake_cl.device[1].extensions = NULL;
}

static void no_device_is_said(void **state)
{
    npu_ctx *c;

    fake_cl.n_devices = 0;
    assert_int_equal(npu_ctx_new("", &c), 0);
    assert_string_equal(npu_ctx_error(c), "1 OpenCL driver(s), but no device");
    npu_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_address),
        cmocka_unit_test(an_accelerator_is_an_npu),
        cmocka_unit_test(two_drivers_of_one_device),
        cmocka_unit_test(without_addresses_only_if_there_is_one_way),
        cmocka_unit_test(strangers_stay_apart),
        cmocka_unit_test(drivers_say_where_in_their_own_ways),
        cmocka_unit_test(what_a_device_calls_itself),
        cmocka_unit_test(a_device_without_compiler_says_what_it_has),
        cmocka_unit_test(built_in_kernels_are_not_believed),
        cmocka_unit_test(a_right_built_in_product_serves),
        cmocka_unit_test(an_extension_without_a_kernel_is_named),
        cmocka_unit_test(no_device_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
