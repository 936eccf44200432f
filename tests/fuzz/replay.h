/* replay.h - a fuzzer's entry without a fuzzer: the files of its corpus as they are, cut short, and with bytes changed.
 */
#ifndef TEST_FUZZ_REPLAY_H
#define TEST_FUZZ_REPLAY_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every file of the folder; returns how many there are. changes: of each file about this many more inputs are made. */
unsigned fuzz_replay(const char *folder, unsigned changes);

#endif
