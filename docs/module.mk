# docs
INSTALL_MAN += docs/man/gaze-analyze.1 docs/man/gazed-worker.8
