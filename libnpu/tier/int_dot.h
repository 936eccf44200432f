/* int_dot.h - the tier of integer dot products. */
#ifndef NPU_TIER_INT_DOT_H
#define NPU_TIER_INT_DOT_H

struct npu_dev;

/* Sets traits.int_dot if the device (open, not in use yet) has cl_khr_integer_dot_product and its results are those of
 * the C reference. NPU_INT8_DOT=emulate in the environment takes plain OpenCL C in its place, =broken a wrong one,
 * which must not pass. */
void npu_int_dot_test(struct npu_dev *d);

#endif
