"""A stand-in for WeCom: its rules over real HTTP, faults on demand, and a page like the group.

The rules are those of WeCom document 91770, the errcodes those of 90313, checked in the order
path, key, rate, JSON, msgtype, content. Errors come with HTTP 200, as WeCom's do.
"""

import base64
import hashlib
import json
import random
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

from flask import Flask, Response, jsonify, render_template, request
from markupsafe import Markup
from werkzeug.datastructures import FileStorage
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from bridge.model import Message
from bridge.preview import items, pick, to_html

SEND = "/cgi-bin/webhook/send"
UPLOAD = "/cgi-bin/webhook/upload_media"
MINUTE = 60.0  # seconds: the rate's window, the block after it, and how long `hang` hangs
RETRY_AFTER = 5  # seconds, what the fault `429` asks for
MEDIA_LIFE = 3 * 86400.0  # seconds
KEPT = 50_000  # calls, and messages of one robot
SHOWN = 100  # messages of one robot on the page
CUT = 444  # nginx's status for closing a connection without an answer

Body = Mapping[str, Any]
Reply = tuple[int, str]  # errcode, and errmsg without its tail
Rule = tuple[Callable[[Body], bool], int, str]  # what breaks it, errcode, errmsg
Taken = tuple[Reply | None, str]  # None where WeCom does not answer; the fault met, or ''

OK: Reply = (0, "ok")
UNKNOWN_KEY = {SEND: (93000, "invalid webhook url"), UPLOAD: (40058, "invalid param 'key'")}
OVER_RATE = (45009, "api freq out of limit")
NOT_JSON = (40008, "Warning: wrong json format. invalid message type")
NO_MSGTYPE = (40008, "invalid message type")
UNKNOWN_MEDIA = (40007, "invalid media_id")
EMPTY, BAD = "empty content", "invalid Request Parameter"

# The HTTP status in place of a reply. `lost` and `warning` come after WeCom has decided.
STATUS = {"502": 502, "429": 429, "html": 200, "reset": CUT, "hang": CUT, "lost": CUT}
AFTERWARDS = ("lost", "warning")
ERRMSGS = {
    -1: "system busy",
    45009: "api freq out of limit",
    45033: "api concurrent out of limit",
    93000: "invalid webhook url",
    93004: "robot disabled",
    93008: "robot not in group",
}


def _is_empty(body: Body) -> bool:
    return not pick(body, "content").strip()


def _calls_nobody(body: Body) -> bool:
    return not items(body, "mentioned_list") and not items(body, "mentioned_mobile_list")


def _longer(msgtype: str, size: int) -> Rule:
    errmsg = f"{msgtype}.content exceed max length {size}. {BAD}"
    return lambda body: len(pick(body, "content").encode()) > size, 40058, errmsg


def _raw(body: Body) -> bytes:
    try:
        return base64.b64decode(pick(body, "base64"), validate=True)
    except ValueError:
        return b""


def _is_neither_jpg_nor_png(body: Body) -> bool:
    return not _raw(body).startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


def _article_lacks(key: str) -> Callable[[Body], bool]:
    return lambda body: not all(pick(article, key) for article in items(body, "articles"))


def _lacks_title(card: Body) -> bool:
    if pick(card, "card_type") == "text_notice":
        return not pick(card, "main_title", "title") and not pick(card, "sub_title_text")
    return not pick(card, "main_title", "title") or not pick(card, "card_image", "url")


def _lacks_url(link: Any) -> bool:
    return not isinstance(link, Mapping) or (link.get("type") == 1 and not pick(link, "url"))


def _has_bad_links(card: Body) -> bool:
    rows, jumps = items(card, "horizontal_content_list"), items(card, "jump_list")
    nameless = [row for row in rows if not pick(row, "keyname")]
    nameless += [jump for jump in jumps if not pick(jump, "title")]
    return len(rows) > 6 or len(jumps) > 3 or bool(nameless) or any(map(_lacks_url, rows + jumps))


def _lacks_action(card: Body) -> bool:
    action = card.get("card_action")
    return not isinstance(action, Mapping) or action.get("type") != 1 or _lacks_url(action)


