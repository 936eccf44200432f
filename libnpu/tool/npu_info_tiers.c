/* npu_info_tiers.c - asks a device for its tiers in a child process. */
#include "libnpu/tool/npu_info_tiers.h"

#include <stdlib.h>
#include <string.h>

#include "libnpu/discover.h"

enum { TIMES_LONGER = 6 }; /* than listing devices may take: self-tests compile kernels */

struct question {
    npu_ctx *ctx;
    char id[32];
    struct info_tiers tiers;
};

static void ask(void *answer)
{
    struct question *q = answer;
    npu_dev *d;

    if (npu_dev_open(q->ctx, q->id, &d) < 0) {
        snprintf(q->tiers.note, sizeof q->tiers.note, "can't be opened: %.140s", npu_ctx_error(q->ctx));
        return;
    }
    while (q->tiers.n < INFO_MAX_TIERS && npu_dev_tier(d, q->tiers.n, &q->tiers.tier[q->tiers.n]) == 0)
        q->tiers.n++;
}

void info_tiers_find(npu_ctx *c, const struct npu_dev_info *d, struct info_tiers *ret_tiers)
{
    struct question q = {.ctx = c};
    int signal = 0, r;

    memset(ret_tiers, 0, sizeof *ret_tiers);
    if (!d->usable)
        return;
    memcpy(q.id, d->id, sizeof q.id);
    r = npu_probe(ask, &q, sizeof q, npu_probe_ms() * TIMES_LONGER, &signal);
    *ret_tiers = q.tiers;
    if (r == 0)
        return;
    ret_tiers->n = 0;
    if (signal)
        snprintf(ret_tiers->note, sizeof ret_tiers->note, "unknown: the driver crashed (signal %d) in the self-tests",
                 signal);
    else
        snprintf(ret_tiers->note, sizeof ret_tiers->note, "unknown: %s in the self-tests", strerror(-r));
}
