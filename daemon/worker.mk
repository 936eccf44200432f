# gazed-worker: camera sources, the pipeline, and gaze-analyze, which runs the same pipeline on pictures
source_src := daemon/source.c daemon/source_file.c daemon/source_v4l2.c daemon/clip.c daemon/v4l2_negotiate.c \
	daemon/v4l2_rank.c daemon/v4l2_sys.c
$(O)/lib/libsource.a: $(call objs,$(source_src))

TEST_PROGS += $(O)/tests/test_source_v4l2 $(O)/tests/test_source_file
$(O)/tests/test_source_v4l2: $(O)/lib/libsource.a
$(O)/tests/test_source_file: $(O)/lib/libsource.a $(O)/lib/libvision.a
LIBS_test_source_v4l2 = -lv4l2
LIBS_test_source_file = -lv4l2 -ljpeg -lpng
