/* vendor_builtins.h - declarations of the functions of OpenCL extensions whose drivers are not there where tests run,
 * as their specifications give them: cl_intel_subgroup_matrix_multiply_accumulate, cl_arm_matrix_multiply,
 * cl_khr_integer_dot_product. */
#define VENDOR __attribute__((overloadable))

float8 VENDOR intel_sub_group_bf16_bf16_matrix_mad_k16(short8 a, int8 b, float8 acc); /* 16 lanes */
float8 VENDOR intel_sub_group_bf16_bf16_matrix_mad_k16(int8 a, int8 b, float8 acc);   /* 8 lanes */
float8 VENDOR intel_sub_group_f16_f16_matrix_mad_k16(short8 a, int8 b, float8 acc);
float8 VENDOR intel_sub_group_f16_f16_matrix_mad_k16(int8 a, int8 b, float8 acc);
int8 VENDOR intel_sub_group_i8_i8_matrix_mad_k32(short8 a, int8 b, int8 acc);
int8 VENDOR intel_sub_group_i8_i8_matrix_mad_k32(int8 a, int8 b, int8 acc);
float VENDOR arm_matrix_multiply(float a, float b, float c);
int VENDOR dot_4x8packed_ss_int(uint a, uint b);
