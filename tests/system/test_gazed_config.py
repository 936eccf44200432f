#!/usr/bin/env python3
"""gazed's settings, signals, sockets and its talk with the service manager."""
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

sys.path[:0] = [os.path.dirname(__file__)]

from gazed_fixture import FAKE, GAZED, Gazed, run_gazed, wait_for  # noqa: E402
from tap import Skip, equal, run  # noqa: E402


def config_file(text):
    f = tempfile.NamedTemporaryFile("w", suffix=".conf")
    f.write(text)
    f.flush()
    return f


def bad_settings_end_with_78_and_a_clear_message():
    cases = [
        ("fps = 30\nsorce = v4l2\n", ':2: unknown key "sorce", did you mean "source"?'),
        ("device = tpu\n",
         ':1: bad value "tpu" for device: wanted auto, or a list of npu, gpu, cpu, ref, sim, best first'),
        ("heartbeat_s = soon\n", ':1: bad value "soon" for heartbeat_s: wanted a number from 0.1 to 60'),
    ]
    for text, message in cases:
        with config_file(text) as f:
            for more in ([], ["--check"]):
                equal(run_gazed("--config", f.name, *more), (78, f"gazed: error: {f.name}{message}\n"))
    equal(run_gazed("--config", "/nonexistent.conf"),
          (78, "gazed: error: /nonexistent.conf: No such file or directory\n"))
    with config_file("") as f:
        equal(run_gazed("--config", f.name, "--fps", "fast"),
              (78, 'gazed: error: --fps: bad value "fast" for fps: wanted a number from 0 to 1000\n'))
        equal(run_gazed("--config", f.name, "--check"), (0, ""))
        code, text = run_gazed("--config", f.name, "--nonsense")
        assert code == 78 and "nonsense" in text, text
        code, text = run_gazed("--config", f.name, "extra")
        assert code == 78 and 'unexpected argument "extra"' in text, text


def version_and_help():
    code, text = run_gazed("--version")
    assert code == 0 and text.startswith("gazed 0."), text
    code, text = run_gazed("--help")
    assert code == 0 and "--model-dir" in text and "--config FILE" in text, text


def gazed_links_no_opencl():
    text = subprocess.run(["ldd", GAZED], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert "libsystemd" in text and "OpenCL" not in text and "jpeg" not in text, text


def reload_refuses_a_bad_file_and_keeps_the_old_settings():
    with Gazed(config="heartbeat_s = 3\nfps = 20\n") as g, g.connect() as c:
        pid = g.wait_up(c).worker_pid
        g.write_config("fps = 20\nhartbeat_s = 1\n")
        g.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda: f'{g.config}:2: unknown key "hartbeat_s", did you mean "heartbeat_s"?; '
                                "the settings stay as they were" in g.log()), g.log()
        equal(c.status().worker_pid, pid)
        g.write_config("fps = 20\nmax_clients = 2\n")  # nothing that the worker has to know
        g.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda: "settings read again" in g.log())
        equal(c.status().worker_pid, pid)
        c2 = g.connect()
        equal(c2.status().clients, 2)
        try:
            g.connect()
            raise AssertionError("the new limit does not hold")
        except Exception as e:
            assert "too many" in str(e), e


def reload_restarts_the_worker_for_its_settings():
    with Gazed(config="fps = 20\n") as g, g.connect() as c:
        c.subscribe()
        assert c.next(3)
        pid = c.status().worker_pid
        g.write_config("fps = 25\nsource = file:/b\n")
        g.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda: c.status().worker_pid not in (0, pid) and c.status().state == "running"), c.status()
        a = g.worker_events("start")[-1]["arguments"]
        equal((a["fps"], a["source"], a["device"]), ("25", "file:/b", "npu,gpu,cpu,ref"))
        assert "failed" not in g.log()


def socket_file_has_mode_0660_and_goes():
    with Gazed() as g:
        st = os.stat(g.socket)
        assert stat.S_ISSOCK(st.st_mode)
        equal(stat.S_IMODE(st.st_mode), 0o660)
        equal(g.stop(), 0)
        assert not os.path.exists(g.socket)


def stale_socket_is_replaced_a_live_one_is_not():
    with Gazed() as g:
        g.process.kill()
        g.process.wait()
        assert os.path.exists(g.socket)
        with tempfile.TemporaryFile("w+") as log:
            again = subprocess.Popen([GAZED, f"--config={g.config}", f"--socket={g.socket}", f"--worker={FAKE}"],
                                     stderr=log)
            try:
                assert wait_for(lambda: " serves " in _text(log)), _text(log)
                code, text = run_gazed(f"--config={g.config}", f"--socket={g.socket}")
                equal((code, text.splitlines()[-1]),
                      (1, f"gazed: error: can't listen on {g.socket}: another daemon does, or it is no socket"))
                with g.connect() as c:  # the first one did not notice
                    c.ping()
            finally:
                again.terminate()
                again.wait()
        with open(g.socket, "w") as f:
            f.write("precious")
        equal(run_gazed(f"--config={g.config}", f"--socket={g.socket}")[0], 1)
        with open(g.socket) as f:
            equal(f.read(), "precious")


def _text(file):
    return os.pread(file.fileno(), 1 << 16, 0).decode(errors="replace")


def a_socket_that_outlives_its_daemon_for_a_moment_is_replaced():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "gazed.sock")
        dying = socket.socket(socket.AF_UNIX)  # as a worker's process has it between fork and exec
        dying.bind(path)
        dying.listen()
        timer = threading.Timer(0.2, dying.close)
        timer.start()
        with tempfile.TemporaryFile("w+") as log:
            gazed = subprocess.Popen([GAZED, "--config=/dev/null", f"--socket={path}", f"--worker={FAKE}"],
                                     stderr=log)
            try:
                assert wait_for(lambda: " serves " in _text(log)), _text(log)
                assert "was left by a daemon that is gone: replaced" in _text(log), _text(log)
            finally:
                timer.cancel()
                gazed.terminate()
                equal(gazed.wait(), 0)


