# the simulated NPU: instruction set, assembler, simulator, compiler
npu_sim := isa tokens asm disasm config access exec_transfer exec_matrix exec_vector machine
npu_sim += emit product map elementwise matrix attention rows picture compile bounds resident counters report timeline listing
$(O)/lib/libnpu.a: $(call objs,$(npu_sim:%=libnpu/sim/%.c) libnpu/dev/sim.c)

# Inner loop of the systolic array over its columns.
CFLAGS_libnpu_sim_exec_matrix = -O3

PROGS += $(O)/bin/npu-asm
$(O)/bin/npu-asm: $(call objs,libnpu/tool/npu_asm.c) $(O)/lib/libnpu.a
LIBS_npu-asm = $(npu_libs)

npu_sim_tests := test_npu_sim_isa test_npu_sim_machine test_npu_sim_device test_npu_sim_time test_npu_sim_listing
TEST_SCRIPTS += tests/system/test_npu_asm.py tests/system/test_npu_sim.py
TEST_PROGS += $(npu_sim_tests:%=$(O)/tests/%)
$(npu_sim_tests:%=$(O)/tests/%): $(O)/lib/libnpu.a
$(foreach t,$(npu_sim_tests),$(eval LIBS_$(t) = $$(npu_libs)))

# gazed's own networks on all devices
TEST_PROGS += $(O)/tests/test_npu_exact
$(O)/tests/test_npu_exact: $(call objs,models/tool/net_by_name.c) $(O)/lib/libmodels.a $(O)/lib/libvision.a $(O)/lib/libnpu.a
LIBS_test_npu_exact = $(VISION_LIBS) $(npu_libs)
