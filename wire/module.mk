# wire: the socket protocol as values and bytes; pure, used by the daemon, libgaze, tests and fuzzers.
$(O)/lib/libwire.a: $(call objs,wire/wire.c wire/wire_names.c wire/wire_json.c)
