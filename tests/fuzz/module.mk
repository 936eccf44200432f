# tests/fuzz: libFuzzer targets. The corpora are replayed in the ordinary tests.
TEST_PROGS += $(O)/tests/test_npu_asm_fuzz $(O)/tests/test_quant_fuzz
$(O)/tests/test_npu_asm_fuzz: $(call objs,tests/fuzz/replay.c tests/fuzz/fuzz_npu_asm.c) $(O)/lib/libnpu.a
$(O)/tests/test_quant_fuzz: $(call objs,tests/fuzz/replay.c tests/fuzz/fuzz_quant.c) $(O)/lib/libnpu.a
LIBS_test_npu_asm_fuzz = $(npu_libs)
LIBS_test_quant_fuzz = $(npu_libs)

## fuzz-NAME     fuzz wire, safetensors, onnx, npu_asm or quant with libFuzzer for FUZZ_SECONDS (60); needs clang
FUZZ_SECONDS ?= 60
fuzzers := wire safetensors onnx npu_asm quant
# What a fuzzer is linked with: sources, or archives that are built with the sanitizers first; system libraries.
fuzz_sources_wire = wire/wire.c wire/wire_names.c wire/wire_json.c
fuzz_sources_safetensors = libnpu/safetensors.c libnpu/json_scan.c libnpu/dtype.c
fuzz_archives_onnx = libnpu_onnx.a libnpu.a
fuzz_archives_npu_asm = libnpu.a
fuzz_archives_quant = libnpu.a
fuzz_libs_onnx = $(npu_libs) $(npu_onnx_libs)
fuzz_libs_npu_asm = $(npu_libs)
fuzz_libs_quant = $(npu_libs)
fuzz_flags_wire = -max_len=16384 tests/wire/golden
fuzz_flags_onnx = -max_len=16384
fuzz_built = $(fuzz_archives_$*:%=$(O)/fuzz/build/lib/%)
fuzz_opt := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined

.PHONY: $(fuzzers:%=fuzz-%)
$(fuzzers:%=fuzz-%): fuzz-%:
	@mkdir -p $(O)/fuzz/$*
	$(if $(fuzz_built),$(MAKE) --no-print-directory -s CC=clang O=$(O)/fuzz/build OPT='$(fuzz_opt)' $(fuzz_built))
	clang $(CPPFLAGS) -std=gnu17 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o $(O)/fuzz/fuzz_$* tests/fuzz/fuzz_$*.c \
		$(fuzz_sources_$*) $(fuzz_built) $(fuzz_libs_$*) -lm -lpthread
	$(O)/fuzz/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 $(O)/fuzz/$* tests/fuzz/corpus/$* $(fuzz_flags_$*)
