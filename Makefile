# gazed: gaze and facial action units for Linux programs.
#
# One module.mk a folder says what is built from what; this file holds the rules they share.
#   make help     what can be made          make O=DIR ...   another build folder
O       ?= build
prefix  ?= /usr/local
DESTDIR ?=
CC      ?= gcc
AR      ?= ar
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
	@sed -n 's/^## \(.*\)/  \1/p' $(MAKEFILE_LIST)

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

-include $(shell find $(O) -name '*.d' 2>/dev/null)
