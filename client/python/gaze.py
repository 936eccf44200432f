"""Gaze and faces from gazed. Pure Python 3.9+, standard library only, one file.

    import gaze

    with gaze.connect() as g:
        print(g.status().state)
        for result in g.results(rate_hz=10):
            for face in result.faces:
                print(face.id, face.yaw, face.pitch, face.sigma)

Angles are degrees: yaw > 0 looks toward the image's left, pitch > 0 up, (0, 0) straight into the camera. Pixels are
those of the camera frame, positions are millimetres (x right, y down, z forward), times CLOCK_MONOTONIC nanoseconds. What
was not measured is None. With asyncio, watch fileno() and call process(). docs/PROTOCOL.md has the bytes.
"""

from __future__ import annotations

import collections
import dataclasses
import errno
import json
import math
import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Deque, Dict, Iterator, List, Optional, Tuple, Union

DEFAULT_SOCKET = "/run/gazed/gazed.sock"
MAJOR, MINOR = 1, 0
HEADER_SIZE, IN_MAX, OUT_MAX = 16, 256, 65536
FACES_MAX, LANDMARKS_MAX, AUS_MAX, ZONES_MAX = 16, 78, 32, 8
RATE_MAX_HZ = 1000.0
PENDING_MAX = 64  # pushed messages that wait for next(); the oldest give way

HELLO, WELCOME, SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBE, RESULT = 1, 2, 3, 4, 5, 6
GET_STATUS, STATUS, ERROR, PING, PONG, BYE = 7, 8, 9, 10, 11, 12
FLAG_JSON = 1
TOPIC_RESULTS, TOPIC_STATUS = 1, 2
FIELD_LANDMARKS, FIELD_AUS, FIELD_ZONES = 1, 2, 4
FACE_GAZE, FACE_HEAD, FACE_BLINK, FACE_SCREEN, FACE_CALIBRATED = 1, 2, 4, 8, 16

STATES = ("starting", "waiting-for-camera", "running", "paused", "degraded")
DEVICE_KINDS = ("none", "npu", "gpu", "cpu", "reference", "simulator")

_HEADER = struct.Struct("<IHHII")
_HELLO = struct.Struct("<HH4x32s")
_WELCOME = struct.Struct("<HHIIHHII32s32s")
_SUBSCRIBE = struct.Struct("<IIIH2x")
_ERROR = struct.Struct("<HH128s")
_BYE = struct.Struct("<H2x128s")
_STATUS = struct.Struct("<HHIHHIIIQQQII64s32s64s32s128s128s128s")
_RESULT = struct.Struct("<HHIQQQIIHHB3x32s")
_FACE = struct.Struct("<HHHBBII26f")
_AU = struct.Struct("<HBxf")
_ZONE = struct.Struct("<II")


class GazeError(Exception):
    """Base of what this module raises, besides OSError from connecting and ValueError for wrong arguments."""


class ProtocolError(GazeError):
    """Bytes that are no gaze wire, or another major version of it."""


class ConnectionLost(GazeError):
    """The server closed the connection; the text says why if it said so."""


class Refused(GazeError):
    """The server refused a request. `code` is that of docs/PROTOCOL.md."""

    def __init__(self, code: int, text: str):
        super().__init__(f"{text} (error {code})")
        self.code = code


@dataclass(frozen=True)
class Zone:
    id: int
    dwell_ms: int


