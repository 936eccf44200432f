/* pool.h - a few threads for native launches: jobs of stages one after the other, parts 0..n-1 of a stage at once. */
#ifndef NPU_DEV_POOL_H
#define NPU_DEV_POOL_H

#include <stdint.h>

enum { NPU_POOL_MAX_PARTS = 4095, NPU_POOL_MAX_STAGES = 65534 };

struct npu_pool;
typedef void npu_pool_fn(void *arg, int stage, int part, int n_parts);

int npu_pool_new(int n_threads, struct npu_pool **ret_pool); /* the caller of run counts as one of them */
struct npu_pool *npu_pool_free(struct npu_pool *p);          /* accepts and returns NULL */
int npu_pool_threads(const struct npu_pool *p);
/* Runs fn for each part of each stage; a stage begins when all parts of the one before are done. parts[s] is 1 ..
 * NPU_POOL_MAX_PARTS, n_stages at most NPU_POOL_MAX_STAGES. Returns when all are done. Jobs from several threads run
 * one after the other. Allocates nothing. */
void npu_pool_run(struct npu_pool *p, npu_pool_fn *fn, void *arg, const uint16_t *parts, int n_stages);

#endif
