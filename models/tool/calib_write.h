// Inputs of a network as arrays of NumPy, for other runtimes.
#pragma once

#include "models/tool/calib_set.h"

// Writes sample K of the set as FOLDER/K/INPUT.npy, for each input of the network, in its shape (batch 1). Makes the
// folders. message: MODEL_MESSAGE_SIZE.
int calib_write(const struct calib_set *set, const struct named_net *net, const char *folder, char *message);
