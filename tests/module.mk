# tests
include tests/torture/module.mk tests/fuzz/module.mk
# Weights with known answers, and JPEGs, for the tests of the service.
tests: $(O)/bin/stand-in
$(O)/bin/stand-in: $(call objs,tests/tools/stand_in.c) $(O)/lib/libmodels.a $(O)/lib/libnpu.a $(O)/lib/libvision.a
LIBS_stand-in = $(networks_libs)

TEST_SCRIPTS += tests/system/test_service.py tests/system/test_service_faults.py tests/system/test_gaze_analyze.py \
	tests/system/test_sample_clip.py tests/system/test_run_tests.py tests/system/test_lost_output.py

TEST_PROGS += $(O)/tests/test_pipeline
$(O)/tests/test_pipeline: $(call objs,daemon/worker_record.c daemon/load_beat.c) $(O)/lib/libpipeline.a $(networks) | $(O)/bin/stand-in
LIBS_test_pipeline = $(networks_libs)
