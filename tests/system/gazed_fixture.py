"""A gazed with a fake worker in a temporary folder, raw connections to it. For test_gazed_*.py."""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "client", "python"))
import gaze  # noqa: E402

GAZED = os.path.join(os.path.abspath(os.environ.get("O", "build")), "bin", "gazed")
FAKE = os.path.join(ROOT, "tests", "system", "fake_worker.py")

def note(text):
    print("# " + text, flush=True)


def wait_for(condition, seconds=5.0):
    """Polls; returns the first true value, or the last false one."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.025)  # below the rate limit of requests


class Raw:
    """A connection without manners."""

    def __init__(self, path, hello=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(5)
        self.socket.connect(path)
        self.buffer = b""
        if hello:
            self.send(gaze.encode_hello(1, "raw"))
            assert self.frame()[0] == gaze.WELCOME

    def send(self, data):
        self.socket.sendall(data)

    def frame(self, timeout=5.0):
        """(type, serial, whole frame) of the next frame, None at the end of the stream."""
        self.socket.settimeout(timeout)
        while len(self.buffer) < 16 or len(self.buffer) < struct.unpack_from("<I", self.buffer)[0]:
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                data = b""
            if not data:
                return None
            self.buffer += data
        size, kind, _, serial = struct.unpack_from("<IHHI", self.buffer)
        whole, self.buffer = self.buffer[:size], self.buffer[size:]
        return kind, serial, whole

    def error(self, timeout=5.0):
        """The code of the next ERROR, None at the end of the stream; other frames are skipped."""
        error = self.error_and_text(timeout)
        return error and error[0]

    def error_and_text(self, timeout=5.0):
        """Code and text of the next ERROR, None at the end of the stream; other frames are skipped."""
        while True:
            f = self.frame(timeout)
            if f is None:
                return None
            if f[0] == gaze.ERROR:
                return struct.unpack_from("<H", f[2], 16)[0], f[2][20:].split(b"\0")[0].decode()

    def ended(self, timeout=5.0):
        """True if the server closes the connection in time."""
        try:
            while self.frame(timeout) is not None:
                pass
        except socket.timeout:
            return False
        return True

    def close(self):
        self.socket.close()


class Gazed:
    """with Gazed(script={...}, config="key = value\\n") as g: ..."""

    def __init__(self, *options, script=None, config="", environment=None, wrapper=(), wait=True, own_socket=True,
                 worker=FAKE):
        self.folder = tempfile.mkdtemp(prefix="gazed-test-")
        self.socket = os.path.join(self.folder, "gazed.sock")
        self.config = os.path.join(self.folder, "gazed.conf")
        self.worker_log = os.path.join(self.folder, "worker.log")
        self.write_config(config)
        self.output = open(os.path.join(self.folder, "gazed.log"), "wb+")
        env = dict(os.environ, FAKE_WORKER=json.dumps({"log": self.worker_log, **(script or {})}))
        env.update(environment or {})
        command = [*wrapper, GAZED, f"--config={self.config}", f"--worker={worker}", "--log-level=debug", *options]
        if own_socket:
            command.append(f"--socket={self.socket}")
        self.process = subprocess.Popen(command, stderr=self.output, stdout=self.output, env=env)
        if wait:
            assert wait_for(lambda: " serves " in self.log() or self.process.poll() is not None)
            assert self.process.poll() is None, self.log()

    def write_config(self, text):
        with open(self.config, "w") as f:
            f.write(text)

    def log(self):
        with open(self.output.name, errors="replace") as f:
            return f.read()

    def worker_events(self, event=None):
        """What the workers wrote down, oldest first."""
        if not os.path.exists(self.worker_log):
            return []
        with open(self.worker_log) as f:
            events = [json.loads(line) for line in f if line.endswith("\n")]
        return [e for e in events if event in (None, e["event"])]

    def connect(self):
        return gaze.connect(self.socket, name="test")

    def raw(self, hello=True):
        return Raw(self.socket, hello)

    def wait_up(self, client, seconds=5.0):
        """Waits until a worker is up; returns the status."""
        return wait_for(lambda: (lambda s: s if s.state != "starting" else None)(client.status()), seconds)

    def stop(self, seconds=5.0):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if self.process.poll() is None:
            self.stop()
        if kind:
            print("# gazed said:\n# " + self.log()[-3000:].replace("\n", "\n# "), flush=True)
        self.output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def run_gazed(*options, timeout=5):
    """One run to its end; returns (exit code, text)."""
    r = subprocess.run([GAZED, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    return r.returncode, r.stdout.decode(errors="replace")
