/* cl_mail.c - inputs and outputs of plans in memory of an OpenCL device. They wait in memory of the host: what was
 * written goes with the next submission, and what will be read comes back with it, so that a frame is waited for once.
 */
#include <stdlib.h>

#include "libnpu/dev/cl.h"

static int add_letter(struct npu_plan *p, struct cl_mail *m, npu_val v)
{
    const struct npu_place at = npu_plan_place(p, v);

    if (at.bank < 0 || at.size == 0)
        return 0;
    m->letter[m->n].at = at;
    m->letter[m->n].bytes = malloc(at.size);
    return m->letter[m->n++].bytes ? 0 : npu_plan_fail(p, -ENOMEM, "no memory for %zu bytes", at.size);
}

int cl_mail_new(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;
    const npu_graph *g = p->graph;
    int r = 0;

    cp->in.letter = calloc((size_t)g->n_values + 1, sizeof cp->in.letter[0]);
    cp->out.letter = calloc((size_t)g->n_outputs + 1, sizeof cp->out.letter[0]);
    if (!cp->in.letter || !cp->out.letter)
        return -ENOMEM;
    for (npu_val v = 1; v <= g->n_values && r == 0; v++)
        if (npu_value_of(g, v)->kind == NPU_VALUE_INPUT)
            r = add_letter(p, &cp->in, v);
    for (int i = 0; i < g->n_outputs && r == 0; i++)
        r = add_letter(p, &cp->out, g->output[i].val);
    return r;
}

static void free_letters(struct cl_mail *m)
{
    for (int i = 0; i < m->n; i++)
        free(m->letter[i].bytes);
    free(m->letter);
}

void cl_mail_free(struct cl_plan *cp)
{
    free_letters(&cp->in);
    free_letters(&cp->out);
}

static struct cl_letter *letter_at(const struct cl_mail *m, struct npu_place at)
{
    for (int i = 0; i < m->n; i++)
        if (m->letter[i].at.bank == at.bank && m->letter[i].at.offset == at.offset && m->letter[i].at.size == at.size)
            return &m->letter[i];
    return NULL;
}

static void set_all(struct cl_mail *m, bool full)
{
    for (int i = 0; i < m->n; i++)
        m->letter[i].full = full;
}

cl_int cl_mail_send(struct cl_plan *cp)
{
    cl_int e = CL_SUCCESS;

    for (int i = 0; i < cp->in.n && e == CL_SUCCESS; i++) {
        struct cl_letter *l = &cp->in.letter[i];

        if (!l->full)
            continue;
        e = clEnqueueWriteBuffer(cp->queue, cp->bank[l->at.bank], CL_FALSE, l->at.offset, l->at.size, l->bytes, 0, NULL,
                                 NULL);
        l->full = e != CL_SUCCESS;
    }
    return e;
}

cl_int cl_mail_order(struct cl_plan *cp)
{
    cl_int e = CL_SUCCESS;

    set_all(&cp->out, false);
    for (int i = 0; i < cp->out.n && e == CL_SUCCESS; i++) {
        const struct cl_letter *l = &cp->out.letter[i];

        e = clEnqueueReadBuffer(cp->queue, cp->bank[l->at.bank], CL_FALSE, l->at.offset, l->at.size, l->bytes, 1,
                                &cp->last, i == cp->out.n - 1 ? &cp->arrived : NULL);
    }
    if (e == CL_SUCCESS && cp->out.n == 0) {
        e = clRetainEvent(cp->last);
        cp->arrived = e == CL_SUCCESS ? cp->last : NULL;
    }
    return e;
}

void cl_mail_arrived(struct cl_plan *cp)
{
    set_all(&cp->out, true);
}

cl_int cl_mail_write(struct cl_plan *cp, struct npu_place at, const void *data)
{
    struct cl_letter *l = letter_at(&cp->in, at);
    cl_int e;

    set_all(&cp->out, false); /* what was written may lie where a result was */
    if (l) {
        memcpy(l->bytes, data, at.size);
        l->full = true;
        return CL_SUCCESS;
    }
    e = cl_mail_send(cp);
    if (e == CL_SUCCESS)
        e = clEnqueueWriteBuffer(cp->queue, cp->bank[at.bank], CL_TRUE, at.offset, at.size, data, 0, NULL, NULL);
    return e;
}

cl_int cl_mail_read(struct cl_plan *cp, struct npu_place at, void *data)
{
    const struct cl_letter *l = letter_at(&cp->out, at);
    cl_int e;

    if (l && l->full) {
        memcpy(data, l->bytes, at.size);
        return CL_SUCCESS;
    }
    e = cl_mail_send(cp);
    if (e == CL_SUCCESS)
        e = clEnqueueReadBuffer(cp->queue, cp->bank[at.bank], CL_TRUE, at.offset, at.size, data, 0, NULL, NULL);
    return e;
}
