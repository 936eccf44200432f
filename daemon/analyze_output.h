// What gaze-analyze writes about one face: a JSON object or a line for people.
#pragma once

#include "models/face_reader.h"

struct analyzed_face {
    const char *file;
    int index;  // in the frame or picture, from 0
    long frame; // of a clip, from 0; -1 for a picture
    long id;    // a clip's track id
    const struct face_reading *reading;
    struct angles gaze; // what the program stands for: a clip's filtered gaze, else the reading's
};

void analyze_print_json(const struct analyzed_face *face);
void analyze_print_text(const struct analyzed_face *face);
