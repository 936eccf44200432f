# gazed-worker: camera sources, the pipeline, and gaze-analyze, which runs the same networks on pictures
source_src := daemon/source.c daemon/source_file.c daemon/clip_file.c daemon/clip.c daemon/file_bytes.c \
	daemon/source_v4l2.c daemon/v4l2_negotiate.c daemon/v4l2_rank.c daemon/v4l2_sys.c
pipeline_src := daemon/grey.c daemon/pipeline.c daemon/overlay.c daemon/camera_watch.c
worker_src := daemon/worker.c daemon/load_beat.c daemon/worker_device.c daemon/worker_record.c daemon/gazed_link.c

$(O)/lib/libsource.a: $(call objs,$(source_src))
$(O)/lib/libpipeline.a: $(call objs,$(pipeline_src))

networks := $(O)/lib/libmodels.a $(O)/lib/libnpu.a $(O)/lib/libvision.a
networks_libs = $(npu_libs) -ljpeg -lpng

PROGS += $(O)/bin/gazed-worker $(O)/bin/gaze-analyze
$(O)/bin/gazed-worker: $(call objs,$(worker_src)) $(O)/lib/libpipeline.a $(O)/lib/libsource.a \
	$(O)/lib/libdaemon-shared.a $(O)/lib/libwire.a $(networks)
LIBS_gazed-worker = $(networks_libs) -lv4l2 -ludev
$(O)/bin/gaze-analyze: $(call objs,daemon/gaze_analyze.c daemon/analyze_output.c daemon/analyze_truth.c) \
	$(O)/lib/libpipeline.a $(O)/lib/libsource.a $(O)/lib/libdaemon-shared.a \
	$(O)/lib/libwire.a $(networks)
LIBS_gaze-analyze = $(networks_libs) -lcjson -lv4l2

TEST_PROGS += $(O)/tests/test_source_v4l2 $(O)/tests/test_source_file $(O)/tests/test_camera_watch
$(O)/tests/test_source_v4l2: $(O)/lib/libsource.a
$(O)/tests/test_source_file: $(O)/lib/libsource.a $(O)/lib/libvision.a
$(O)/tests/test_camera_watch: $(O)/lib/libpipeline.a
LIBS_test_source_v4l2 = -lv4l2
LIBS_test_source_file = -lv4l2 -ljpeg -lpng
