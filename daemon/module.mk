# daemon
include daemon/worker.mk
