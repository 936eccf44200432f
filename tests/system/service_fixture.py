"""The whole service on files: gazed, gazed-worker, and networks that take a white spot for a face (tests/tools/stand_in.c).

One folder under the build folder keeps the stand-in weights and the compiled kernels for all tests and runs."""
import atexit
import os
import shutil
import struct
import subprocess
import tempfile
import time
import zlib

from gazed_fixture import Gazed, wait_for

O = os.path.abspath(os.environ.get("O", "build"))
BIN = os.path.join(O, "bin")
KEPT = os.path.join(O, "test-service")
MODELS = os.path.join(KEPT, "models")
CACHE = os.path.join(KEPT, "cache")
SCRATCH = tempfile.mkdtemp(prefix="gazed-service-")
WIDTH, HEIGHT = 256, 192
SPOT_PX, BOX_PX = 36, 80  # a white square, and the face box that the stand-in finder makes of it
# In the strip's frame; what does not change with the picture is no yaw, for gaze_vit takes its mirror image's off.
YAW_DEG, PITCH_DEG, SIGMA_DEG = 0.0, -5.730, 2.865

atexit.register(shutil.rmtree, SCRATCH, True)
# Kernels are compiled once: by libnpu's cache, and by the OpenCL driver's own.
os.environ["XDG_CACHE_HOME"] = CACHE


def make_models():
    """Weights with known answers, made anew when the program that makes them is newer."""
    program, newest = os.path.join(BIN, "stand-in"), os.path.join(MODELS, "gaze_vit.safetensors")
    if not os.path.exists(newest) or os.path.getmtime(newest) < os.path.getmtime(program):
        os.makedirs(MODELS, exist_ok=True)
        subprocess.run([program, "weights", MODELS], check=True)
    return MODELS


def spots(*centres, width=WIDTH, height=HEIGHT, size=SPOT_PX):
    """Grey pixels of a dark picture with white squares round the centres."""
    rows = [bytearray([20]) * width for _ in range(height)]
    for x, y in centres:
        left, right = max(0, x - size // 2), min(width, x + size // 2)
        for row in rows[max(0, y - size // 2):max(0, y + size // 2)]:
            row[left:right] = b"\xff" * (right - left)
    return b"".join(map(bytes, rows))


CENTRE = (132, 100)  # seen by the finder's cell whose upper left corner is (128, 96)
CENTRE_BOX = (104.0, 72.0, float(BOX_PX), float(BOX_PX))


def jpeg(pixels, width=WIDTH, height=HEIGHT):
    return subprocess.run([os.path.join(BIN, "stand-in"), "jpeg", str(width), str(height)], input=pixels, check=True,
                          stdout=subprocess.PIPE).stdout


def png(pixels, width=WIDTH, height=HEIGHT):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + pixels[y * width:(y + 1) * width] for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def y4m(frames, width=WIDTH, height=HEIGHT, fps=30):
    grey = b"\x80" * (2 * (width // 2) * (height // 2))
    return (f"YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n".encode()
            + b"".join(b"FRAME\n" + f + grey for f in frames))


def write(name, data):
    path = os.path.join(SCRATCH, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    return path


def is_png(path):
    """Whether a PNG is whole: signature, checksums, and as many pixels as it says."""
    with open(path, "rb") as f:
        data = f.read()
    at, pixels, size = 8, b"", None
    while data[:8] == b"\x89PNG\r\n\x1a\n" and at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            return None
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", body)
            size = (width, height)
            row = 1 + width * {0: 1, 2: 3, 6: 4}[colour] * depth // 8
        elif kind == b"IDAT":
            pixels += body
        at += 12 + length
    return size if size and len(zlib.decompress(pixels)) == row * size[1] else None


class Service(Gazed):
    """with Service("file:PATH", "--fps=100") as g: ... The device is the plain C reference unless said otherwise."""

    def __init__(self, source, *options, device="ref", models=None, **more):
        super().__init__(f"--source={source}", f"--device={device}", f"--model-dir={models or make_models()}", *options,
                         worker=os.path.join(BIN, "gazed-worker"), **more)

    def wait_up(self, client, seconds=120.0):
        """The first start compiles."""
        return super().wait_up(client, seconds)


def results(client, count, seconds=20.0):
    """The next results."""
    found, end = [], time.monotonic() + seconds
    while len(found) < count:
        m = client.next(max(0.0, end - time.monotonic()))
        if m is None:
            raise AssertionError(f"{len(found)} results of {count} in {seconds} s; {client.status()}")
        if hasattr(m, "seq"):
            found.append(m)
    return found


def status_with(client, test, seconds=10.0):
    """The first status for which test(status), else fails with the last one."""
    status = wait_for(lambda: (lambda s: s if test(s) else None)(client.status()), seconds)
    assert status, client.status()
    return status


def program(name, *options, timeout=60):
    p = subprocess.run([os.path.join(BIN, name), *options], capture_output=True, timeout=timeout)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
