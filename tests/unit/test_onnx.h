/* test_onnx.h - the two halves of test_onnx. */
#ifndef TEST_ONNX_H
#define TEST_ONNX_H

/* test_onnx_hostile.c: refusals with their texts, and damaged files. */
void refusals_name_what_and_where(void **state);
void limits_hold(void **state);
void damaged_files_are_refused(void **state);
void the_corpus_is_survived(void **state);

#endif
