# train/render: the face renderer
RENDER_SRC = train/render/tensors.c train/render/facekit.c train/render/facekit_points.c train/render/facekit_lids.c train/render/head.c \
	train/render/raster.c train/render/person.c train/render/expression.c train/render/lids.c train/render/light.c \
	train/render/skin_atlas.c train/render/skin.c train/render/eye.c train/render/scene.c train/render/place.c \
	train/render/paint.c train/render/backdrop.c train/render/spoil.c train/render/labels.c train/render/render.c \
	train/render/sheet.c train/render/glasses.c train/render/paint_glasses.c train/render/photo.c \
	train/render/photo_fit.c train/render/photo_view.c train/render/photo_paint.c train/render/hood.c
# Pixel loops; no NaN is ever made, errno of sqrtf is never read, and sums may be reordered alike on every machine.
$(foreach f,$(RENDER_SRC),$(eval CFLAGS_$(subst /,_,$(f:.c=)) = -O3 -fno-math-errno -fno-trapping-math))

$(O)/lib/librender.a: $(call objs,$(RENDER_SRC))
PROGS += $(O)/bin/gaze-render
$(O)/bin/gaze-render: $(call objs,train/render/gaze_render.c train/render/render_options.c \
	train/render/number_options.c) $(O)/lib/librender.a $(O)/lib/libvision.a
LIBS_gaze-render = -lcjson $(VISION_LIBS)

TEST_PROGS += $(O)/tests/test_render $(O)/tests/test_render_photo
$(O)/tests/test_render $(O)/tests/test_render_photo: $(O)/lib/librender.a $(O)/lib/libvision.a
LIBS_test_render = -lcjson $(VISION_LIBS)
LIBS_test_render_photo = -lcjson $(VISION_LIBS)
TEST_SCRIPTS += tests/system/test_gaze_render.py

# Clips of one person before a webcam.
CLIP_SRC = train/render/clip_gaze.c train/render/clip_motion.c train/render/clip_room.c train/render/clip_torso.c \
	train/render/clip_sensor.c train/render/clip_stage.c
$(foreach f,$(CLIP_SRC),$(eval CFLAGS_$(subst /,_,$(f:.c=)) = -O3 -fno-math-errno -fno-trapping-math))

$(O)/lib/libclip.a: $(call objs,$(CLIP_SRC))
PROGS += $(O)/bin/gaze-clip
$(O)/bin/gaze-clip: $(call objs,train/render/gaze_clip.c train/render/number_options.c) $(O)/lib/libclip.a $(O)/lib/librender.a $(O)/lib/libvision.a
LIBS_gaze-clip = -lcjson $(VISION_LIBS)
TEST_PROGS += $(O)/tests/test_clip
$(O)/tests/test_clip: $(O)/lib/libclip.a $(O)/lib/librender.a $(O)/lib/libvision.a
LIBS_test_clip = -lcjson $(VISION_LIBS)
