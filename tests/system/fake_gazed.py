"""A server for client tests, made of the golden bytes: it says what it is told to, right or wrong."""
import os
import socket
import struct
import tempfile
import threading

GOLDEN = os.path.join("tests", "wire", "golden")
HELLO, SUBSCRIBE, UNSUBSCRIBE, GET_STATUS, PING, BYE = 1, 3, 5, 7, 10, 12


def golden(name, serial=None):
    with open(os.path.join(GOLDEN, name + ".bin"), "rb") as f:
        frame = bytearray(f.read())
    if serial is not None:
        struct.pack_into("<I", frame, 8, serial)
    return bytes(frame)


def error(code, serial, text=b"refused"):
    return struct.pack("<IHHIIHH128s", 148, 9, 0, serial, 0, code, 0, text)


class FakeGazed:
    """Listens on `path`. answers: {type: function(serial, payload) -> bytes, or None to close}; those not given answer as
    gazed does. `pushes` follow a SUBSCRIBE. `slice_` sends in pieces of so many bytes."""

    def __init__(self, answers=None, pushes=(), slice_=0, close_after_push=False):
        self.folder = tempfile.TemporaryDirectory(prefix="gazed-test-")
        self.path = os.path.join(self.folder.name, "gazed.sock")
        self.requests = []  # (type, serial, payload)
        self.answers = {
            HELLO: lambda serial, _: golden("welcome", serial),
            SUBSCRIBE: lambda serial, p: golden("subscribed", serial)[:16] + p,
            UNSUBSCRIBE: lambda serial, _: golden("subscribed", serial)[:16] + bytes(16),
            GET_STATUS: lambda serial, p: golden("status_json" if p[0] else "status", serial),
            PING: lambda serial, p: struct.pack("<IHHII", 32, 11, 0, serial, 0) + p + struct.pack("<Q", 5),
            **(answers or {}),
        }
        self.pushes, self.slice, self.close_after_push = pushes, slice_, close_after_push
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
        self.folder.cleanup()

    def _run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._guarded, args=(client,), daemon=True).start()

    def _guarded(self, client):
        with client:
            try:
                self._serve(client)
            except OSError:
                pass

    def _send(self, client, data):
        step = self.slice or len(data) or 1
        for at in range(0, len(data), step):
            client.sendall(data[at:at + step])

    def _serve(self, client):
        buffer = b""
        while True:
            data = client.recv(4096)
            if not data:
                return
            buffer += data
            while len(buffer) >= 16:
                size, type_, _, serial, _ = struct.unpack_from("<IHHII", buffer)
                if len(buffer) < size:
                    break
                payload, buffer = buffer[16:size], buffer[size:]
                self.requests.append((type_, serial, payload))
                reply = self.answers[type_](serial, payload)
                if reply is None:
                    return
                self._send(client, reply)
                if type_ == SUBSCRIBE:
                    for push in self.pushes:
                        self._send(client, push)
                    if self.close_after_push:
                        return
