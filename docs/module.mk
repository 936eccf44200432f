# docs
INSTALL_MAN += docs/man/gaze-analyze.1 docs/man/gazed-worker.8 docs/man/gaze-render.1 docs/man/gaze-clip.1 \
	docs/man/gaze-train.1 docs/man/gaze-eval.1 docs/man/npu-asm.1 docs/man/npu-explain.1 docs/man/npu-info.1 docs/man/npu-ops.1 docs/man/npu-quantize.1
INSTALL_MAN += docs/man/npu-bench.1 docs/man/npu-convert.1
