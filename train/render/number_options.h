// Numbers on the command lines of gaze-render and gaze-clip.
#pragma once

// `text` as the value of --`option`, from low to high. 0, or -EINVAL after a message on standard error that begins with
// the program's name.
int number_option(const char *option, const char *text, double low, double high, double *ret_value);
int whole_number_option(const char *option, const char *text, long long low, long long high, long long *ret_value);
