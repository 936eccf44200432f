# libnpu: the accelerator runtime

# One line an operation: libnpu/op/<op>.c, and its kernels/<file>.cl (or .clh, for #include) below.
npu_ops := registry
npu_ops += scale
npu_ops += util unary erf binary expand reduce cast reshape permute slice
npu_ops += layer_norm batch_norm loss cross_entropy sum_squares update
npu_ops += pool resize softmax prelu gather
npu_ops += mat matmul matmul_lower conv2d conv2d_ref conv2d_lower attention attention_lower
npu_ops += quantise qconv2d qconv2d_lower
npu_ops += exact exact_lower

npu_kernels := scale
npu_kernels += unary erf binary reduce copy
npu_kernels += layer_norm batch_norm loss optim
npu_kernels += pool resize softmax prelu
npu_kernels += builtin tile gemm conv2d attention quantise qconv2d subgroup subgroup_gemm
npu_kernels += exact exact_rows exact_matrix exact_attention

npu_srcs := autodiff ctx discover discover_icd discover_nodes dtype explain file graph json_scan json_text lower optim place plan plan_file plan_io probe safetensors safetensors_write
npu_srcs += quantise_graph quant_make quant_calib quant_text
npu_srcs += tune tune_class tune_measure tune_table
npu_srcs += widen widen_plan
npu_dev_srcs := dev/cl_cache dev/cl_chain dev/cl_device dev/cl_mail dev/cl_native dev/cl_pci dev/cl_plan dev/cl_pocl dev/cl_program dev/cpu dev/null dev/pool dev/ref
# What a program that links libnpu.a needs besides: LIBS_<program> = $(npu_libs)
npu_libs := -lOpenCL -ludev -ldrm
CFLAGS_libnpu_discover_nodes = $(shell $(PKGCONF) --cflags libdrm libudev 2>/dev/null)
# Native matrix tiers.
npu_tiers := tier/tier tier/bf16_native tier/bf16_native_lower tier/bf16_native_self_test tier/divide tier/int_dot
npu_tiers += tier/bf16_amx_emulated tier/bf16_amx_hw tier/bf16_dot_emulated tier/bf16_dot_hw
npu_tiers += tier/builtin tier/report tier/subgroup tier/subgroup_lower
npu_tiers += tier/int8_native tier/int8_native_lower tier/int8_native_self_test
npu_tiers += tier/int8_amx_emulated tier/int8_amx_hw tier/vnni512_emulated tier/vnni512_hw tier/vnni256_emulated tier/vnni256_hw
npu_tiers += tier/int8_avx2_emulated tier/int8_avx2_hw tier/int8_avx2_depthwise tier/int8_avx2_narrow tier/int8_avx2_winograd tier/exact_avx2_attention tier/exact_avx2_bytes tier/exact_avx2_depthwise tier/exact_avx2_lower tier/exact_avx2_plain tier/exact_avx2_self_test
npu_tiers += tier/avx2 tier/avx2_convert tier/avx2_lower tier/avx2_self_test tier/avx2_product tier/avx2_attention tier/avx2_rows tier/avx2_plain tier/avx2_winograd tier/avx2_winograd_grad
npu_tiers += tier/avx2_depthwise_grad tier/avx2_depthwise_grad_lower tier/avx2_outer tier/avx2_grad_x tier/avx2_grad_lower tier/avx2_grad_self_test tier/avx2_attention_grad tier/avx2_train

$(O)/lib/libnpu.a: $(call objs,$(npu_tiers:%=libnpu/%.c) $(npu_srcs:%=libnpu/%.c) $(npu_dev_srcs:%=libnpu/%.c) $(npu_ops:%=libnpu/op/%.c)) $(O)/libnpu/kernels.o

# The kernels' text as one object: a table of names and NUL-ended texts.
$(O)/libnpu/kernels.S: libnpu/module.mk
	@mkdir -p $(@D)
	@{ echo '.section .rodata'; \
	   for k in lib $(npu_kernels); do f=kernels/$$k.cl; [ -e $$f ] || f=$${f}h; \
	       echo "name_$$k: .asciz \"$$k\""; echo "text_$$k:"; \
	       echo ".incbin \"$$f\""; echo '.byte 0'; done; \
	   echo '.section .data.rel.ro,"aw"'; echo '.balign 8'; echo '.globl npu_kernel_sources'; \
	   echo '.hidden npu_kernel_sources'; echo 'npu_kernel_sources:'; \
	   for k in lib $(npu_kernels); do echo ".quad name_$$k, text_$$k"; done; \
	   echo '.quad 0, 0'; echo '.section .note.GNU-stack,"",%progbits'; } > $@

$(O)/libnpu/kernels.o: $(O)/libnpu/kernels.S kernels/lib.clh $(wildcard $(npu_kernels:%=kernels/%.cl) $(npu_kernels:%=kernels/%.clh))
	$(CC) -c -o $@ $<

# ONNX files: an archive of its own, since it needs libprotobuf-c. Programs with it: LIBS_<program> += $(npu_onnx_libs)
npu_onnx_srcs := model file text proto proto_write
npu_onnx_srcs += export export_build export_mat export_ops export_quant
npu_onnx_srcs += import import_attr import_value import_shape import_mat import_picture import_element import_move import_quant
npu_onnx_srcs += fold fold_math fuse fuse_attention fuse_view
npu_onnx_libs := -lprotobuf-c
$(O)/lib/libnpu_onnx.a: $(call objs,$(npu_onnx_srcs:%=libnpu/onnx/%.c)) $(O)/libnpu/onnx/onnx.pb-c.o

