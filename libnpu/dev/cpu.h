/* cpu.h - what the host's processor can do, for native launches. */
#ifndef NPU_DEV_CPU_H
#define NPU_DEV_CPU_H

/* enum npu_cpu_feature bits of this machine that passed their self-test; the same at every call. */
unsigned npu_cpu_features(void);

#endif
