/* pool.h - a few threads for native launches: part 0..n-1 of a job at once. */
#ifndef NPU_DEV_POOL_H
#define NPU_DEV_POOL_H

struct npu_pool;
typedef void npu_pool_fn(void *arg, int part, int n_parts);

int npu_pool_new(int n_threads, struct npu_pool **ret_pool); /* the caller of run counts as one of them */
struct npu_pool *npu_pool_free(struct npu_pool *p);          /* accepts and returns NULL */
/* Runs fn for each part; returns when all are done. Jobs from several threads run one after the other. */
void npu_pool_run(struct npu_pool *p, npu_pool_fn *fn, void *arg);

#endif