$(O)/libnpu/onnx/onnx.pb-c.c: libnpu/onnx/onnx.proto
	@mkdir -p $(@D)
	protoc-c --proto_path=libnpu/onnx --c_out=$(@D) $<
$(O)/libnpu/onnx/onnx.pb-c.o: $(O)/libnpu/onnx/onnx.pb-c.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -w -c -o $@ $<
$(O)/libnpu/onnx/proto.o $(O)/libnpu/onnx/proto_write.o: $(O)/libnpu/onnx/onnx.pb-c.c
CFLAGS_libnpu_onnx_proto = -I$(O)/libnpu/onnx
CFLAGS_libnpu_onnx_proto_write = -I$(O)/libnpu/onnx

# Entered only after the processor has been asked (libnpu/dev/cpu.c).
ifneq (,$(findstring x86_64,$(shell $(CC) -dumpmachine 2>/dev/null)))
$(foreach f,product attention attention_grad convert depthwise_grad rows plain train winograd winograd_grad outer grad_x,$(eval CFLAGS_libnpu_tier_avx2_$(f) = -O3 -mavx2 -mfma))
CFLAGS_libnpu_tier_bf16_amx_hw = -O3 -mamx-tile -mamx-bf16 -mavx512f -mavx512bw -mavx512vl -mfma
CFLAGS_libnpu_tier_bf16_dot_hw = -O3 -mavx512f -mavx512bw -mavx512vl -mavx512bf16 -mfma
CFLAGS_libnpu_tier_int8_amx_hw = -O3 -ffp-contract=off -mamx-tile -mamx-int8 -mavx512f -mavx512bw -mavx512vl -mfma
$(foreach f,hw depthwise narrow winograd,$(eval CFLAGS_libnpu_tier_int8_avx2_$(f) = -O3 -ffp-contract=off -mavx2 -mfma))
$(foreach f,attention bytes depthwise plain,$(eval CFLAGS_libnpu_tier_exact_avx2_$(f) = -O3 -ffp-contract=off -mavx2 -mfma))
CFLAGS_libnpu_tier_vnni512_hw = -O3 -ffp-contract=off -mavx512f -mavx512bw -mavx512vl -mavx512vnni -mfma
CFLAGS_libnpu_tier_vnni256_hw = -O3 -ffp-contract=off -mavx2 -mavxvnni -mfma
endif
$(foreach v,amx dot,$(eval CFLAGS_libnpu_tier_bf16_$(v)_emulated = -O3))
$(foreach v,int8_amx int8_avx2 vnni512 vnni256,$(eval CFLAGS_libnpu_tier_$(v)_emulated = -O3 -ffp-contract=off))

# Inner loops of the references over channels.
CFLAGS_libnpu_op_matmul = -O3
CFLAGS_libnpu_op_conv2d_ref = -O3
CFLAGS_libnpu_op_attention = -O3
CFLAGS_libnpu_op_qconv2d = -O3 $(npu_exact_flags)
# Arithmetic that is defined to the last bit: no product and sum become one where the text does not say so.
npu_exact_flags = -ffp-contract=off
$(foreach f,op_exact op_quantise op_scale sim_exec_vector,$(eval CFLAGS_libnpu_$(f) = $$(npu_exact_flags)))

PROGS += $(O)/bin/npu-ops
$(O)/bin/npu-ops: $(call objs,$(patsubst %,libnpu/tool/%.c,npu_ops ops_case ops_diff ops_grad ops_perf ops_test)) $(O)/lib/libnpu.a
LIBS_npu-ops = $(npu_libs)
$(O)/tests/test_npu_diff: $(call objs,libnpu/tool/ops_case.c libnpu/tool/ops_diff.c)

PROGS += $(O)/bin/npu-info
$(O)/bin/npu-info: $(call objs,libnpu/tool/npu_info.c libnpu/tool/npu_info_tiers.c) $(O)/lib/libnpu.a
LIBS_npu-info = $(npu_libs)

npu_tests := test_npu_bf16_native test_npu_graph test_npu_plan test_npu_reuse test_npu_train test_npu_cache test_npu_null test_npu_safetensors test_npu_ops test_npu_diff
npu_tests += test_npu_chain test_npu_divide test_npu_quant test_npu_quant_moves test_npu_tune test_npu_widen test_npu_mixed test_npu_int8_native test_npu_avx2_grad test_npu_exact_avx2
TEST_PROGS += $(npu_tests:%=$(O)/tests/%)
$(O)/tests/test_npu_safetensors: $(call objs,tests/fuzz/fuzz_safetensors.c tests/fuzz/replay.c)
$(npu_tests:%=$(O)/tests/%): $(O)/lib/libnpu.a
$(foreach t,$(npu_tests),$(eval LIBS_$(t) = $$(npu_libs)))
TEST_PROGS += $(O)/tests/test_onnx_attention
$(O)/tests/test_onnx_attention: $(O)/lib/libnpu_onnx.a $(O)/lib/libnpu.a
LIBS_test_onnx_attention = $(npu_libs) $(npu_onnx_libs)
TEST_PROGS += $(O)/tests/test_onnx_public
$(O)/tests/test_onnx_public: $(O)/lib/libnpu_onnx.a $(O)/lib/libnpu.a
LIBS_test_onnx_public = $(npu_libs) $(npu_onnx_libs)

TEST_SCRIPTS += tests/system/test_npu_tools.py tests/system/test_npu_ops.py tests/system/test_npu_matrix_tiers.py tests/system/test_npu_vendor_kernels.py

include libnpu/sim/module.mk