@dataclass(frozen=True)
class Face:
    id: int
    score: float
    box: Tuple[float, float, float, float]  # x, y, width, height
    quality: float
    origin_mm: Optional[Tuple[float, float, float]] = None
    gaze: Optional[Tuple[float, float, float]] = None  # unit vector
    yaw: Optional[float] = None
    pitch: Optional[float] = None
    raw_yaw: Optional[float] = None  # unfiltered
    raw_pitch: Optional[float] = None
    norm_yaw: Optional[float] = None  # in the normalised camera's frame
    norm_pitch: Optional[float] = None
    sigma: Optional[float] = None  # expected error in degrees
    head_yaw: Optional[float] = None
    head_pitch: Optional[float] = None
    head_roll: Optional[float] = None
    blink_left: Optional[float] = None
    blink_right: Optional[float] = None
    screen: Optional[Tuple[float, float]] = None  # (0,0) upper left, (1,1) lower right
    calibrated: bool = False
    landmarks: List[Tuple[float, float]] = field(default_factory=list)
    aus: Dict[str, float] = field(default_factory=dict)  # {"AU12L": 2.0}, L and R where FACS has sides
    zones: List[Zone] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    seq: int
    capture_ns: int
    publish_ns: int
    dropped: int  # results this client did not get since the one before
    camera: int
    frame: Tuple[int, int]
    device_kind: str
    device: str
    faces: List[Face]

    def asdict(self) -> dict:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Status:
    state: str
    text: str
    source: str
    format: str
    frame: Tuple[int, int]
    fps: float
    device_kind: str
    device: str
    tier: str
    why: str  # why no better device is used
    models: str
    worker_pid: int
    worker_restarts: int
    clients: int
    frames: int
    dropped: int
    uptime_ns: int
    latency_p50_us: int
    latency_p99_us: int

    def asdict(self) -> dict:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Welcome:
    major: int
    minor: int
    in_max: int
    out_max: int
    faces_max: int
    requests_hz: int
    topics: int
    fields: int
    server: str
    version: str


@dataclass(frozen=True)
class Subscribed:
    topics: int
    fields: int
    rate_hz: float
    json: bool


@dataclass(frozen=True)
class ErrorMessage:
    code: int
    type: int
    text: str


@dataclass(frozen=True)
class Pong:
    cookie: int
    time_ns: int


@dataclass(frozen=True)
class Bye:
    reason: int
    text: str


Message = Union[Result, Status, Welcome, Subscribed, ErrorMessage, Pong, Bye, dict, None]


def _text(raw: bytes) -> str:
    end = raw.find(b"\0")
    if end < 0:
        raise ProtocolError("text without an end")
    try:
        return raw[:end].decode("utf-8")
    except UnicodeDecodeError as e:
        raise ProtocolError("text is not UTF-8") from e


