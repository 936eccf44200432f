// Parts of a face that were taken for faces of their own. Internal to face_reader.
#pragma once

#include "models/face_reader.h"

#define FACE_PART_SHARE 0.6f // of a box's area inside a larger and likelier one: it is an eye or a mouth of that face

// Leaves out the faces whose box lies for more than FACE_PART_SHARE of its area in that of a larger face with at least
// its score, also one that is left out itself. The others keep their order; from[i] moves with faces[i]. count: at most
// FACE_READER_MAX_FACES. Returns the new count.
int face_parts_drop(struct face_reading *faces, int count, int *from);
