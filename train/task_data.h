// The pictures that a network learns from and those that it is judged on while it learns.
#pragma once

#include "train/face_set.h"
#include "train/task.h"

struct task_data {
    struct face_set real, rendered;               // teach
    struct face_set judged_real, judged_rendered; // judge
};

// Reads the folders of `settings` into photographs and renders, what may teach apart from what judges: photographs by
// fold, renders of judge_folder. A folder's kind is found out by what it holds. Errors of face_set_add with its
// message; *ret_data is cleared by task_data_clear.
int task_data_load(const struct task_settings *settings, struct task_data *ret_data, char *message);
void task_data_clear(struct task_data *data);

// The same as a task's open and close, for tasks that need nothing else; -ENODATA when there is nothing to learn from.
int task_data_open(const struct task_settings *settings, void **ret_data, char *message);
void task_data_close(void *data); // accepts NULL
