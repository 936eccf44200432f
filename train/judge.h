// How good the networks are, measured through the code that the product runs: used while training and by gaze-eval.
#pragma once

#include "models/face_finder.h"
#include "models/gaze_vit.h"
#include "models/landmarks.h"
#include "train/task.h"

// Landmarks of every sample, first look and second: from `boxes` (one a sample; w = 0: no face, its score stays 0), or
// from the labels' boxes. *ret_found is malloc'ed, set->count long, the caller's.
int judge_find_all(npu_dev *dev, const char *path, const struct face_set *set, const struct box *boxes,
                   struct face_landmarks **ret_found, char *message);
// Gaze of every sample from what was found, or (NULL) from the labels' points and heads. Where there is none the
// estimate's sigma is negative. *ret_gaze is malloc'ed.
int judge_gaze_all(npu_dev *dev, const char *path, const struct face_set *set, const struct face_landmarks *found,
                   struct gaze_estimate **ret_gaze, char *message);

// Adds "<prefix>.nme_percent" (68 points, mean over points and faces, of the distance between the outer eye corners),
// its 90th percentile, the irises', faces of score >= 0.5, blink's error; for renders with |head yaw| <= 45 degrees the
// head's error: mean angle of rotation, of facing direction, and the median signed pitch and yaw.
void judge_landmarks(const char *prefix, const struct face_set *set, const struct face_landmarks *found,
                     struct figures *ret);
// Renders with |head yaw| <= 45: mean and median angle, signed medians, gains of eye-in-head and head with those of the
// labels themselves beside them.
void judge_gaze_rendered(const struct face_set *set, const struct gaze_estimate *gaze, struct figures *ret);
// The line that undoes the shrinking of an uncertain estimate, for each axis (yaw, pitch): a scale that makes its gain
// JUDGE_WANTED_GAIN of the label's, mean of eye-in-head and head, and the shift that makes the means agree. Stretching
// enlarges the errors too: an estimate that follows so well already keeps its scale. Bounded to 1 .. JUDGE_MAX_SCALE;
// 1 and 0 where too few renders were judged.
#define JUDGE_WANTED_GAIN 0.95
#define JUDGE_MAX_SCALE   1.35
void judge_unshrink(const struct face_set *set, const struct gaze_estimate *gaze, double ret_scale[2],
                    double ret_shift_rad[2]);
// Photographs with |head yaw| <= 20: median signed yaw and pitch in the normalised frame and median angle to the lens.
void judge_gaze_real(const struct face_set *set, const struct gaze_estimate *gaze, struct figures *ret);
// Angle between a sample's gaze and the estimate, radians; negative when there is no estimate or it is out of the
// judged range of head yaw.
double judge_gaze_error(const struct face_sample *s, const struct gaze_estimate *gaze);

struct judge_miss {
    char id[24];
    float iou;       // of the best box found; 0 if none
    int false_boxes; // boxes that are no labelled face
};
// Finds faces in whole photographs, and in `scenes` composed scenes of 640 x 480 with 1 to 6 faces 32 to 300 px wide.
// ret_boxes (may be NULL): the best box of each sample, w = 0 where none matched, malloc'ed. misses (may be NULL):
// room for set->count, *ret_misses of them are written.
struct judge_misses {
    struct judge_miss *list;
    int count;
};
int judge_face_finder(npu_dev *dev, const char *path, const struct face_set *set, int scenes, struct figures *ret,
                      struct box **ret_boxes, struct judge_misses *ret_misses, char *message);

// What face_reader says of one sample: landmarks.score is 0 where the face was not found, gaze.sigma_rad negative where
// there is no gaze.
struct judge_reading {
    struct face_landmarks found;
    struct gaze_estimate gaze;
};
// Faces and boxes counted over pictures, where only boxes of at least `threshold` count.
struct judge_tally {
    float threshold;
    int pictures, faces, found, boxes;
};
// What other thresholds would give, all above the reader's own. A box of a lower score never changes one of a higher
// (neither in the finder nor in face_parts_drop), so one reading tells them all.
#define JUDGE_SWEEP_MAX 16
struct judge_sweep {
    int count;
    struct judge_tally photographs[JUDGE_SWEEP_MAX], scenes[JUDGE_SWEEP_MAX];
};
double judge_found_percent(const struct judge_tally *t);
double judge_precision_percent(const struct judge_tally *t);
double judge_false_per_100(const struct judge_tally *t); // boxes that are no face, per 100 pictures

struct face_reader;
// Reads every picture of the set as the product does. Adds "<prefix>.pictures", ".faces_found_percent" (IoU >= 0.5),
// ".false_boxes_per_100". *ret_readings is malloc'ed, set->count long. misses and sweep (its tallies of photographs are
// added to) may be NULL.
int judge_read_all(struct face_reader *reader, const char *prefix, const struct face_set *set, struct figures *ret,
                   struct judge_reading **ret_readings, struct judge_misses *misses, struct judge_sweep *sweep);
// Composed scenes of 640 x 480 with 1 to 6 faces of the set, 32 to 300 px wide: "<prefix>.faces", ".recall_percent",
// ".precision_percent". sweep as above.
int judge_read_scenes(struct face_reader *reader, const char *prefix, const struct face_set *set, int scenes,
                      struct figures *ret, struct judge_sweep *sweep);
// Which threshold of the sweep to take: of those that find 99 % of the photographs' faces and 95 % of the scenes' the
// one with the fewest false boxes on both, the lowest where several are alike. Its index; -1 if none finds enough.
int judge_sweep_choose(const struct judge_sweep *sweep);

// Helpers on plain arrays; `values` is reordered.
double judge_quantile(double *values, int count, double share);
