/* tool_end.h - the last thing a program does: output that got lost is a failure. */
#ifndef NPU_TOOL_END_H
#define NPU_TOOL_END_H

#include <stdio.h>

/* The exit code: r, or 1 after a message if something could not be written to standard output. */
static inline int tool_end(const char *program, int r)
{
    const int lost = fflush(stdout) != 0;

    if (!lost && !ferror(stdout))
        return r;
    fprintf(stderr, "%s: the output can't be written\n", program);
    return r ? r : 1;
}

#endif
