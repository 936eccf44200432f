# train: trainers, the face renderer, data sets
include train/render/module.mk

$(O)/lib/libtrain.a: $(call objs,train/face_set.c train/data_portraits.c train/data_renders.c train/loader.c \
    train/augment.c train/augment_eyes.c train/scene_compose.c train/task.c train/task_data.c train/task_face_finder.c \
    train/task_landmarks.c train/task_gaze_vit.c train/judge.c train/judge_figures.c train/judge_finder.c \
    train/judge_reader.c train/curve.c train/trainer.c train/eval_report.c train/render/tensors.c)

# Pixel loops of the data loader.
CFLAGS_train_augment = -O3
CFLAGS_train_augment_eyes = -O3
CFLAGS_train_scene_compose = -O3

TRAIN_LIBS = -lcjson $(VISION_LIBS) $(npu_libs)
train_archives = $(O)/lib/libtrain.a $(O)/lib/libmodels.a $(O)/lib/libvision.a $(O)/lib/libnpu.a
PROGS += $(O)/bin/gaze-train $(O)/bin/gaze-eval
LIBS_gaze-train = $(TRAIN_LIBS)
LIBS_gaze-eval = $(TRAIN_LIBS)
$(O)/bin/gaze-train: $(call objs,train/gaze_train.c) $(train_archives)
$(O)/bin/gaze-eval: $(call objs,train/gaze_eval.c) $(train_archives)

TEST_PROGS += $(O)/tests/test_train
$(O)/tests/test_train: $(train_archives)
LIBS_test_train = $(TRAIN_LIBS)
TEST_SCRIPTS += tests/system/test_gaze_train.py
