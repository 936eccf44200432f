// Numbers on the command line: see number_options.h.
#include "train/render/number_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int number_option(const char *option, const char *text, double low, double high, double *ret_value)
{
    char *end;
    double value = strtod(text, &end);

    if (*text == '\0' || *end != '\0' || !(value >= low && value <= high)) {
        fprintf(stderr, "%s: --%s %s: not a number from %.10g to %.10g\n", program_invocation_short_name, option, text,
                low, high);
        return -EINVAL;
    }
    *ret_value = value;
    return 0;
}

int whole_number_option(const char *option, const char *text, long long low, long long high, long long *ret_value)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno || value < low || value > high) {
        fprintf(stderr, "%s: --%s %s: not a whole number from %lld to %lld\n", program_invocation_short_name, option,
                text, low, high);
        return -EINVAL;
    }
    *ret_value = value;
    return 0;
}
