// Hooded eyes: the fold above the lid hangs over it. The head's identity modes have none.
#pragma once

#include "train/render/head.h"
#include "train/render/person.h"

// Lowers the skin between upper lid and brow by the person's measure.
void hood_shape(const struct head *head, const struct person *p, struct head_shape *shape);
