# vision: pure functions from pixels to poses
CFLAGS_vision_image = -O3
CFLAGS_vision_pixel = -O3
CFLAGS_vision_warp  = -O3

$(O)/lib/libvision.a: $(call objs,vision/blink.c vision/box.c vision/camera.c vision/draw.c vision/draw_font.c \
	vision/eye_strip.c vision/face_shape.c vision/geometry.c vision/image.c vision/image_file.c vision/jpeg.c \
	vision/jpeg_encode.c vision/normalise.c vision/one_euro.c vision/pixel.c vision/png.c vision/pnp.c vision/track.c \
	vision/warp.c vision/warp_fit.c)

# System libraries of programs that use it
VISION_LIBS = -ljpeg -lpng

VISION_TESTS = codec draw geometry image pnp portraits track warp
TEST_PROGS += $(VISION_TESTS:%=$(O)/tests/test_vision_%)
$(VISION_TESTS:%=$(O)/tests/test_vision_%): $(O)/lib/libvision.a
$(foreach t,$(VISION_TESTS),$(eval LIBS_test_vision_$(t) = $(VISION_LIBS)))
