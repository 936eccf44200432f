# wire: the socket protocol as values and bytes; pure, used by the daemon, libgaze, tests and fuzzers.
$(O)/lib/libwire.a: $(call objs,wire/wire.c wire/wire_names.c wire/wire_json.c)

TEST_PROGS += $(O)/tests/test_wire $(O)/tests/test_wire_fuzz $(O)/tests/test_wire_doc
$(O)/tests/test_wire $(O)/tests/test_wire_doc: $(call objs,tests/wire/samples.c) $(O)/lib/libwire.a
$(O)/tests/test_wire_fuzz: $(call objs,tests/wire/samples.c tests/fuzz/fuzz_wire.c) $(O)/lib/libwire.a

## fuzz-wire       fuzz the protocol with libFuzzer for FUZZ_SECONDS (60); needs clang
FUZZ_SECONDS ?= 60
.PHONY: fuzz-wire
fuzz-wire:
	@mkdir -p $(O)/fuzz/wire
	clang $(CPPFLAGS) -std=gnu17 -O1 -g -fsanitize=fuzzer,address,undefined -o $(O)/fuzz/fuzz_wire \
		tests/fuzz/fuzz_wire.c wire/wire.c wire/wire_names.c wire/wire_json.c -lm
	$(O)/fuzz/fuzz_wire -max_total_time=$(FUZZ_SECONDS) -max_len=16384 $(O)/fuzz/wire tests/fuzz/corpus/wire tests/wire/golden
