# wire: the socket protocol as values and bytes; pure, used by the daemon, libgaze, tests and fuzzers.
$(O)/lib/libwire.a: $(call objs,wire/wire.c wire/wire_names.c wire/wire_json.c)

TEST_PROGS += $(O)/tests/test_wire $(O)/tests/test_wire_fuzz $(O)/tests/test_wire_doc
$(O)/tests/test_wire $(O)/tests/test_wire_doc: $(call objs,tests/wire/samples.c) $(O)/lib/libwire.a
$(O)/tests/test_wire_fuzz: $(call objs,tests/wire/samples.c tests/fuzz/fuzz_wire.c tests/fuzz/replay.c) $(O)/lib/libwire.a
