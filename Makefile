# gazed: gaze and facial action units for Linux programs.
#
# One module.mk a folder says what is built from what; this file holds the rules they share.
#   make help     what can be made          make O=DIR ...   another build folder
O       ?= build
prefix  ?= /usr/local
sysconfdir ?= /etc
DESTDIR ?=
ifeq ($(origin CC),default)
CC      := gcc
endif
PKGCONF ?= pkg-config
PYTHON  ?= python3

VERSION := 0.1.0

# -march is never native: one binary serves all machines of an architecture, fast code is chosen at run time.
OPT     ?= -O2 -g
WARN    := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
CPPFLAGS += -D_GNU_SOURCE -DGAZED_VERSION='"$(VERSION)"' -I.
CFLAGS  += -std=gnu17 $(OPT) $(WARN) -fPIC -fvisibility=hidden -ffunction-sections -fdata-sections
LDFLAGS += -Wl,--gc-sections

.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all help
all:

# Filled by the modules: programs for $(bindir), daemons for $(libexecdir) or $(sbindir), unit tests, files to install.
PROGS      :=
TEST_PROGS :=
TEST_SCRIPTS :=
OBJS       :=

# Objects of sources; before the modules, whose prerequisites use it.
objs = $(patsubst %.c,$(O)/%.o,$(1))

include wire/module.mk vision/module.mk libnpu/module.mk models/module.mk client/module.mk
include train/module.mk daemon/module.mk systemd/module.mk udev/module.mk docs/module.mk tests/module.mk

all: $(PROGS)

help:
	@sed -n 's/^## \(.*\)/  make \1/p' $(filter Makefile %.mk,$(MAKEFILE_LIST))

# ---- shared rules: a module lists objects as $(call objs,a.c b.c), archives and programs as plain prerequisites ----
$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(basename $(subst /,_,$<))) -MMD -MP -c -o $@ $<

$(O)/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $(filter %.o,$^)

# Archives in the order given (users before what they use); LIBS_<program> adds system libraries.
$(O)/bin/%:
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_$*) -lm -lpthread

$(O)/tests/%: $(O)/tests/unit/%.o
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_$*) -lcmocka -lm -lpthread

# Objects with folders of $(prefix) or $(sysconfdir) in them depend on this, so that others build them anew.
.PHONY: FORCE
$(O)/prefix: FORCE
	@mkdir -p $(@D)
	@echo '$(prefix) $(sysconfdir)' | cmp -s - $@ || echo '$(prefix) $(sysconfdir)' > $@

-include $(shell find $(O) -name '*.d' 2>/dev/null)

# ---- what people call ----
.PHONY: build-deps check-deps lint-deps bench-deps tests check check-gcc check-clang lint demo bench bench-service clean
SANITIZE := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined
# Where PoCL is installed, a test that finds no OpenCL device fails instead of being skipped.
need_cl = $(if $(wildcard /etc/OpenCL/vendors/pocl.icd),GAZED_NEED_CL=1)
RUN_TESTS = NPU_TUNE=0 $(need_cl) O=$(1) $(PYTHON) scripts/run-tests.py --totals $(O)/totals.json

## demo          install what is missing, build, and show live gaze from a camera or the sample clip
demo: build-deps
	@echo 'gazed: building'
	@$(MAKE) --no-print-directory -s -j$$(nproc) all
	@O=$(O) scripts/demo.sh

## all           build every program and library into $(O) (build/)
## check         install what is missing, build with gcc and clang, run all tests
check: check-deps
	@echo 'gazed: building with gcc and with clang and its sanitizers, then all tests (about ten minutes on two cores)'
	@rm -f $(O)/totals.json && mkdir -p $(O)
	@$(MAKE) --no-print-directory -s -j$$(nproc) CC=gcc all tests
	@$(MAKE) --no-print-directory -s -j$$(nproc) CC=clang O=$(O)/clang OPT='$(SANITIZE)' all tests
	@$(MAKE) --no-print-directory -s check-gcc
	@$(MAKE) --no-print-directory -s check-clang
	@$(PYTHON) scripts/run-tests.py --totals $(O)/totals.json

tests: $(TEST_PROGS)

check-gcc:
	@$(call RUN_TESTS,$(O)) --jobs 2 --label 'gcc ' $(TEST_PROGS)
	@$(call RUN_TESTS,$(O)) --timeout 900 --label 'system ' $(TEST_SCRIPTS)

