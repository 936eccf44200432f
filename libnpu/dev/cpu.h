/* cpu.h - what the host's processor can do, for native launches. */
#ifndef NPU_DEV_CPU_H
#define NPU_DEV_CPU_H

/* enum npu_cpu_feature bits of this machine; AMX bits only if the tiles passed a numeric self-test, and then the
 * process has the kernel's permission to use them. Found once per process. */
unsigned npu_cpu_features(void);
/* What the processor lists, whether it passed or not. */
unsigned npu_cpu_advertised(void);
/* Bits of units that the environment leaves out: all that a variable NPU_CPU does not name (docs/LIBNPU.md). */
unsigned npu_cpu_left_out(void);

#endif
