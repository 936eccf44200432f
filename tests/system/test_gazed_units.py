#!/usr/bin/env python3
"""The systemd units: valid, hardened, and with users that systemd-sysusers makes."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path[:0] = [os.path.dirname(__file__)]

from tap import Skip, equal, run  # noqa: E402

BUILT = os.path.join(os.environ.get("O", "build"), "systemd")
EXPOSURE_LIMIT = 15  # tenths


def tool(name):
    if not shutil.which(name):
        raise Skip(f"no {name}")
    return name


def call(*command):
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    return r.returncode, r.stdout


def units_are_valid():
    folder = tempfile.mkdtemp()
    try:
        for unit in ("gazed.service", "gazed.socket"):
            with open(os.path.join(BUILT, unit)) as f:
                text = f.read()
            assert "dir@" not in text, "a place holder is left"
            # The program need not be installed here.
            text = re.sub("(?m)^ExecStart=.*", "ExecStart=/bin/true", text)
            with open(os.path.join(folder, unit), "w") as f:
                f.write(text)
        equal(call(tool("systemd-analyze"), "verify", "--man=no", os.path.join(folder, "gazed.service"),
                   os.path.join(folder, "gazed.socket")), (0, ""))
    finally:
        shutil.rmtree(folder)


def exposure_is_low():
    unit = os.path.join(BUILT, "gazed.service")
    code, text = call(tool("systemd-analyze"), "security", "--offline=yes", "--no-pager",
                      f"--threshold={EXPOSURE_LIMIT}", unit)
    if "unrecognized option" in text:
        raise Skip("systemd-analyze is too old")
    equal((code, text.strip().split("\n")[-1][:2] if code else ""), (0, ""))


def traps_are_avoided():
    with open(os.path.join(BUILT, "gazed.service")) as f:
        lines = [line.strip() for line in f if not line.startswith("#")]
    for bad in ("PrivateNetwork=yes", "PrivateUsers=yes", "DynamicUser=yes", "MemoryDenyWriteExecute=yes",
                "ProcSubset=pid", "PrivateDevices=yes", "Type=notify-reload", "RuntimeDirectory=gazed"):
        assert bad not in lines, bad
    for good in ("RestrictAddressFamilies=AF_UNIX AF_NETLINK", "IPAddressDeny=any", "LimitCORE=0", "Type=notify",
                 "After=modprobe@videodev.service modprobe@drm.service"):
        assert good in lines, good


def users_can_be_made():
    root = tempfile.mkdtemp()
    try:
        os.makedirs(os.path.join(root, "etc"))
        for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
                           ("group", "root:x:0:\nvideo:x:44:\nrender:x:106:\n")):
            with open(os.path.join(root, "etc", name), "w") as f:
                f.write(text)
        code, text = call(tool("systemd-sysusers"), f"--root={root}", os.path.abspath("systemd/sysusers.d/gazed.conf"))
        equal(code, 0)
        with open(os.path.join(root, "etc", "group")) as f:
            groups = {line.split(":")[0]: line.strip().split(":")[3] for line in f}
        for name in ("gaze", "video", "render"):
            equal((name, groups[name]), (name, "gazed"))
    finally:
        shutil.rmtree(root)


def rules_are_valid():
    token = re.compile(r'(ACTION|SUBSYSTEM|KERNEL|GOTO|LABEL|GROUP|MODE|TAG|ENV\{\w+\})(==|!=|\+=|=)"([^"]*)"$')
    gone_to, labels = set(), set()
    with open("udev/70-gazed.rules") as f:
        rules = [line.strip() for line in f if line.strip() and not line.startswith("#")]
    for rule in rules:
        for part in rule.split(", "):
            m = token.match(part)
            assert m, part
            key, operator, value = m.groups()
            assert (operator in ("==", "!=")) == (key in ("ACTION", "SUBSYSTEM", "KERNEL") or key.startswith("ENV")), part
            {"GOTO": gone_to, "LABEL": labels}.get(key, set()).add(value)
    equal(gone_to, labels)
    if shutil.which("udevadm"):  # since systemd 254
        code, text = call("udevadm", "verify", "udev/70-gazed.rules")
        assert code == 0 or "nknown command" in text, text


run([units_are_valid, exposure_is_low, traps_are_avoided, users_can_be_made, rules_are_valid])
