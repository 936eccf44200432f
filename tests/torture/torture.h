/* torture.h - a life of some part of libnpu, lived again and again, each time with another of its fallible calls
 * failing.
 *
 * Whatever fails: no crash; a status that is an errno and a text that says why; the same call works when it is
 * repeated; nothing that was taken is kept (memory, descriptors, OpenCL objects, temporary files). By default a part of
 * the faults, others in each run, which begins with "# NPU_TORTURE_SEED=N" and is repeated with that variable; all of
 * them with NPU_TORTURE=all (make torture). Include after cmocka.
 */
#ifndef TEST_TORTURE_H
#define TEST_TORTURE_H

#include "tests/torture/fake_cl.h"
#include "tests/torture/faults.h"
#include "tests/unit/npu_helpers.h"

/* A folder for files and caches; in main memory where there is such a place, since fsync takes its time on a disk. */
extern char torture_dir[64];

/* Of a group of tests. The machine has one OpenCL driver then, that is none. */
int torture_setup(void **state);
int torture_teardown(void **state);

/* life(device), once to count the calls and then with faults in turn; it frees all that it makes. cold: from an empty
 * folder every time. */
void torture(void (*life)(const char *device), const char *device, enum faults_kind kind, bool cold);

/* What must be true of any failure: there was a fault; r is an errno of such a fault; text says something. */
void torture_sane(int r, const char *text, const char *what);

/* The context and the device, the second time at the latest. */
void torture_device(const char *device, npu_ctx **ret_ctx, npu_dev **ret_dev);

/* Entries of a folder whose names have the part in them; all if part is NULL. */
int torture_count_entries(const char *path, const char *part);

/* For memory that the library gave away. */
void torture_free(void *p);

/* Calls it, and if it fails once more. */
#define TWICE(call, text)                                                                                              \
    do {                                                                                                               \
        int r_ = (call);                                                                                               \
        if (r_ < 0) {                                                                                                  \
            torture_sane(r_, text, #call);                                                                             \
            r_ = (call);                                                                                               \
        }                                                                                                              \
        if (r_ < 0)                                                                                                    \
            fail_msg("%s still fails after a fault in %s: %d %s", #call, faults_fired(), r_, text);                    \
    } while (0)

#endif