RULES: Mapping[str, tuple[Rule, ...]] = {
    "text": (
        (lambda body: _is_empty(body) and _calls_nobody(body), 44004, EMPTY),
        _longer("text", 2048),
    ),
    "markdown": ((_is_empty, 44004, EMPTY), _longer("markdown", 4096)),
    "markdown_v2": ((_is_empty, 44004, EMPTY), _longer("markdown_v2", 4096)),
    "image": (
        (lambda body: not pick(body, "base64"), 44004, EMPTY),
        (lambda body: not _raw(body), 301019, "media md5 not match"),
        (lambda body: hashlib.md5(_raw(body)).hexdigest() != pick(body, "md5"), 301019,
         "media md5 not match"),
        (lambda body: len(_raw(body)) > 2 << 20, 40009, "invalid image size"),
        (_is_neither_jpg_nor_png, 40004, "invalid media type"),
    ),
    "news": (
        (lambda body: not items(body, "articles"), 44004, EMPTY),
        (lambda body: len(items(body, "articles")) > 8, 45008, "article size out of limit"),
        (_article_lacks("title"), 41016, "missing title"),
        (_article_lacks("url"), 40058, BAD),
    ),
    "file": ((lambda body: not pick(body, "media_id"), 41006, "media_id missing"),),
    "template_card": (
        (lambda card: pick(card, "card_type") not in ("text_notice", "news_notice"), 40058, BAD),
        (_lacks_title, 40058, BAD),
        (_lacks_action, 40058, BAD),
        (_has_bad_links, 40058, BAD),
    ),
}  # fmt: skip


def judge(payload: object, media: Container[str]) -> Reply:
    """Return WeCom's reply to a message by its content alone; `media` are the ids it may name."""
    if not isinstance(payload, dict):
        return NOT_JSON
    msgtype = pick(payload, "msgtype")
    if msgtype not in RULES:
        return NO_MSGTYPE
    body = payload.get(msgtype)
    body = body if isinstance(body, dict) else {}
    for breaks, errcode, errmsg in RULES[msgtype]:
        if breaks(body):
            return errcode, errmsg
    return UNKNOWN_MEDIA if msgtype == "file" and body["media_id"] not in media else OK


def judge_upload(part: FileStorage | None, size: int) -> Reply:
    """Return WeCom's reply to the `media` part, of `size` bytes, of an upload."""
    # WeCom does not read the filename*= form of RFC 2231.
    if part is None or 'filename="' not in part.headers.get("Content-Disposition", ""):
        return 44001, "empty media data"
    if size <= 5:
        return 40006, "invalid media size"
    return (45001, "media size out of limit") if size > 20 << 20 else OK


@dataclass(frozen=True)
class Call:
    """One call as it came: `at` in epoch seconds, `errcode` None where WeCom did not answer."""

    at: float
    key: str
    path: str
    msgtype: str
    payload: Any
    errcode: int | None


@dataclass
class Robot:
    """One group robot; the sandbox's lock guards it. `media` is id → (filename, expiry)."""

    key: str
    name: str
    faults: deque[str] = field(default_factory=deque)
    always: str = ""
    hits: deque[float] = field(default_factory=deque)
    blocked_until: float = 0.0
    media: dict[str, tuple[str, float]] = field(default_factory=dict)
    messages: deque[Call] = field(default_factory=lambda: deque(maxlen=KEPT))
    trouble: str = ""  # why the last call that was not accepted was not

    def next_fault(self) -> str:
        """Use up and return the fault that the next call meets, '' for none."""
        return self.faults.popleft() if self.faults else self.always

    def is_over(self, rate: int, window: str, now: float) -> bool:
        """Tell whether the robot is blocked at `now`, or is from now on for its many hits."""
        while self.hits and _is_past(self.hits[0], window, now):
            self.hits.popleft()
        if now >= self.blocked_until and len(self.hits) >= rate:
            self.blocked_until = now + MINUTE
        return now < self.blocked_until


def _is_past(hit: float, window: str, now: float) -> bool:
    return now - hit >= MINUTE if window == "sliding" else hit // MINUTE < now // MINUTE


