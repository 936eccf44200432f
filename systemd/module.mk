# systemd: units, the users that they need, the sample of gazed.conf. The folders in the names are those to install into:
# INSTALL_UNITS in $(prefix)/lib/systemd/system, INSTALL_SYSUSERS in $(prefix)/lib/sysusers.d, INSTALL_CONF in $(sysconfdir)/gazed.
bindir ?= $(prefix)/bin

$(O)/systemd/%.service: systemd/%.service.in FORCE
	@mkdir -p $(@D)
	@sed 's|@bindir@|$(bindir)|g' $< > $@.new && { cmp -s $@.new $@ || mv $@.new $@; } && rm -f $@.new

$(O)/systemd/%.socket: systemd/%.socket
	@mkdir -p $(@D)
	@cp $< $@

.PHONY: FORCE
INSTALL_UNITS    += $(O)/systemd/gazed.service $(O)/systemd/gazed.socket
INSTALL_SYSUSERS += systemd/sysusers.d/gazed.conf
INSTALL_CONF     += systemd/gazed.conf.in

all: $(INSTALL_UNITS)
TEST_SCRIPTS += tests/system/test_gazed_units.py tests/system/test_install.py tests/system/test_demo.py
