#!/usr/bin/env python3
"""make install with the default prefix: where settings lie, the version and the page of every program."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path[:0] = [os.path.dirname(__file__)]

from tap import equal, run  # noqa: E402

O = os.environ.get("O", "build")
ROOT = tempfile.mkdtemp(prefix="gazed-install-")
CONF = os.path.join(ROOT, "etc/gazed/gazed.conf")


def call(*command):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "prefix", "sysconfdir")}
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200, env=env)
    return p.returncode, p.stdout


def path(*parts):
    return os.path.join(ROOT, "usr/local", *parts)


def read(name):
    with open(name) as f:
        return f.read()


def programs():
    return [path("bin", n) for n in sorted(os.listdir(path("bin")))] + [path("libexec/gazed/gazed-worker")]


def it_installs():
    equal(call("make", "-s", "install", f"O={O}", "CC=gcc", f"DESTDIR={ROOT}"), (0, ""))
    for name in ("gazed", "gazectl", "gaze-analyze"):
        assert os.access(path("bin", name), os.X_OK), name


def settings_lie_where_gazed_reads_them():
    default = re.search(r"--config FILE +settings \(default (\S+),", call(path("bin/gazed"), "--help")[1]).group(1)
    equal(ROOT + default, CONF)
    equal(call(path("bin/gazed"), "--check", "--config", CONF), (0, ""))
    text = read(CONF)
    model_dir = re.search(r"(?m)^#model_dir = (.*)$", text).group(1)
    assert any(n.endswith(".safetensors") for n in os.listdir(ROOT + model_dir)), model_dir
    uncommented = os.path.join(ROOT, "uncommented.conf")
    with open(uncommented, "w") as f:
        f.write(re.sub(r"(?m)^#(\w+ = )", r"\1", text))
    equal(call(path("bin/gazed"), "--check", "--config", uncommented), (0, ""))


def own_settings_stay():
    text = read(CONF)
    with open(CONF, "a") as f:
        f.write("fps = 15\n")
    it_installs()
    equal(read(CONF), text + "fps = 15\n")


def nothing_is_left_to_fill_in():
    for folder, _, names in os.walk(ROOT):
        for name in names:
            if name.endswith((".conf", ".service", ".socket", ".pc", ".rules")):
                left = re.findall(r"@\w+@", read(os.path.join(folder, name)))
                equal((name, left), (name, []))
    unit = read(path("lib/systemd/system/gazed.service"))
    assert os.access(ROOT + re.search(r"(?m)^ExecStart=(\S+)", unit).group(1), os.X_OK)
    assert os.path.exists(path("lib/libgaze.so"))  # through its links
    assert "prefix=/usr/local\n" in read(path("lib/pkgconfig/gaze.pc")), read(path("lib/pkgconfig/gaze.pc"))


def every_program_says_its_version():
    for program in programs():
        name = os.path.basename(program)
        code, text = call(program, "--version")
        assert code == 0 and text.split()[:1] == [name], (name, code, text)
        code, text = call(program, "--help")
        assert code == 0 and text.lower().startswith("usage"), (name, code, text)


def every_program_has_a_page():
    for program in programs():
        name = os.path.basename(program)
        assert any(os.path.exists(path("share/man/man" + n, f"{name}.{n}")) for n in "18"), name


try:
    run([it_installs, settings_lie_where_gazed_reads_them, own_settings_stay, nothing_is_left_to_fill_in,
         every_program_says_its_version, every_program_has_a_page])
finally:
    shutil.rmtree(ROOT)
