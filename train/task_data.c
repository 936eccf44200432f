// Reads what a network learns from: see task_data.h.
#include "train/task_data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Appends the samples of `from` to `to`, which takes over their pictures.
static int move(struct face_set *from, struct face_set *to)
{
    for (int i = 0; i < from->count; i++) {
        struct face_sample *s = face_set_append(to);
        if (!s)
            return -ENOMEM;
        *s = from->samples[i];
        memset(&from->samples[i].image, 0, sizeof(from->samples[i].image));
    }
    return 0;
}

static int load_folder(const char *folder, int limit, struct task_data *d, char *message)
{
    struct face_set teaches = {0};
    int r = face_set_add(&teaches, folder, FACE_SET_TEACHES, limit, message);
    bool photographs = teaches.count && teaches.samples[0].real;
    if (r >= 0)
        r = move(&teaches, photographs ? &d->real : &d->rendered);
    face_set_clear(&teaches);
    if (r >= 0 && photographs)
        r = face_set_add(&d->judged_real, folder, FACE_SET_JUDGES, 0, message);
    return r;
}

int task_data_load(const struct task_settings *settings, struct task_data *ret_data, char *message)
{
    struct task_data d = {0};
    int r = 0;
    for (int i = 0; r >= 0 && i < settings->folder_count; i++)
        r = load_folder(settings->folders[i], settings->limit, &d, message);
    if (r >= 0 && settings->judge_folder)
        r = face_set_add(&d.judged_rendered, settings->judge_folder, FACE_SET_ALL, 0, message);
    if (r < 0) {
        task_data_clear(&d);
        return r;
    }
    *ret_data = d;
    return 0;
}

void task_data_clear(struct task_data *data)
{
    face_set_clear(&data->real);
    face_set_clear(&data->rendered);
    face_set_clear(&data->judged_real);
    face_set_clear(&data->judged_rendered);
}

int task_data_open(const struct task_settings *settings, void **ret_data, char *message)
{
    struct task_data *d = calloc(1, sizeof(*d));
    int r = d ? task_data_load(settings, d, message) : -ENOMEM;
    if (r >= 0 && !d->real.count && !d->rendered.count) {
        snprintf(message, FACE_SET_MESSAGE_SIZE, "the folders of --data hold no pictures to learn from");
        r = -ENODATA;
    }
    if (r < 0) {
        task_data_close(d);
        return r;
    }
    *ret_data = d;
    return 0;
}

void task_data_close(void *data)
{
    if (data)
        task_data_clear(data);
    free(data);
}