class Sandbox:
    """The state of a stand-in for WeCom, for any number of threads.

    `keys` gives each known key its display name; without it, any key that does not begin with
    `unknown` becomes a robot. `rate` is in messages per 60 s, None for no limit; the `window`
    slides or begins with the clock's minute, and refused calls fill it too if `count_refused`.
    `latency` is in seconds, `clock` gives epoch seconds. Setting `released` ends every waiting,
    of hanging and of slow calls.
    """

    def __init__(
        self,
        keys: Mapping[str, str] | None = None,
        *,
        rate: int | None = 20,
        window: Literal["sliding", "minute"] = "sliding",
        count_refused: bool = False,
        latency: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.robots = {key: Robot(key, name) for key, name in (keys or {}).items()}
        self.calls: deque[Call] = deque(maxlen=KEPT)
        self.released = threading.Event()
        self.latency = latency
        self.clock = clock
        self._takes_any_key = not keys
        self._rate = rate
        self._window = window
        self._count_refused = count_refused
        self._lock = threading.Lock()
        self._run = random.randbytes(8).hex()
        self._received = 0

    @property
    def version(self) -> str:
        """A word that changes with every call."""
        return f"{self._run}-{self._received}"

    def fault(self, key: str, fault: str | int, times: int = 1, always: bool = False) -> None:
        """Let the robot's next calls, or all of them from now on, meet a fault.

        It is busy, 502, 429, reset, hang, lost, html, warning, or any errcode but 0. Raises
        ValueError for anything else, and for a key that is not known.
        """
        word = "-1" if fault == "busy" else str(fault)
        if word not in {*STATUS, *AFTERWARDS} and not re.fullmatch(r"-?[1-9][0-9]{0,8}", word):
            raise ValueError(f"unknown fault: {word}")
        with self._lock:
            robot = self._robot(key)
            if robot is None:
                raise ValueError(f"unknown key: {key}")
            if always:
                robot.always = word
            else:
                robot.faults.extend([word] * times)

    def clear_faults(self) -> None:
        """Forget every fault that has not been met yet."""
        with self._lock:
            for robot in self.robots.values():
                robot.faults.clear()
                robot.always = ""

    def messages(self, key: str | None = None) -> list[Call]:
        """Return the accepted messages of one robot or of all, oldest first."""
        with self._lock:
            robots = [robot for robot in self.robots.values() if key in (None, robot.key)]
            accepted = [call for robot in robots for call in robot.messages]
        return sorted(accepted, key=lambda call: call.at)

    def send(self, key: str, raw: bytes) -> Taken:
        """Take a message as raw JSON."""
        payload = _parse(raw)
        with self._lock:
            return self._take(
                key, SEND, payload, lambda robot, now: self._judge(robot, payload, now)
            )

    def upload(self, key: str, part: FileStorage | None) -> tuple[Taken, str]:
        """Take the `media` part of an upload; return its media_id too."""
        size = len(part.read()) if part else 0
        filename = str(part.filename) if part else ""
        payload = {"filename": filename, "size": size}
        media_id = "3" + random.randbytes(32).hex()
        with self._lock:
            taken = self._take(key, UPLOAD, payload, lambda *_: judge_upload(part, size))
            if taken[0] == OK:
                self.robots[key].media[media_id] = (filename, self.clock() + MEDIA_LIFE)
        return taken, media_id

    def latest(self) -> list[tuple[Robot, list[Call]]]:
        """Return each robot with its last accepted messages, oldest first."""
        with self._lock:
            return [(robot, [*robot.messages][-SHOWN:]) for robot in self.robots.values()]

    def _robot(self, key: str) -> Robot | None:
        if self._takes_any_key and key and not key.startswith("unknown"):
            self.robots.setdefault(key, Robot(key, key))
        return self.robots.get(key)

    def _take(
        self, key: str, path: str, payload: Any, judged: Callable[[Robot, float], Reply]
    ) -> Taken:
        now = self.clock()
        robot = self._robot(key)
        fault = robot.next_fault() if robot else ""
        reply: Reply | None = None
        if robot is None:
            reply = UNKNOWN_KEY[path]
        elif not fault or fault in AFTERWARDS:
            reply = judged(robot, now)
        elif fault not in STATUS:
            reply = (int(fault), ERRMSGS.get(int(fault), "fault"))
        call = Call(now, key, path, pick(payload, "msgtype"), payload, reply[0] if reply else None)
        self._keep(robot, call, f"{reply[0]} {reply[1]}" if reply else fault)
        return reply, fault

    def _judge(self, robot: Robot, payload: Any, now: float) -> Reply:
        if self._rate is not None and robot.is_over(self._rate, self._window, now):
            return OVER_RATE
        return judge(payload, {media for media, (_, until) in robot.media.items() if until > now})

    def _keep(self, robot: Robot | None, call: Call, outcome: str) -> None:
        self._received += 1
        self.calls.append(call)
        if robot is None:
            return
        if call.errcode != 0:
            robot.trouble = f"{_clock_time(call.at)} {outcome}"
        if call.path != SEND:
            return
        if call.errcode == 0 or (self._count_refused and call.errcode is not None):
            robot.hits.append(call.at)
        if call.errcode == 0:
            robot.messages.append(call)


def _parse(raw: bytes) -> Any:
    try:
        payload = json.loads(raw.decode())
        json.dumps(payload, ensure_ascii=False).encode()  # refuses a lone surrogate
    except (ValueError, RecursionError):
        return None
    return payload


def _clock_time(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _shown(robot: Robot, call: Call) -> dict[str, Any]:
    body = dict(call.payload[call.msgtype])
    if call.msgtype == "file":
        body["filename"], _ = robot.media[body["media_id"]]
    html = to_html(Message(call.msgtype, body))
    return {"at": _clock_time(call.at), "msgtype": call.msgtype, "html": Markup(html)}


def _reply(sandbox: Sandbox, taken: Taken, **more: str) -> Response:
    reply, fault = taken
    sandbox.released.wait(MINUTE if fault == "hang" else sandbox.latency)
    if reply is None or fault == "lost":
        status = STATUS[fault]
        headers = {"Retry-After": str(RETRY_AFTER)} if status == 429 else {}
        return Response(f"<html><body><h1>{status}</h1></body></html>", status, headers)
    errcode, errmsg = reply
    if errcode:
        return jsonify(errcode=errcode, errmsg=errmsg + _tail(errcode, sandbox.clock()))
    if fault == "warning":
        errmsg = "ok. Warning: wrong json format. "
    return jsonify(errcode=errcode, errmsg=errmsg, **more)


def _tail(errcode: int, now: float) -> str:
    hint = f"{int(now)}{random.randrange(10**15):015}"
    more = f"https://open.work.weixin.qq.com/devtool/query?e={errcode}"
    return f", hint: [{hint}], from ip: 127.0.0.1, more info at {more}"


def create_sandbox_app(sandbox: Sandbox) -> Flask:
    """Return the app that answers as WeCom does, with its page at `/` and `/sandbox/` to steer."""
    app = Flask(__name__, template_folder=".", static_folder=None)

    @app.post(SEND)
    def send() -> Response:
        return _reply(sandbox, sandbox.send(request.args.get("key", ""), request.get_data()))

    @app.post(UPLOAD)
    def upload() -> Response:
        part = request.files.get("media")
        taken, media_id = sandbox.upload(request.args.get("key", ""), part)
        created_at = str(int(sandbox.clock()))
        return _reply(sandbox, taken, type="file", media_id=media_id, created_at=created_at)

    @app.get("/sandbox/messages")
    def messages() -> Response:
        calls = sandbox.messages(request.args.get("key"))
        return jsonify([
            {
                "key": call.key,
                "name": sandbox.robots[call.key].name,
                "at": call.at,
                "msgtype": call.msgtype,
                "payload": call.payload,
            }
            for call in calls
        ])  # fmt: skip

    @app.post("/sandbox/faults")
    def set_fault() -> tuple[Response, int]:
        try:
            sandbox.fault(**json.loads(request.get_data()))
        except (TypeError, ValueError) as error:
            return jsonify(error=str(error)), 400
        return jsonify(status="set"), 200

    @app.delete("/sandbox/faults")
    def clear_faults() -> Response:
        sandbox.clear_faults()
        return jsonify(status="cleared")

    @app.get("/")
    def page() -> Response:
        if sandbox.version in request.if_none_match:
            return Response(status=304)
        version = sandbox.version
        groups = [
            (robot, [_shown(robot, call) for call in calls]) for robot, calls in sandbox.latest()
        ]
        response = Response(render_template("sandbox.html", groups=groups))
        response.set_etag(version)
        return response

    return app


class _Handler(WSGIRequestHandler):
    """HTTP/1.1 that keeps connections alive, as WeCom does and Werkzeug's own handler does not."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes; Nagle's algorithm would hold the second for 40 ms.
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        chunked = environ.get("wsgi.input_terminated")
        size = -1 if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        # Read whole, so that the next request on this connection begins where it should.
        environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(size))
        response = Response.from_app(self.server.app, environ, buffered=True)
        if response.status_code == CUT:
            self._reset()
            return
        self.send_response(response.status_code)
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.get_data())

    def _reset(self) -> None:
        # Closing a socket that lingers for 0 s sends a reset in place of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class _Server(ThreadedWSGIServer):
    """A server that remembers its open connections, so that closing it ends them as well."""

    def __init__(self, host: str, port: int, app: Flask) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(host, port, app, handler=_Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        self.close_request(request)  # without the shutdown that would forestall a reset


class Serving:
    """A sandbox at `url`, served by a thread until `close`; as a context it gives its url."""

    def __init__(self, sandbox: Sandbox, host: str, port: int) -> None:
        sandbox.released.clear()
        self._sandbox = sandbox
        self._server = _Server(host, port, create_sandbox_app(sandbox))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        self.url = f"http://{host}:{self._server.port}"

    @property
    def connections(self) -> list[socket.socket]:
        """The connections that are open now."""
        return [*self._server.connections]

    def wait(self) -> None:
        """Return once the server has ended."""
        self._thread.join()

    def close(self) -> None:
        """Let waiting calls go, stop listening, and end every connection."""
        self._sandbox.released.set()
        self._server.shutdown()
        self._thread.join()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> str:
        return self.url

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> Serving:
    """Serve a sandbox from a thread; port 0 takes a free one. Use: `with serve(box) as url:`."""
    return Serving(sandbox, host, port)
