/* npu_helpers.h - operations made for tests, and short ways to open devices. Include after cmocka. */
#ifndef TEST_NPU_HELPERS_H
#define TEST_NPU_HELPERS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libnpu/graph.h"
#include "libnpu/plan.h"

/* Any unary operation on tensors of one type whose work is given by the table. */
static inline int same_shape_rule(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                                  char *why, size_t why_size)
{
    out[0] = in[0];
    return 0;
}

/* y = x + 1 on the host's threads, each part a stretch of the elements. Arguments: x, y, n. */
static inline void native_add_one(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t n = c->arg[2].i;
    const float *x = c->p[0];
    float *y = c->p[1];

    for (int64_t i = n * part / n_parts; i < n * (part + 1) / n_parts; i++)
        y[i] = x[i] + 1.0f;
}

static inline npu_ctx *open_ctx(void)
{
    npu_ctx *c = NULL;

    assert_int_equal(npu_ctx_new(NULL, &c), 0); /* compiled kernels are kept in the user's cache */
    return c;
}

/* A test can do nothing without an OpenCL device: it is skipped, but fails where one is installed, which `make check`
 * says by GAZED_NEED_CL. */
static inline void skip_cl(const char *why)
{
    const char *need = getenv("GAZED_NEED_CL");

    if (need && strcmp(need, "0") != 0)
        fail_msg("an OpenCL driver is installed, but there is no device: %s", why);
    printf("# SKIP no OpenCL device: %s\n", why);
}

/* The OpenCL device, or NULL after saying that the test is skipped. */
static inline npu_dev *open_cl(npu_ctx *c)
{
    npu_dev *d = NULL;

    if (npu_dev_open(c, "cl", &d) == 0)
        return d;
    skip_cl(npu_ctx_error(c));
    return NULL;
}

static inline double seconds(void)
{
    return (double)npu_now_ns() * 1e-9;
}

#endif
