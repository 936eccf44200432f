# client: libgaze (static and shared), gazectl, the Python client and an example.
LIBGAZE_OBJS := $(call objs,client/libgaze.c client/libgaze_handle.c client/libgaze_view.c)

$(O)/lib/libgaze.a: $(LIBGAZE_OBJS) $(call objs,wire/wire.c wire/wire_names.c wire/wire_json.c)

# Only the names in the map leave the shared library.
$(O)/lib/libgaze.so.$(VERSION): $(LIBGAZE_OBJS) $(O)/lib/libwire.a client/libgaze.map
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libgaze.so.0 -Wl,--version-script=client/libgaze.map $(if $(findstring sanitize,$(OPT)),,-Wl,-z,defs) \
		-o $@ $(filter %.o,$^) $(filter %.a,$^) -lm

$(O)/lib/libgaze.so.0: $(O)/lib/libgaze.so.$(VERSION)
	ln -sf $(<F) $@

$(O)/lib/libgaze.so: $(O)/lib/libgaze.so.0
	ln -sf $(<F) $@

PROGS += $(O)/bin/gazectl
$(O)/bin/gazectl: $(call objs,client/gazectl.c client/gazectl_print.c) $(O)/lib/libgaze.a
all: $(O)/lib/libgaze.so $(O)/examples/gaze-watch

# For readers and tests, not to be installed.
$(O)/examples/gaze-watch: $(call objs,client/examples/watch.c) $(O)/lib/libgaze.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lm -lpthread

INSTALL_HEADERS += client/gaze.h
INSTALL_LIBS    += $(O)/lib/libgaze.a $(O)/lib/libgaze.so.$(VERSION) $(O)/lib/libgaze.so.0 $(O)/lib/libgaze.so
INSTALL_PC      += client/gaze.pc.in
INSTALL_PYTHON  += client/python/gaze.py
INSTALL_MAN     += docs/man/gazectl.1 docs/man/libgaze.3

TEST_PROGS += $(O)/tests/test_libgaze
$(O)/tests/test_libgaze: $(call objs,tests/wire/samples.c tests/wire/fake_server.c) $(O)/lib/libgaze.a
TEST_SCRIPTS += tests/system/test_gaze_py.py tests/system/test_gazectl.py tests/system/test_libgaze_so.py \
	tests/system/test_clients_gazed.py
