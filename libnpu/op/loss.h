/* loss.h - what the losses share. */
#ifndef NPU_OP_LOSS_H
#define NPU_OP_LOSS_H

#include "libnpu/op.h"

/* Adds up what the first kernel left in scratch `buf`, {sum of losses, sum of weights} for each of `parts` parts: the
 * node's outputs become {mean, 1 / sum of weights}, both 0 where the weights are. */
void op_loss_sum(struct npu_lower *l, const struct npu_node *n, int buf, int64_t parts);
/* Of a gradient's inputs: 0 if there are `want` of them, the last two f32 scalars: 1 / the sum of `weights`, and the
 * gradient of the loss. Else the reason. */
int op_loss_grad_check(const struct npu_node *n, const struct npu_tensor_type *in, int want, const char *weights,
                       char *why, size_t size);

#endif
