# udev: rules, to be installed in $(prefix)/lib/udev/rules.d
INSTALL_UDEV += udev/70-gazed.rules
