# train: trainers, the face renderer, data sets
include train/render/module.mk