# The unit tests again under address and undefined-behaviour sanitizers. Leaks inside OpenCL drivers are not ours.
check-clang:
	@LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0 \
	$(call RUN_TESTS,$(O)/clang) --jobs 2 --label 'clang+asan+ubsan ' $(TEST_PROGS:$(O)/%=$(O)/clang/%)

## lint          clang-format, clang-tidy, cppcheck, shellcheck, mandoc
lint: lint-deps
	@$(MAKE) --no-print-directory -s all
	@scripts/lint.sh $(O)

## bench         measure the runtime against onnxruntime, OpenVINO and torch (BENCH_FLAGS=--quick, BENCH_PYTHON=...)
bench: bench-deps
	@$(MAKE) --no-print-directory -s all
	@O=$(O) $(PYTHON) scripts/bench.py $(if $(BENCH_PYTHON),--python $(BENCH_PYTHON)) $(BENCH_FLAGS)

## bench-service measure frames/s, latency, memory and stages on the sample clip (5 minutes; BENCH_SECONDS=30 for less)
BENCH_SECONDS ?= 300
bench-service: build-deps
	@$(MAKE) --no-print-directory -s all
	@O=$(O) $(PYTHON) scripts/bench_service.py --seconds $(BENCH_SECONDS)

build-deps:
	@scripts/packages.sh build
check-deps:
	@scripts/packages.sh build check
lint-deps:
	@scripts/packages.sh lint
bench-deps:
	@scripts/packages.sh build $(if $(BENCH_PYTHON),,bench)

## install       install to $(DESTDIR)$(prefix): programs, libgaze, networks, units, man pages; gazed.conf to $(sysconfdir)
bindir     = $(prefix)/bin
libexecdir = $(prefix)/libexec/gazed
libdir     = $(prefix)/lib
datadir    = $(prefix)/share
sysusersdir = $(prefix)/lib/sysusers.d
unitdir    = $(prefix)/lib/systemd/system
udevdir    = $(prefix)/lib/udev/rules.d
FILL = sed -e 's|@prefix@|$(prefix)|g' -e 's|@bindir@|$(bindir)|g' \
	-e 's|@libexecdir@|$(libexecdir)|g' -e 's|@libdir@|$(libdir)|g' -e 's|@sysconfdir@|$(sysconfdir)|g' \
	-e 's|@includedir@|$(prefix)/include|g' -e 's|@version@|$(VERSION)|g'
TOOLS = gazed gazectl gaze-analyze npu-info npu-ops npu-bench npu-convert npu-quantize npu-asm npu-explain gaze-train gaze-eval gaze-render gaze-clip

.PHONY: install
install: all
	install -d $(addprefix $(DESTDIR),$(bindir) $(libexecdir) $(libdir)/pkgconfig $(prefix)/include $(datadir)/gazed/models \
		$(datadir)/gazed/python $(sysconfdir)/gazed $(sysusersdir) $(unitdir) $(udevdir) $(foreach n,1 3 5 8,$(datadir)/man/man$(n)))
	install -m755 $(TOOLS:%=$(O)/bin/%) $(DESTDIR)$(bindir)
	install -m755 $(O)/bin/gazed-worker $(DESTDIR)$(libexecdir)
	install -m644 $(INSTALL_HEADERS) $(DESTDIR)$(prefix)/include
	cp -P $(INSTALL_LIBS) $(DESTDIR)$(libdir)
	install -m644 $(wildcard models/weights/*) $(DESTDIR)$(datadir)/gazed/models
	install -m644 $(INSTALL_PYTHON) $(DESTDIR)$(datadir)/gazed/python
	$(call install_filled,$(INSTALL_PC),$(libdir)/pkgconfig)
	$(call install_filled,$(INSTALL_UNITS),$(unitdir))
	$(call install_filled,$(INSTALL_SYSUSERS),$(sysusersdir))
	$(call install_filled,$(INSTALL_UDEV),$(udevdir))
	[ -e $(DESTDIR)$(sysconfdir)/gazed/gazed.conf ] || { $(call install_filled,$(INSTALL_CONF),$(sysconfdir)/gazed); }
	for page in $(INSTALL_MAN); do install -m644 $$page $(DESTDIR)$(datadir)/man/man$${page##*.} || exit 1; done
# Files with @words@ in them; a name's .in is dropped.
install_filled = for f in $(1); do $(FILL) $$f > $(DESTDIR)$(2)/$$(basename $$f .in) || exit 1; done

## clean         remove $(O)
clean:
	rm -rf $(O)
