// Pictures are read by face_reader; the inputs of the network in question are then made as its own file makes them.
#include "models/tool/calib_set.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "models/face_reader.h"
#include "vision/image_file.h"
#include "vision/warp.h"

#define HFOV_RAD 1.047 // 60 degrees, as gaze-analyze assumes

struct names {
    char **paths;
    int count;
};

static void names_free(struct names *n)
{
    for (int i = 0; i < n->count; i++)
        free(n->paths[i]);
    free(n->paths);
}

static int names_add(struct names *n, char *path)
{
    char **more = path ? realloc(n->paths, sizeof(char *) * (size_t)(n->count + 1)) : NULL;
    if (!more) {
        free(path);
        return -ENOMEM;
    }
    n->paths = more;
    n->paths[n->count++] = path;
    return 0;
}

static int is_picture(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

static int list_folder(const char *folder, struct names *names)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, is_picture, alphasort), r = n < 0 ? -errno : 0;
    for (int i = 0; i < n; i++) {
        char *path = NULL;
        if (r >= 0)
            r = asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0 ? -ENOMEM : names_add(names, path);
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int list_file(const char *file, struct names *names)
{
    FILE *f = fopen(file, "re");
    if (!f)
        return -errno;
    char *line = NULL;
    size_t size = 0;
    int r = 0;
    while (r >= 0 && getline(&line, &size, f) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0])
            r = names_add(names, strdup(line));
    }
    free(line);
    fclose(f);
    return r;
}

// A new sample of the set, to be filled; NULL without memory.
static float *add_sample(struct calib_set *set, enum named_net_kind kind)
{
    if (set->count == set->room) {
        int room = set->room ? 2 * set->room : 64;
        float **more = realloc(set->samples, sizeof(float *) * (size_t)room);
        if (!more)
            return NULL;
        set->samples = more;
        set->room = room;
    }
    float *sample = malloc(sizeof(float) * named_net_sample_elements(kind));
    if (sample)
        set->samples[set->count++] = sample;
    return sample;
}

static int add_whole(struct calib_set *set, const struct image *picture)
{
    float *sample = add_sample(set, NET_FACE_FINDER);
    struct mat3 m = warp_letterbox(picture->width, picture->height, 256, 192);
    return sample ? warp_to_f32(picture, &m, 256, 192, 1, &WARP_NORM_SIGNED, sample) : -ENOMEM;
}

static int add_crop(struct calib_set *set, const struct image *picture, const struct camera *camera,
                    const struct face_crop *crop)
{
    struct mat3 patch_from_frame, turn;
    if (face_crop_make(crop, camera, &patch_from_frame, &turn) < 0)
        return 0;
    float *sample = add_sample(set, NET_LANDMARKS);
    return sample ? face_crop_pixels(picture, &patch_from_frame, sample) : -ENOMEM;
}

// The first look and the second.
static int add_crops(struct calib_set *set, const struct image *picture, const struct camera *camera,
                     const struct face_reading *face)
{
    const struct face_crop first = face_crop_from_box(face->box),
                           second = face_crop_from_points(face->landmarks.points);
    int r = add_crop(set, picture, camera, &first);
    return r < 0 ? r : add_crop(set, picture, camera, &second);
}

// The eyes and their mirror image.
static int add_eyes(struct calib_set *set, const struct image *picture, const struct camera *camera,
                    const struct face_reading *face)
{
    struct eye_strip strip;
    if (gaze_vit_strip(camera, face->landmarks.points, &strip) < 0)
        return 0;
    float *a = add_sample(set, NET_GAZE_VIT), *b = a ? add_sample(set, NET_GAZE_VIT) : NULL;
    if (!b)
        return -ENOMEM;
    int r = gaze_vit_windows(picture, &strip, a);
    gaze_vit_standardise(a);
    struct mat3 head = mat3_mul(&strip.rotation, &face->head);
    gaze_vit_pose_input(&head, a + GAZE_VIT_PIXELS);
    gaze_vit_mirror(a, a + GAZE_VIT_PIXELS, b, b + GAZE_VIT_PIXELS);
    return r;
}

static int add_picture(struct face_reader *reader, enum named_net_kind kind, const struct image *picture,
                       struct calib_set *set)
{
    static struct face_reading faces[FACE_READER_MAX_FACES]; // large
    struct camera camera;
    if (kind == NET_FACE_FINDER)
        return add_whole(set, picture);
    int r = camera_from_hfov(picture->width, picture->height, HFOV_RAD, &camera);
    if (r >= 0)
        r = face_reader_read(reader, picture, &camera, true, faces, 0, FACE_READER_MAX_FACES, NULL);
    int count = r;
    for (int i = 0; i < count && r >= 0; i++)
        r = (kind == NET_LANDMARKS ? add_crops : add_eyes)(set, picture, &camera, &faces[i]);
    return r < 0 ? r : 0;
}

static int read_all(struct face_reader *reader, enum named_net_kind kind, const struct names *names, int limit,
                    struct calib_set *set)
{
    int n = limit > 0 && names->count > limit ? limit : names->count, r = 0;
    for (int i = 0; i < n && r >= 0; i++) {
        struct image picture;
        if (image_load(names->paths[(long)i * names->count / n], 1, &picture, NULL) < 0)
            continue;
        r = add_picture(reader, kind, &picture, set);
        image_free(&picture);
        set->pictures++;
    }
    return r;
}

int calib_set_collect(npu_dev *dev, const char *models, enum named_net_kind kind, const char *pictures, int limit,
                      struct calib_set *ret_set, char *message)
{
    struct face_reader *reader = NULL;
    struct names names = {0};
    struct calib_set set = {0};
    struct stat st;
    int r = stat(pictures, &st) < 0 ? -errno : 0;
    if (r >= 0)
        r = (S_ISDIR(st.st_mode) ? list_folder : list_file)(pictures, &names);
    if (r < 0)
        snprintf(message, MODEL_MESSAGE_SIZE, "%.250s: %s", pictures, strerror(-r));
    if (r >= 0 && kind != NET_FACE_FINDER)
        r = face_reader_open(dev, models, NULL, &reader, message);
    if (r >= 0) {
        r = read_all(reader, kind, &names, limit, &set);
        if (r >= 0 && set.count == 0)
            r = -ENODATA;
        if (r < 0)
            snprintf(message, MODEL_MESSAGE_SIZE, "%.250s: %s", pictures,
                     r == -ENODATA ? "no picture in it gave the network anything to see" : strerror(-r));
    }
    face_reader_close(reader);
    names_free(&names);
    if (r < 0) {
        calib_set_free(&set);
        return r;
    }
    *ret_set = set;
    return 0;
}

void calib_set_free(struct calib_set *set)
{
    for (int i = 0; i < set->count; i++)
        free(set->samples[i]);
    free(set->samples);
    memset(set, 0, sizeof(*set));
}