def _name(names: Tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else "unknown"


def _unpack(layout: struct.Struct, payload: bytes, at: int = 0) -> tuple:
    if at + layout.size > len(payload):
        raise ProtocolError("message too short")
    return layout.unpack_from(payload, at)


def _decode_face(p: bytes, at: int, fields: int) -> Tuple[Face, int]:
    """The face record at `at` and the offset behind it."""
    size, fixed, landmarks, aus, zones, id_, flags, *f = _unpack(_FACE, p, at)
    known = landmarks <= LANDMARKS_MAX and aus <= AUS_MAX and zones <= ZONES_MAX
    arrays = 4 * landmarks + _AU.size * aus + _ZONE.size * zones
    if not known or fixed < _FACE.size or size < fixed + arrays or at + size > len(p):
        raise ProtocolError("face record is inconsistent")
    if not all(map(math.isfinite, f)):
        raise ProtocolError("a number is not finite")
    (score, x, y, w, h, ox, oy, oz, gx, gy, gz, yaw, pitch, raw_yaw, raw_pitch, norm_yaw, norm_pitch, sigma) = f[:18]
    head_yaw, head_pitch, head_roll, blink_left, blink_right, quality, screen_x, screen_y = f[18:]
    here = at + fixed
    v = struct.unpack_from(f"<{2 * landmarks}h", p, here)
    points = [(x + v[i] / 8.0, y + v[i + 1] / 8.0) for i in range(0, 2 * landmarks, 2)]
    here += 4 * landmarks
    au_values = {}
    for i in range(aus):
        au, side, intensity = _AU.unpack_from(p, here + i * _AU.size)
        au_values[f"AU{au}" + ("", "L", "R")[side if side < 3 else 0]] = intensity
    here += aus * _AU.size
    zone_list = [Zone(*_ZONE.unpack_from(p, here + i * _ZONE.size)) for i in range(zones)]
    values: dict = {}
    if flags & FACE_GAZE:
        values.update(gaze=(gx, gy, gz), yaw=yaw, pitch=pitch, raw_yaw=raw_yaw, raw_pitch=raw_pitch,
                      norm_yaw=norm_yaw, norm_pitch=norm_pitch, sigma=sigma)
    if flags & FACE_HEAD:
        values.update(origin_mm=(ox, oy, oz), head_yaw=head_yaw, head_pitch=head_pitch, head_roll=head_roll)
    if flags & FACE_BLINK:
        values.update(blink_left=blink_left, blink_right=blink_right)
    if flags & FACE_SCREEN:
        values.update(screen=(screen_x, screen_y))
    return Face(id=id_, score=score, box=(x, y, w, h), quality=quality, calibrated=bool(flags & FACE_CALIBRATED),
                landmarks=points, aus=au_values, zones=zone_list, **values), at + size


def _decode_result(p: bytes) -> Result:
    (fixed, faces, fields, seq, capture, publish, dropped, camera, width, height, kind, device) = _unpack(_RESULT, p)
    if fixed < _RESULT.size or faces > FACES_MAX:
        raise ProtocolError("result is inconsistent")
    out, at = [], fixed
    for _ in range(faces):
        face, at = _decode_face(p, at, fields)
        out.append(face)
    return Result(seq, capture, publish, dropped, camera, (width, height), _name(DEVICE_KINDS, kind), _text(device),
                  out)


def _decode_status(p: bytes) -> Status:
    (state, kind, fps, width, height, pid, restarts, clients, frames, dropped, uptime, p50, p99, *texts) = \
        _unpack(_STATUS, p)
    source, format_, device, tier, models, text, why = map(_text, texts)
    return Status(state=_name(STATES, state), text=text, source=source, format=format_, frame=(width, height),
                  fps=fps / 1000.0, device_kind=_name(DEVICE_KINDS, kind), device=device, tier=tier, why=why,
                  models=models, worker_pid=pid, worker_restarts=restarts, clients=clients, frames=frames,
                  dropped=dropped, uptime_ns=uptime, latency_p50_us=p50, latency_p99_us=p99)


def decode(frame: bytes) -> Tuple[int, int, Message]:
    """One whole frame from the server: (type, serial, message). The message is None for a type of a newer minor, a dict
    if it came as JSON. Raises ProtocolError."""
    size, type_, flags, serial, zero = _unpack(_HEADER, frame)
    if size != len(frame) or zero != 0 or size > OUT_MAX:
        raise ProtocolError("header is inconsistent")
    p = frame[HEADER_SIZE:]
    if type_ in (RESULT, STATUS) and flags & FLAG_JSON:
        try:
            return type_, serial, json.loads(p)
        except ValueError as e:
            raise ProtocolError("text is not JSON") from e
    if type_ == RESULT:
        return type_, serial, _decode_result(p)
    if type_ == STATUS:
        return type_, serial, _decode_status(p)
    if type_ == WELCOME:
        *numbers, server, version = _unpack(_WELCOME, p)
        return type_, serial, Welcome(*numbers, _text(server), _text(version))
    if type_ == SUBSCRIBED:
        topics, fields, rate_mhz, encoding = _unpack(_SUBSCRIBE, p)
        return type_, serial, Subscribed(topics, fields, rate_mhz / 1000.0, encoding == 1)
    if type_ == ERROR:
        code, about, text = _unpack(_ERROR, p)
        return type_, serial, ErrorMessage(code, about, _text(text))
    if type_ == PONG:
        return type_, serial, Pong(*_unpack(struct.Struct("<QQ"), p))
    if type_ == BYE:
        reason, text = _unpack(_BYE, p)
        return type_, serial, Bye(reason, _text(text))
    return type_, serial, None


def encode(type_: int, serial: int, payload: bytes = b"") -> bytes:
    """A frame for the server."""
    return _HEADER.pack(HEADER_SIZE + len(payload), type_, 0, serial, 0) + payload


def _field_bytes(text: str, size: int) -> bytes:
    """UTF-8 cut at a whole character to leave room for the NUL, control characters replaced."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean.encode("utf-8", "replace")[: size - 1].decode("utf-8", "ignore").encode("utf-8")


def encode_hello(serial: int, name: str) -> bytes:
    return encode(HELLO, serial, _HELLO.pack(MAJOR, MINOR, _field_bytes(name, 32)))


def encode_subscribe(serial: int, topics: int, fields: int = 0, rate_hz: float = 0.0, as_json: bool = False) -> bytes:
    if not 0 <= rate_hz <= RATE_MAX_HZ:
        raise ValueError(f"rate_hz is not in 0..{RATE_MAX_HZ:g}")
    return encode(SUBSCRIBE, serial, _SUBSCRIBE.pack(topics, fields, math.ceil(rate_hz * 1000), int(as_json)))


class Client:
    """One connection; see connect(). Not for use by several threads at once."""

    def __init__(self, path: Optional[str] = None, name: str = "gaze.py", timeout: float = 2.0):
        self.path = path or os.environ.get("GAZED_SOCKET") or DEFAULT_SOCKET
        self._buffer = bytearray()
        self._pending: Deque[Message] = collections.deque(maxlen=PENDING_MAX)
        self._serial = 0
        self._lost: Optional[GazeError] = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect(timeout)
            self.welcome = self._request(Welcome, lambda serial: encode_hello(serial, name), timeout)
            if self.welcome.major != MAJOR:
                raise ProtocolError(f"the server speaks version {self.welcome.major}, not {MAJOR}")
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        self._socket.settimeout(timeout)
        while True:
            try:
                return self._socket.connect(self.path)
            except BlockingIOError:  # the server's backlog is full
                if time.monotonic() >= deadline:
                    raise TimeoutError("the server does not take the connection") from None
                time.sleep(0.01)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *args) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """For select, poll and asyncio's add_reader(): readable means call process(). Call it once after subscribe() too:
        messages may have come with the reply."""
        return self._socket.fileno()

    def subscribe(self, results: bool = True, status: bool = False, landmarks: bool = False, aus: bool = False,
                  zones: bool = False, rate_hz: float = 0.0, as_json: bool = False, timeout: float = 3.0) -> Subscribed:
        """Replaces the subscription; returns what the server grants. as_json: messages come as dicts that the server
        made, in the form of gaze-analyze. Raises Refused, TimeoutError, ConnectionLost, ValueError."""
        topics = TOPIC_RESULTS * results | TOPIC_STATUS * status
        fields = FIELD_LANDMARKS * landmarks | FIELD_AUS * aus | FIELD_ZONES * zones
        if not topics:
            raise ValueError("nothing to subscribe to; see unsubscribe()")
        return self._request(Subscribed, lambda s: encode_subscribe(s, topics, fields, rate_hz, as_json), timeout)

    def unsubscribe(self, timeout: float = 3.0) -> Subscribed:
        """Ends all subscriptions; the connection stays."""
        topics = struct.pack("<I", TOPIC_RESULTS | TOPIC_STATUS)
        return self._request(Subscribed, lambda s: encode(UNSUBSCRIBE, s, topics), timeout)

    def status(self, timeout: float = 3.0) -> Status:
        return self._request(Status, lambda s: encode(GET_STATUS, s, struct.pack("<H2x", 0)), timeout)

    def ping(self, timeout: float = 3.0) -> Pong:
        cookie = struct.pack("<Q", time.monotonic_ns())
        return self._request(Pong, lambda s: encode(PING, s, cookie), timeout)

    def results(self, timeout: Optional[float] = None, **options) -> Iterator[Union[Result, dict]]:
        """Subscribes with the options of subscribe() and yields results for ever, or until `timeout` seconds pass
        without one (then TimeoutError)."""
        self.subscribe(**options)
        while True:
            deadline = None if timeout is None else time.monotonic() + timeout
            message = None
            while not (isinstance(message, Result) or (isinstance(message, dict) and "seq" in message)):
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                message = self.next(left)
                if message is None:
                    raise TimeoutError("no result in time")
            yield message

    def next(self, timeout: Optional[float] = None) -> Optional[Message]:
        """The next pushed message (Result, Status or dict), None after `timeout` seconds. Raises Refused if the server
        complains about no request in particular, ConnectionLost."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._pending:
            if not self._wait(deadline):
                return None
            self._receive(None)
        return self._pending.popleft()

    def process(self) -> List[Message]:
        """Reads what is there without waiting; returns the pushed messages. Raises ConnectionLost when they are out."""
        if not self._pending and self._wait(time.monotonic()):
            self._receive(None)
        pending = list(self._pending)
        self._pending.clear()
        return pending

    def _wait(self, deadline: Optional[float]) -> bool:
        if self._lost:
            raise self._lost
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        left = None if deadline is None else max(0, math.ceil((deadline - time.monotonic()) * 1000))
        return bool(poller.poll(left))

    def _request(self, kind: type, make, timeout: float):
        """Sends make(serial) and returns the reply with that serial, a `kind`. Pushed messages meanwhile are kept for next()."""
        self._serial = self._serial % 0xFFFFFFFF + 1
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(make(self._serial))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server's last words are still to be read
        except socket.timeout:
            raise TimeoutError("the server does not read") from None
        deadline = time.monotonic() + timeout
        while True:
            if not self._wait(deadline):
                raise TimeoutError("the server does not answer")
            reply = self._receive(self._serial)
            if reply is not None and not isinstance(reply, kind):
                self._lost = ProtocolError(f"a {type(reply).__name__} came where a {kind.__name__} was due")
            elif reply is not None:
                return reply

    def _receive(self, serial: Optional[int]) -> Message:
        """One read. Returns the reply with `serial` if it is in; pushed messages go to _pending, a loss to _lost (it is
        raised when they are out), a refusal is raised."""
        try:
            data = self._socket.recv(OUT_MAX, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as e:
            if e.errno != errno.ECONNRESET:
                raise
            data = b""
        if not data:
            self._lost = self._lost or ConnectionLost("the server closed the connection")
        self._buffer += data
        reply: Message = None
        refused: Optional[Refused] = None
        try:
            for frame in self._frames():
                _, its, message = decode(frame)
                if isinstance(message, ErrorMessage) and its in (0, serial):
                    refused = refused or Refused(message.code, message.text)
                elif isinstance(message, Bye):
                    self._lost = ConnectionLost(message.text or "the server said goodbye")
                elif its == 0 and isinstance(message, (Result, Status, dict)):
                    self._pending.append(message)
                elif its == serial:
                    reply = message
        except ProtocolError as e:
            self._lost = e
        if refused:
            raise refused
        return reply

    def _frames(self) -> Iterator[bytes]:
        while len(self._buffer) >= HEADER_SIZE:
            size = int.from_bytes(self._buffer[:4], "little")
            if not HEADER_SIZE <= size <= OUT_MAX:
                raise ProtocolError("the bytes are no gaze wire")
            if len(self._buffer) < size:
                return
            frame = bytes(self._buffer[:size])
            del self._buffer[:size]
            yield frame


def connect(path: Optional[str] = None, name: str = "gaze.py", timeout: float = 2.0) -> Client:
    """Connects to gazed. path: None takes $GAZED_SOCKET or /run/gazed/gazed.sock. name: of the program, for gazed's
    log. Raises FileNotFoundError or ConnectionRefusedError (not running), PermissionError (not in group gaze), TimeoutError,
    Refused (too many clients), ProtocolError."""
    return Client(path, name, timeout)
