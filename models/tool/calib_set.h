// Inputs of a network as the product would make them from pictures.
#pragma once

#include "models/tool/named_net.h"

struct calib_set {
    int count, room;
    float **samples; // [count], each named_net_sample_elements long
    int pictures;    // that were read
};

// pictures: a folder (its .jpg, .jpeg and .png, spread evenly if there are more than `limit`) or a text file with a
// path a line. models: the folder with the three f32 networks, which find faces, eyes and heads. Pictures that can't be
// read are left out. -ENODATA when no input came of any; message: MODEL_MESSAGE_SIZE.
int calib_set_collect(npu_dev *dev, const char *models, enum named_net_kind kind, const char *pictures, int limit,
                      struct calib_set *ret_set, char *message);
void calib_set_free(struct calib_set *set);
