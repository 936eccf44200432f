/* lower.h - launches collected from the operations of a plan (internal to libnpu). */
#ifndef NPU_LOWER_H
#define NPU_LOWER_H

#include "libnpu/graph.h"

/* Memory of a plan: a byte range of a bank. A device holds each bank as one allocation. */
struct npu_place {
    int bank; /* -1: none */
    size_t offset, size;
};

struct npu_buf {
    size_t size;
    bool packed; /* else scratch of one step */
    int step;
    struct npu_place place;
};

struct npu_lower {
    const struct npu_graph *graph;
    const struct npu_traits *traits;
    int status;
    int step, first_launch; /* of the node being lowered */
    const char *only;       /* the tier that may serve; NULL: all (tune.h) */
    const char *refused;    /* why it can't; static text */
    struct npu_launch *launch;
    int n_launches, cap_launches;
    struct npu_buf *buf;
    int n_bufs, cap_bufs;
};

/* Lowers one node; its launches are l->launch[ret_first .. l->n_launches). why gets a text on failure. */
int npu_lower_node(struct npu_lower *l, const struct npu_node *n, int step, int *ret_first, char *why, size_t why_size);
void npu_lower_done(struct npu_lower *l); /* frees the arrays */

#endif
