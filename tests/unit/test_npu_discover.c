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
        cmocka_unit_test(no_device_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
