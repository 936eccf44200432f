# daemon: gazed (this file) and gazed-worker (worker.mk). gazed_core: decisions without I/O, and what both programs share.
shared_src := daemon/log.c daemon/config.c daemon/privacy.c
gazed_core_src := daemon/bucket.c daemon/blob.c daemon/outbox.c daemon/supervise.c daemon/stats.c daemon/publish.c
gazed_src := daemon/gazed.c daemon/server.c daemon/client.c daemon/listen.c daemon/worker_process.c daemon/spawn.c

CFLAGS_daemon_config = -DGAZED_MODEL_DIR='"$(prefix)/share/gazed/models"'
CFLAGS_daemon_gazed = -DGAZED_LIBEXECDIR='"$(prefix)/libexec/gazed"' -DGAZED_SYSCONFDIR='"$(sysconfdir)"'

$(call objs,daemon/config.c daemon/gazed.c): $(O)/prefix

$(O)/lib/libdaemon-shared.a: $(call objs,$(shared_src))
$(O)/lib/libgazed-core.a: $(call objs,$(gazed_core_src))

PROGS += $(O)/bin/gazed
$(O)/bin/gazed: $(call objs,$(gazed_src)) $(O)/lib/libgazed-core.a $(O)/lib/libdaemon-shared.a $(O)/lib/libwire.a
LIBS_gazed = -lsystemd
INSTALL_MAN += docs/man/gazed.8 docs/man/gazed.conf.5

TEST_PROGS += $(O)/tests/test_daemon_supervise $(O)/tests/test_daemon_outbox $(O)/tests/test_daemon_config
$(O)/tests/test_daemon_supervise: $(O)/lib/libgazed-core.a
$(O)/tests/test_daemon_outbox: $(O)/lib/libgazed-core.a $(O)/lib/libwire.a
$(O)/tests/test_daemon_config: $(O)/lib/libdaemon-shared.a
TEST_SCRIPTS += tests/system/test_gazed_clients.py tests/system/test_gazed_worker.py tests/system/test_gazed_config.py \
	tests/system/test_gazed_hostile.py

include daemon/worker.mk
