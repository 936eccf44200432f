// The way from a frame to readings: follow what is known, find what is new, pose, gaze.
#include "models/face_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/face_parts.h"

#define LOST_SCORE         0.4f  // a crop that looks less like a face than this is none
#define SAME_FACE_IOU      0.35f // of a found and a followed face
#define DUPLICATE_IOU      0.5f  // two followed faces that have run into one
#define PRIOR_SIGMA_RAD    0.03  // of the network's rotation against the landmarks: measured best of 0.03 and 0.06
#define STEADY_POINT_SHARE 0.05f // of the interocular distance: a point this uncertain counts half

struct face_reader {
    struct face_finder *finder;
    struct landmarks *landmarks;
    struct gaze_vit *gaze;
    struct face_found found[FACE_FINDER_MAX_FACES];
    struct box boxes[FACE_READER_MAX_FACES];
    struct face_landmarks looks[FACE_READER_MAX_FACES];
    struct gaze_estimate estimates[FACE_READER_MAX_FACES];
    struct face_reader_times times;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// Adds the time since *mark to a sum and moves the mark on.
static void lap(int64_t *sum_ns, int64_t *mark_ns)
{
    int64_t t = now_ns();
    *sum_ns += t - *mark_ns;
    *mark_ns = t;
}

struct face_reader_times face_reader_get_times(const struct face_reader *reader)
{
    return reader->times;
}

int face_reader_open(npu_dev *dev, const char *model_dir, const struct face_finder_options *finder,
                     struct face_reader **ret_reader, char *message)
{
    struct face_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return -ENOMEM;
    int r = face_finder_open(dev, model_dir, finder, &reader->finder, message);
    if (r >= 0)
        r = landmarks_open(dev, model_dir, &reader->landmarks, message);
    if (r >= 0)
        r = gaze_vit_open(dev, model_dir, &reader->gaze, message);
    if (r < 0) {
        face_reader_close(reader);
        return r;
    }
    *ret_reader = reader;
    return 0;
}

struct face_reader *face_reader_close(struct face_reader *reader)
{
    if (!reader)
        return NULL;
    face_finder_close(reader->finder);
    landmarks_close(reader->landmarks);
    gaze_vit_close(reader->gaze);
    free(reader);
    return NULL;
}

static struct box landmarks_box(const struct face_landmarks *l)
{
    return box_of_points(l->points, FACE_LANDMARKS);
}

static void tie_box(struct face_reading *face)
{
    struct box l = landmarks_box(&face->landmarks);
    face->box_in_landmarks =
        (struct box){(face->box.x - l.x) / l.w, (face->box.y - l.y) / l.h, face->box.w / l.w, face->box.h / l.h};
}

static void move_box(struct face_reading *face)
{
    struct box l = landmarks_box(&face->landmarks), b = face->box_in_landmarks;
    face->box = (struct box){l.x + b.x * l.w, l.y + b.y * l.h, b.w * l.w, b.h * l.h};
}

// Whether the crop held a face, with its middle in the frame.
static bool is_face(const struct face_landmarks *l, const struct image *frame)
{
    struct box b = landmarks_box(l);
    float x = b.x + b.w / 2, y = b.y + b.h / 2;
    return l->score >= LOST_SCORE && b.w > 1 && b.h > 1 && x >= 0 && y >= 0 && x < (float)frame->width &&
           y < (float)frame->height && face_interocular_px(l->points) > 1;
}

// The followed faces that are still there move to the front. Returns how many.
static int follow(struct face_reader *reader, const struct image *frame, const struct camera *camera,
                  struct face_reading *faces, int known, int *from)
{
    for (int i = 0; i < known; i++)
        reader->looks[i] = faces[i].landmarks;
    int r = landmarks_refine(reader->landmarks, frame, camera, reader->looks, known, reader->looks);
    if (r < 0)
        return r;
    int count = 0;
    for (int i = 0; i < known; i++) {
        if (!is_face(&reader->looks[i], frame))
            continue;
        struct face_reading face = faces[i];
        face.landmarks = reader->looks[i];
        move_box(&face);
        bool duplicate = false;
        for (int k = 0; k < count; k++)
            duplicate = duplicate || box_iou(face.box, faces[k].box) > DUPLICATE_IOU;
        if (duplicate)
            continue;
        faces[count] = face;
        from[count++] = i;
    }
    return count;
}

// The known face that a found box belongs to, or -1.
static int known_at(const struct face_reading *faces, int count, struct box box)
{
    int best = -1;
    float best_iou = SAME_FACE_IOU;
    for (int i = 0; i < count; i++) {
        float iou = box_iou(faces[i].box, box);
        if (iou > best_iou) {
            best = i;
            best_iou = iou;
        }
    }
    return best;
}

// Searches the picture: boxes of known faces are set right, new ones are looked at twice and appended. Returns the new
// count.
static int find(struct face_reader *reader, const struct image *frame, const struct camera *camera,
                struct face_reading *faces, int count, int max, int *from)
{
    int found = face_finder_run(reader->finder, frame, reader->found, FACE_FINDER_MAX_FACES);
    if (found < 0)
        return found;
    int fresh = 0, known = count;
    for (int i = 0; i < found; i++) {
        const struct face_found *f = &reader->found[i];
        int k = known_at(faces, known, f->box);
        if (k >= 0) {
            faces[k].box = f->box;
            faces[k].score = f->score;
            tie_box(&faces[k]);
        } else if (known + fresh < max) {
            faces[known + fresh] = (struct face_reading){.box = f->box, .score = f->score};
            reader->boxes[fresh++] = f->box;
        }
    }
    int r = landmarks_run(reader->landmarks, frame, camera, reader->boxes, fresh, reader->looks);
    if (r >= 0)
        r = landmarks_refine(reader->landmarks, frame, camera, reader->looks, fresh, reader->looks);
    if (r < 0)
        return r;
    for (int i = 0; i < fresh; i++) {
        if (!is_face(&reader->looks[i], frame))
            continue;
        struct face_reading face = faces[known + i];
        face.landmarks = reader->looks[i];
        tie_box(&face);
        from[count] = -1;
        faces[count++] = face;
    }
    return count;
}

int face_reader_pose(const struct camera *camera, const struct face_landmarks *l, struct pnp_result *ret_pose)
{
    float steady_px = STEADY_POINT_SHARE * (float)face_interocular_px(l->points);
    float confidence[FACE_LANDMARKS];
    for (int i = 0; i < FACE_LANDMARKS; i++) {
        float share = l->sigma_px[i] / steady_px;
        confidence[i] = 1 / (1 + share * share);
    }
    struct pnp_prior prior = {l->head, PRIOR_SIGMA_RAD};
    int r = pnp_face(camera, l->points, confidence, 0, &prior, ret_pose);
    return r < 0 ? pnp_face_translation(camera, l->points, confidence, 0, &l->head, ret_pose) : r;
}

static int find_pose(const struct camera *camera, struct face_reading *face)
{
    struct pnp_result pose;
    int r = face_reader_pose(camera, &face->landmarks, &pose);
    if (r < 0)
        return r;
    face->head = pose.rotation;
    face->origin_mm = pose.translation_mm;
    face->pose_rms_px = (float)pose.rms_px;
    return 0;
}

static int find_gaze(struct face_reader *reader, const struct image *frame, const struct camera *camera,
                     struct face_reading *faces, int count)
{
    for (int i = 0; i < count; i++) {
        reader->looks[i] = faces[i].landmarks;
        reader->looks[i].head = faces[i].head;
    }
    int r = gaze_vit_run(reader->gaze, frame, camera, reader->looks, count, reader->estimates);
    if (r < 0 && r != -EDOM)
        return r;
    bool all = r >= 0;
    for (int i = 0; i < count; i++) {
        // One profile among them spoils the batch: then each for itself.
        if (!all) {
            r = gaze_vit_run(reader->gaze, frame, camera, &reader->looks[i], 1, &reader->estimates[i]);
            if (r < 0 && r != -EDOM)
                return r;
        }
        faces[i].has_gaze = r >= 0;
        if (faces[i].has_gaze)
            faces[i].gaze = reader->estimates[i];
    }
    return 0;
}

int face_reader_read(struct face_reader *reader, const struct image *frame, const struct camera *camera, bool search,
                     struct face_reading *faces, int known, int max, int *ret_from)
{
    int from[FACE_READER_MAX_FACES];
    if (known < 0 || known > FACE_READER_MAX_FACES || max < 1 || max > FACE_READER_MAX_FACES)
        return -EINVAL;
    struct face_reader_times *times = &reader->times;
    int64_t mark_ns = now_ns();
    int count = known ? follow(reader, frame, camera, faces, known, from) : 0;
    if (count < 0)
        return count;
    lap(&times->follow_ns, &mark_ns);
    if (search || count == 0) {
        count = find(reader, frame, camera, faces, count, max, from);
        if (count < 0)
            return count;
        times->searches++;
        lap(&times->search_ns, &mark_ns);
    }
    count = face_parts_drop(faces, count, from); // also those that have been followed for a while
    int kept = 0;
    for (int i = 0; i < count && kept < max; i++) {
        if (find_pose(camera, &faces[i]) < 0)
            continue; // no head in front of the camera looks like this
        if (i != kept)
            faces[kept] = faces[i];
        from[kept++] = from[i];
    }
    lap(&times->pose_ns, &mark_ns);
    int r = find_gaze(reader, frame, camera, faces, kept);
    if (r < 0)
        return r;
    lap(&times->gaze_ns, &mark_ns);
    times->frames++;
    times->faces += kept;
    if (ret_from)
        memcpy(ret_from, from, sizeof(*from) * (size_t)kept);
    return kept;
}
