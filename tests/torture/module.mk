# tests/torture: each fallible call of libnpu is made to fail in turn. A copy of it calls those of wrap.c instead of:
torture_calls := malloc calloc realloc free strdup asprintf posix_memalign open_memstream fdopen fflush fclose \
	open close read write rename fsync fchmod stat lstat fstat mkdir mkdtemp mkostemp access opendir symlink mmap \
	setenv sysconf getgrgid pipe2 fork waitpid poll pthread_create \
	udev_new udev_enumerate_new udev_enumerate_scan_devices udev_device_new_from_syspath drmGetVersion
CFLAGS_tests_torture_wrap = $(shell $(PKGCONF) --cflags libdrm libudev 2>/dev/null)

TEST_PROGS += $(O)/tests/test_npu_torture
TEST_PROGS += $(O)/tests/test_npu_torture_models
torture_objs := $(call objs,$(patsubst %,tests/torture/%.c,torture faults wrap fake_cl))
$(O)/tests/test_npu_torture: $(torture_objs) $(O)/lib/libnpu_torture.a
$(O)/tests/test_npu_torture_models: $(torture_objs) $(O)/lib/libnpu_onnx_torture.a $(O)/lib/libnpu_torture.a
LIBS_test_npu_torture = -ludev -ldrm
LIBS_test_npu_torture_models = -ludev -ldrm $(npu_onnx_libs)

# Counts what a frame calls.
TEST_PROGS += $(O)/tests/test_npu_frame
$(O)/tests/test_npu_frame: $(torture_objs) $(O)/lib/libnpu_torture.a
LIBS_test_npu_frame = -ludev -ldrm

$(O)/lib/%_torture.a: $(O)/lib/%.a tests/torture/module.mk
	@rm -f $@
	@objcopy $(foreach c,$(torture_calls),--redefine-sym $(c)=torture_$(c)) $< $@

TEST_PROGS += $(O)/tests/test_npu_widen_faults
$(O)/tests/test_npu_widen_faults: $(torture_objs) $(O)/lib/libnpu_torture.a
LIBS_test_npu_widen_faults = -ludev -ldrm

# On the fake OpenCL, not on the machine's.
TEST_PROGS += $(O)/tests/test_npu_cache_faults $(O)/tests/test_npu_discover
$(O)/tests/test_npu_cache_faults $(O)/tests/test_npu_discover: $(call objs,tests/torture/fake_cl.c) $(O)/lib/libnpu.a
LIBS_test_npu_cache_faults = -ludev -ldrm
LIBS_test_npu_discover = -ludev -ldrm

TEST_PROGS += $(O)/tests/test_npu_pocl_cache
$(O)/tests/test_npu_pocl_cache: $(call objs,libnpu/dev/cl_pocl.c libnpu/file.c)

TEST_SCRIPTS += tests/system/test_npu_drivers.py tests/system/test_npu_start.py tests/system/test_service_device_loss.py

## torture       make every fallible call of libnpu fail in turn, also under valgrind if it is installed (some minutes)
.PHONY: torture
torture: $(O)/tests/test_npu_torture $(O)/tests/test_npu_torture_models
	for t in $^; do NPU_TORTURE=all $$t || exit 1; done
	if command -v valgrind >/dev/null; then for t in $^; do NPU_TORTURE=some \
		valgrind -q --leak-check=full --show-leak-kinds=definite --error-exitcode=1 $$t || exit 1; done; fi