def another_ones_socket_file_is_left():
    with Gazed() as g:
        os.unlink(g.socket)
        other = socket.socket(socket.AF_UNIX)
        other.bind(g.socket)
        equal(g.stop(), 0)
        assert os.path.exists(g.socket)
        other.close()


def a_passed_socket_is_used_and_stays():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "activated.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    fd = listener.fileno()
    os.set_inheritable(fd, True)
    # What the service manager does: the descriptor as number 3, its count, and the pid of the process itself.
    command = ["sh", "-c", f'exec 3<&{fd}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"', GAZED, "--config=/dev/null",
               f"--worker={FAKE}"]
    p = subprocess.Popen(command, pass_fds=[fd], stderr=subprocess.PIPE)
    try:
        import gaze
        with gaze.connect(path) as c, gaze.connect(path) as d:
            c.subscribe()
            assert c.next(3)
            equal(d.status().clients, 2)
        p.terminate()
        equal(p.wait(5), 0)
        assert b"the socket of the service manager" in p.stderr.read()
        assert os.path.exists(path)  # not ours
    finally:
        p.kill()
        p.wait()
        listener.close()
        shutil.rmtree(folder)


def a_wrong_passed_descriptor_is_refused():
    command = ["sh", "-c", 'exec 3</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"', GAZED, "--config=/dev/null"]
    r = subprocess.run(command, stderr=subprocess.PIPE, timeout=5)
    assert r.returncode == 1 and b"wanted one listening unix stream socket" in r.stderr, r


def works_with_systemd_socket_activate():
    if not shutil.which("systemd-socket-activate"):
        raise Skip("no systemd-socket-activate")
    import gaze
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "a.sock")
    p = subprocess.Popen(["systemd-socket-activate", "-l", path, GAZED, "--config=/dev/null", f"--worker={FAKE}"],
                         stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: os.path.exists(path))
        time.sleep(0.1)
        with gaze.connect(path, timeout=5) as c:
            c.ping()
    finally:
        p.terminate()
        equal(p.wait(5), 0)
        shutil.rmtree(folder)


class Manager:
    """Receives sd_notify messages."""

    def __init__(self):
        self.folder = tempfile.mkdtemp()
        self.path = os.path.join(self.folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.lines = []

    def saw(self, line, seconds=5.0):
        def look():
            try:
                while True:
                    self.lines += self.socket.recv(4096, socket.MSG_DONTWAIT).decode().split("\n")
            except BlockingIOError:
                return any(s.startswith(line) for s in self.lines)
        return wait_for(look, seconds)

    def close(self):
        self.socket.close()
        shutil.rmtree(self.folder)


def the_service_manager_is_told():
    m = Manager()
    with Gazed(environment={"NOTIFY_SOCKET": m.path}) as g, g.connect() as c:
        assert m.saw("READY=1")
        assert m.saw("STATUS=paused: nobody watches"), m.lines
        c.subscribe()
        assert m.saw("STATUS=running: frames come in"), m.lines
        m.lines.clear()
        g.process.send_signal(signal.SIGHUP)
        assert m.saw("RELOADING=1") and m.saw("MONOTONIC_USEC=") and m.saw("READY=1"), m.lines
        g.stop()
        assert m.saw("STOPPING=1"), m.lines
    m.close()


def the_watchdog_is_pinged_on_progress():
    m = Manager()
    with Gazed(environment={"NOTIFY_SOCKET": m.path, "WATCHDOG_USEC": "400000"}) as g:
        for _ in range(5):
            m.lines.clear()
            assert m.saw("WATCHDOG=1", 1)
        # A stopped daemon pings nobody.
        g.process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        m.saw("nothing", 0)
        m.lines.clear()
        assert not m.saw("WATCHDOG=1", 0.6)
        g.process.send_signal(signal.SIGCONT)
        assert m.saw("WATCHDOG=1", 2)
    m.close()


def core_dumps_are_off():
    with Gazed() as g, g.connect() as c:
        g.wait_up(c)
        with open(f"/proc/{g.process.pid}/limits") as f:
            line = next(x for x in f if x.startswith("Max core file size"))
        equal(line.split()[4:6], ["0", "0"])


def journal_lines_carry_priorities():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "log")
    with open(path, "wb") as log:
        st = os.fstat(log.fileno())
        env = dict(os.environ, JOURNAL_STREAM=f"{st.st_dev}:{st.st_ino}")
        p = subprocess.run([GAZED, "--config=/nonexistent.conf"], stderr=log, env=env, timeout=5)
    equal(p.returncode, 78)
    with open(path) as f:
        equal(f.read(), "<3>/nonexistent.conf: No such file or directory\n")
    shutil.rmtree(folder)


run([bad_settings_end_with_78_and_a_clear_message, version_and_help, gazed_links_no_opencl,
     reload_refuses_a_bad_file_and_keeps_the_old_settings, reload_restarts_the_worker_for_its_settings,
     socket_file_has_mode_0660_and_goes, stale_socket_is_replaced_a_live_one_is_not,
     a_socket_that_outlives_its_daemon_for_a_moment_is_replaced, another_ones_socket_file_is_left,
     a_passed_socket_is_used_and_stays, a_wrong_passed_descriptor_is_refused, works_with_systemd_socket_activate,
     the_service_manager_is_told, the_watchdog_is_pinged_on_progress, core_dumps_are_off,
     journal_lines_carry_priorities])
