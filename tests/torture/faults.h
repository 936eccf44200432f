/* faults.h - makes one of the fallible calls of a program fail. The calls are those named in tests/torture/wrap.c,
 * which the linker's --wrap puts between the program's objects and libc, and those of the fake OpenCL. They are counted
 * from faults_arm() on, also in child processes; the one whose number was asked for fails. */
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

enum faults_kind {
    FAULTS_FAIL,  /* the call fails */
    FAULTS_SHORT, /* read and write are interrupted or do one byte: no failure at all */
};

int faults_init(void);                           /* once, before any fork */
void faults_arm(enum faults_kind kind, long at); /* 0: only counts */
long faults_disarm(void);                        /* returns how many calls were counted */
const char *faults_fired(void);                  /* the call that failed since faults_arm(); "" if none did */

/* For the wrappers: whether this call is the one. */
bool faults_step(const char *call);
bool faults_short(const char *call);

/* Memory from wrapped calls that was not given back. The oldest of it: which call it came from, at which place. */
void faults_note_alloc(void *p, const char *call, void *caller);
void faults_note_free(void *p);
size_t faults_live(const char **ret_call, void **ret_caller);
void faults_forget_live(void);

#endif
