# tests/fuzz: fuzzers without a module of their own, and their corpora in the ordinary tests.
TEST_PROGS += $(O)/tests/test_npu_asm_fuzz $(O)/tests/test_quant_fuzz
$(O)/tests/test_npu_asm_fuzz: $(call objs,tests/fuzz/replay.c tests/fuzz/fuzz_npu_asm.c) $(O)/lib/libnpu.a
$(O)/tests/test_quant_fuzz: $(call objs,tests/fuzz/replay.c tests/fuzz/fuzz_quant.c) $(O)/lib/libnpu.a
LIBS_test_npu_asm_fuzz = $(npu_libs)
LIBS_test_quant_fuzz = $(npu_libs)

## fuzz-npu_asm  fuzz the NPU's assembler, decoder and simulator with libFuzzer for FUZZ_SECONDS (60); needs clang
## fuzz-quant    fuzz the recipes of quantised weight files likewise
.PHONY: fuzz-npu_asm fuzz-quant
fuzz-npu_asm fuzz-quant: fuzz-%:
	@mkdir -p $(O)/fuzz/$*
	$(MAKE) --no-print-directory -s CC=clang O=$(O)/fuzz/build \
		OPT='-O1 -g -fsanitize=fuzzer-no-link,address,undefined' $(O)/fuzz/build/lib/libnpu.a
	clang $(CPPFLAGS) -std=gnu17 -O1 -g -fsanitize=fuzzer,address,undefined -o $(O)/fuzz/fuzz_$* tests/fuzz/fuzz_$*.c \
		$(O)/fuzz/build/lib/libnpu.a $(npu_libs) -lm -lpthread
	$(O)/fuzz/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 $(O)/fuzz/$* tests/fuzz/corpus/$*
