# libnpu: the accelerator runtime

# One line an operation: libnpu/op/<op>.c, and its kernels/<file>.cl below.
npu_ops := registry
npu_ops += scale
npu_ops += util unary binary expand reduce cast reshape permute slice

npu_kernels := scale
npu_kernels += unary binary reduce copy

npu_srcs := ctx dtype graph lower place plan plan_io
npu_dev_srcs := dev/ref

$(O)/lib/libnpu.a: $(call objs,$(npu_srcs:%=libnpu/%.c) $(npu_dev_srcs:%=libnpu/%.c) $(npu_ops:%=libnpu/op/%.c)) $(O)/libnpu/kernels.o

# The kernels' text as one object: a table of names and NUL-ended texts.
$(O)/libnpu/kernels.S: libnpu/module.mk
	@mkdir -p $(@D)
	@{ echo '.section .rodata'; \
	   for k in lib $(npu_kernels); do f=kernels/$$k.cl; [ $$k = lib ] && f=kernels/lib.clh; \
	       echo "name_$$k: .asciz \"$$k\""; echo "text_$$k: .incbin \"$$f\""; echo '.byte 0'; done; \
	   echo '.section .data.rel.ro,"aw"'; echo '.balign 8'; echo '.globl npu_kernel_sources'; \
	   echo '.hidden npu_kernel_sources'; echo 'npu_kernel_sources:'; \
	   for k in lib $(npu_kernels); do echo ".quad name_$$k, text_$$k"; done; \
	   echo '.quad 0, 0'; echo '.section .note.GNU-stack,"",%progbits'; } > $@

$(O)/libnpu/kernels.o: $(O)/libnpu/kernels.S kernels/lib.clh $(npu_kernels:%=kernels/%.cl)
	$(CC) -c -o $@ $<
