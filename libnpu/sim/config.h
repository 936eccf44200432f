/* config.h - the measures of a simulated NPU: array, memories, clock, bandwidth. */
#ifndef NPU_SIM_CONFIG_H
#define NPU_SIM_CONFIG_H

#include <stddef.h>
#include <stdint.h>

struct sim_config {
    int rows, cols;               /* of the systolic array: inputs enter at rows, sums leave at columns */
    uint32_t wm, im, acc, um;     /* bytes of the on-chip memories */
    int ib;                       /* instructions that the fetch buffer holds */
    int lanes;                    /* elements that the vector unit does in a cycle */
    double clock_hz, bytes_per_s; /* of the array and all units; of external memory */
    int latency;                  /* cycles from a request to external memory to its first byte */
    int stay;                     /* 1: results stay in unified memory where they fit; 0: all go out (compiler) */
    uint64_t seed;                /* of the order in which ready units go on; same seed, same run */
};

/* What "sim" alone means: 32x32, wm=128K, im=128K, acc=128K, um=512K, ib=64, lanes=32, clock=800M, bw=12.8G, lat=100,
 * stay=1, seed=1. */
extern const struct sim_config sim_config_default;

/* "16x16,wm=64K,im=64K,acc=32K,um=256K,ib=32,lanes=16,clock=1G,bw=8G,lat=80,stay=0,seed=7" in any order, each may be
 * absent; K, M, G are 1024 and its powers for memories, 1000 and its powers for clock and bw. "" is the default.
 * -EINVAL with what was wrong in why. */
int sim_config_parse(const char *text, struct sim_config *ret_config, char *why, size_t size);

#endif
