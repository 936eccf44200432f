/* test_onnx.h - the parts of test_onnx. */
#ifndef TEST_ONNX_H
#define TEST_ONNX_H

#include "libnpu/onnx/model.h"

/* test_onnx_refusals.c: refusals with their texts. */
void refusals_name_what_and_where(void **state);
void unknown_attributes_are_named(void **state);
void values_of_attributes_are_checked(void **state);
int onnx_import_one(const struct om_node *node, int64_t opset, const struct npu_onnx_opts *opts, char *message);

/* test_onnx_hostile.c: limits, and damaged files. */
void limits_hold(void **state);
void damaged_files_are_refused(void **state);
void the_corpus_is_survived(void **state);

#endif
