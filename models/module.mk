# models: each network as a graph builder, and its way from frames to results
$(O)/lib/libmodels.a: $(call objs,models/net.c models/model_file.c models/face_finder_net.c models/face_finder.c \
    models/landmarks_net.c models/landmarks.c models/face_crop.c models/gaze_vit_net.c models/gaze_vit.c \
    models/face_reader.c models/face_parts.c)

TEST_PROGS += $(O)/tests/test_models
$(O)/tests/test_models: $(O)/lib/libmodels.a $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_test_models = $(VISION_LIBS) $(npu_libs)

PROGS += $(O)/bin/npu-explain
$(O)/bin/npu-explain: $(call objs,models/tool/npu_explain.c models/tool/explain_net.c models/tool/net_by_name.c) \
    $(O)/lib/libnpu_onnx.a $(O)/lib/libmodels.a $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_npu-explain = $(VISION_LIBS) $(npu_libs) $(npu_onnx_libs)

PROGS += $(O)/bin/npu-quantize
$(O)/bin/npu-quantize: $(call objs,$(patsubst %,models/tool/%.c,npu_quantize named_net net_by_name calib_set calib_write npy)) $(O)/lib/libmodels.a \
    $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_npu-quantize = $(VISION_LIBS) $(npu_libs)
TEST_SCRIPTS += tests/system/test_npu_quantize.py

PROGS += $(O)/bin/npu-convert
$(O)/bin/npu-convert: $(call objs,$(patsubst %,models/tool/%.c,npu_convert convert_run convert_models net_by_name npy)) \
    $(O)/lib/libnpu_onnx.a $(O)/lib/libmodels.a $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_npu-convert = $(VISION_LIBS) $(npu_libs) $(npu_onnx_libs)
TEST_SCRIPTS += tests/system/test_npu_convert.py

PROGS += $(O)/bin/npu-bench
$(O)/bin/npu-bench: $(call objs,$(patsubst %,models/tool/%.c,npu_bench bench_net bench_gemm bench_train bench_quant bench_time \
    bench_start bench_peak bench_print net_by_name npy)) \
    $(O)/lib/libnpu_onnx.a $(O)/lib/libmodels.a $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_npu-bench = $(VISION_LIBS) $(npu_libs) $(npu_onnx_libs)
TEST_SCRIPTS += tests/system/test_npu_bench.py tests/system/test_bench.py
# Sums of one pass over memory.
CFLAGS_models_tool_bench_peak = -O3

# ONNX, with the networks themselves
TEST_PROGS += $(O)/tests/test_onnx
$(O)/tests/test_onnx: $(call objs,tests/fuzz/fuzz_onnx.c tests/fuzz/replay.c tests/unit/test_onnx_hostile.c tests/unit/test_onnx_refusals.c \
    models/tool/net_by_name.c) \
    $(O)/lib/libnpu_onnx.a $(O)/lib/libmodels.a $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_test_onnx = $(VISION_LIBS) $(npu_libs) $(npu_onnx_libs)
