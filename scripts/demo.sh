#!/bin/sh
# The main job, live: gazed on a camera if there is one, else on the sample clip; ten seconds of results; an overlay picture.
# Called by make demo with O = the build folder.
set -eu
bin=$O/bin
out=$O/demo
socket_dir=$(mktemp -d)
mkdir -p "$out"
rm -f "$out"/*.png # of earlier runs

daemon=
stopped_with=0
finish() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" || stopped_with=$?
        daemon=
    fi
    rm -rf "$socket_dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

clip=samples/clip.mjpeg
if "$bin/gaze-analyze" --model-dir models/weights --frames 1 v4l2 >/dev/null 2>&1; then
    source=v4l2
    echo "gazed: using the camera"
else
    source=file:$clip
    echo "gazed: no camera that can be used, so the sample clip $clip plays as one"
fi

echo "gazed: starting (the first start compiles the kernels for this machine, which may take a minute)"
"$bin/gazed" --socket "$socket_dir/gazed.sock" --source "$source" --loop yes --model-dir models/weights --log-level notice &
daemon=$!

gazectl() { "$bin/gazectl" --socket "$socket_dir/gazed.sock" "$@"; }
started=$(date +%s)
while :; do
    case $(gazectl status --json 2>/dev/null || true) in
    *'"state":"paused'* | *'"state":"running'* | *'"state":"waiting'*) break ;;
    *'"state":"degraded'*)
        echo "gazed: the service can't work; its messages above say why" >&2
        exit 1
        ;;
    esac
    if ! kill -0 "$daemon" 2>/dev/null || [ $(($(date +%s) - started)) -gt 600 ]; then
        echo "gazed: the service was not ready after $(($(date +%s) - started)) s" >&2
        exit 1
    fi
    sleep 0.3
done

gazectl watch --seconds 10
gazectl status
finish
trap - EXIT
if [ "$stopped_with" -ne 0 ]; then
    echo "gazed: the service did not stop cleanly: exit code $stopped_with" >&2
    exit 1
fi

if [ "$source" = v4l2 ]; then
    "$bin/gaze-analyze" --model-dir models/weights --overlay "$out" --frames 15 --every 14 v4l2 >/dev/null ||
        echo "gazed: not all frames of the camera could be read" >&2
else
    "$bin/gaze-analyze" --model-dir models/weights --overlay "$out" --every 75 --truth samples/clip.jsonl "$clip" >"$out/faces.txt"
    tail -n 1 "$out/faces.txt"
fi
picture=$(find "$out" -name '*.png' | sort | tail -n 1)
if [ -z "$picture" ]; then
    echo "gazed: no overlay picture was written" >&2
    exit 1
fi
echo "overlay picture: $picture"
