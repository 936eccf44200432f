// The tasks by name, and their figures.
#include "train/task.h"

#include <stdio.h>
#include <string.h>

void figures_add(struct figures *f, const char *name, double value)
{
    if (f->count == TASK_MAX_FIGURES)
        return;
    struct figure *g = &f->list[f->count++];
    snprintf(g->name, sizeof(g->name), "%s", name);
    g->value = value;
}

const struct task *task_find(const char *name)
{
    static const struct task *const tasks[] = {&task_face_finder, &task_landmarks, &task_gaze_vit};
    for (size_t i = 0; i < sizeof(tasks) / sizeof(*tasks); i++)
        if (!strcmp(tasks[i]->name, name))
            return tasks[i];
    return NULL;
}
