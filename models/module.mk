# models: each network as a graph builder, and its way from frames to results
$(O)/lib/libmodels.a: $(call objs,models/net.c models/model_file.c models/face_finder_net.c models/face_finder.c \
    models/landmarks_net.c models/landmarks.c models/face_crop.c models/gaze_vit_net.c models/gaze_vit.c \
    models/face_reader.c models/face_parts.c)

TEST_PROGS += $(O)/tests/test_models
$(O)/tests/test_models: $(O)/lib/libmodels.a $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_test_models = $(VISION_LIBS) $(npu_libs)

PROGS += $(O)/bin/npu-explain
$(O)/bin/npu-explain: $(call objs,models/tool/npu_explain.c) $(O)/lib/libmodels.a $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_npu-explain = $(VISION_LIBS) $(npu_libs)

PROGS += $(O)/bin/npu-quantize
$(O)/bin/npu-quantize: $(call objs,$(patsubst %,models/tool/%.c,npu_quantize named_net calib_set)) $(O)/lib/libmodels.a \
    $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_npu-quantize = $(VISION_LIBS) $(npu_libs)
TEST_SCRIPTS += tests/system/test_npu_quantize.py
