# tests/torture: each fallible call of libnpu is made to fail in turn. A copy of it calls those of wrap.c instead of:
torture_calls := malloc calloc realloc free strdup asprintf posix_memalign open_memstream fdopen fflush fclose \
	open close read pread write rename fsync fchmod stat lstat fstat statvfs mkdir mkdtemp mkostemp access opendir \
	readdir nftw realpath symlink unlink unlinkat mmap setenv sysconf getgrgid pipe2 fork waitpid kill poll \
	pthread_create sched_getaffinity getrusage syscall dlopen dlsym dlerror \
	udev_new udev_enumerate_new udev_enumerate_add_match_subsystem udev_enumerate_scan_devices \
	udev_enumerate_get_list_entry udev_device_new_from_syspath udev_device_get_parent \
	udev_device_get_parent_with_subsystem_devtype udev_device_get_devnode udev_device_get_driver drmGetVersion
CFLAGS_tests_torture_wrap = $(shell $(PKGCONF) --cflags libdrm libudev 2>/dev/null)

TEST_PROGS += $(O)/tests/test_npu_torture
TEST_PROGS += $(O)/tests/test_npu_torture_models
TEST_PROGS += $(O)/tests/test_npu_torture_native
torture_objs := $(call objs,$(patsubst %,tests/torture/%.c,torture faults wrap fake_cl))
$(O)/tests/test_npu_torture: $(torture_objs) $(O)/lib/libnpu_torture.a
$(O)/tests/test_npu_torture_models: $(torture_objs) $(O)/lib/libnpu_onnx_torture.a $(O)/lib/libnpu_torture.a
$(O)/tests/test_npu_torture_native: $(torture_objs) $(O)/lib/libnpu_torture.a
LIBS_test_npu_torture = -ludev -ldrm
LIBS_test_npu_torture_native = -ludev -ldrm
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

TEST_SCRIPTS += tests/system/test_npu_torture_calls.py tests/system/test_npu_drivers.py tests/system/test_npu_start.py tests/system/test_service_device_loss.py

## torture       make every fallible call of libnpu fail in turn, also under ASan and valgrind (an hour on two cores)
torture_tests := test_npu_torture test_npu_torture_models test_npu_torture_native test_npu_widen_faults
.PHONY: torture
torture: torture-deps
	$(MAKE) --no-print-directory -s $(torture_tests:%=$(O)/tests/%)
	for t in $(torture_tests); do NPU_TORTURE=all $(O)/tests/$$t || exit 1; done
	$(MAKE) --no-print-directory -s CC=clang O=$(O)/clang OPT='$(SANITIZE)' $(torture_tests:%=$(O)/clang/tests/%)
	for t in $(torture_tests); do NPU_TORTURE=all LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0 \
		$(O)/clang/tests/$$t || exit 1; done
	for t in $(torture_tests); do NPU_TORTURE=some \
		valgrind -q --leak-check=full --show-leak-kinds=definite --error-exitcode=1 $(O)/tests/$$t || exit 1; done

.PHONY: torture-deps
torture-deps:
	@scripts/packages.sh build check torture
