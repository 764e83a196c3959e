"""The sandbox over HTTP: WeCom's two paths, Pgyer's API, a page, and `/sandbox/` to steer it."""

import json
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from itertools import chain, repeat
from pathlib import Path
from threading import Thread
from typing import Any
from weakref import WeakSet

import requests
from flask import Flask, Response, abort, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from werkzeug.serving import LISTEN_QUEUE, ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

from bridge.messages.html import to_html
from bridge.model import Message
from bridge.sandbox import pgyer
from bridge.sandbox.faults import ANSWERS, ERRMSGS, PAUSE, PGYER_ANSWERS, RESET
from bridge.sandbox.rules import MINUTE, SEND, UPLOAD, tail
from bridge.sandbox.state import Call, Robot, Sandbox

HANDLER = "sandbox.handler"  # where a request's environment holds the handler of its connection
STYLE = Path(__file__).parent.parent / "console/static/message.css"  # messages look alike in both
SHOWN = 100  # messages of one robot on the page


def create_sandbox_app(sandbox: Sandbox) -> Flask:
    """Return the app that answers as WeCom and Pgyer do, with its page at `/`."""
    app = Flask(__name__, template_folder=".", static_folder=None)
    style = STYLE.read_text(encoding="utf-8")

    @app.template_filter()
    def local_time(at: float) -> str:
        return datetime.fromtimestamp(at, pgyer.ZONE).strftime("%m-%d %H:%M:%S")

    @app.post(SEND)
    def send() -> Response:
        return _answer(sandbox, sandbox.send(request.args.get("key", ""), request.get_data()))

    @app.post(UPLOAD)
    def upload() -> Response:
        part = request.files.get("media")
        call, media_id = sandbox.upload(request.args.get("key", ""), part)
        created_at = str(int(call.at))
        return _answer(sandbox, call, type="file", media_id=media_id, created_at=created_at)

    _add_pgyer(app, sandbox)

    @app.get("/sandbox/messages")
    def messages() -> ResponseReturnValue:
        return [
            {"key": call.key, "name": sandbox.robots[call.key].name, "at": call.at,
             "msgtype": call.msgtype, "payload": call.payload}
            for call in sandbox.messages(request.args.get("key"))
        ]  # fmt: skip

    @app.post("/sandbox/faults")
    def set_fault() -> ResponseReturnValue:
        try:
            sandbox.fault(**json.loads(request.get_data()))
        except (TypeError, ValueError) as error:
            return {"error": str(error)}, 400
        return {"status": "set"}

    @app.delete("/sandbox/faults")
    def clear_faults() -> ResponseReturnValue:
        sandbox.clear_faults()
        return {"status": "cleared"}

    @app.get("/")
    def page() -> ResponseReturnValue:
        version, robots = str(sandbox.version), [*sandbox.robots.values()]
        groups = [(robot, sandbox.messages(robot.key)[-SHOWN:]) for robot in robots]
        shown = {"groups": groups, "show": _show, "style": style, "hook": sandbox.hook}
        response = Response(render_template("page.html", pgyer_key=pgyer.KEY, **shown))
        response.set_etag(version)
        return response.make_conditional(request)

    return app


def _add_pgyer(app: Flask, sandbox: Sandbox) -> None:
    """Add Pgyer's API, and the upload of builds."""

    @app.post(f"{pgyer.API}<name>")
    def ask(name: str) -> ResponseReturnValue:
        fault, reply = sandbox.ask(name, request.form)
        if reply is None:
            abort(404)
        _wait(sandbox, fault)
        if fault in PGYER_ANSWERS:
            return Response(*PGYER_ANSWERS[fault])
        response = jsonify(reply)
        response.date = datetime.fromtimestamp(sandbox.clock() + sandbox.ahead, UTC)
        return response

    @app.post("/sandbox/builds")
    def upload_build() -> ResponseReturnValue:
        # A page of another site must not let the sandbox post somewhere.
        if request.headers.get("Origin", request.host_url[:-1]) != request.host_url[:-1]:
            abort(403)
        form = request.form.to_dict()
        hook = form.pop("hook", "")
        has_webhook = form.pop("webhook", "off") == "on"
        try:
            if has_webhook and not hook.startswith(("http://", "https://")):
                raise ValueError("hook is missing: the address that Pgyer would call")
            if not form.get("app") or not form.get("version"):
                raise ValueError("app and version are needed: -d app=… -d version=…")
            build, body = sandbox.upload_build(**form)
        except (TypeError, ValueError, OverflowError) as error:
            return {"error": str(error)}, 400
        answered = _call(hook, body) if has_webhook else "off"
        return {"status": "uploaded", "buildKey": build["buildKey"], "webhook": answered}


def _show(robot: Robot, call: Call) -> Markup:
    body = call.payload[call.msgtype]
    if call.msgtype == "file":
        body = body | {"filename": robot.media[body["media_id"]][0]}
    return to_html(Message(call.msgtype, body))


def _call(hook: str, body: dict[str, Any]) -> int | str:
    """Post a webhook as Pgyer does; return the status of the answer, or why there is none."""
    with requests.Session() as http:
        http.trust_env = False  # no proxy: the hook is on this machine
        http.headers["User-Agent"] = "PgyerWebhookClient"
        try:
            return http.post(hook, json=body, timeout=10).status_code
        except requests.RequestException as error:
            return type(error).__name__


def _wait(sandbox: Sandbox, fault: str) -> None:
    request.environ[HANDLER].fault = fault
    sandbox.released.wait(MINUTE if fault == "hang" else sandbox.latency)


def _answer(sandbox: Sandbox, call: Call, **more: str) -> Response:
    _wait(sandbox, call.fault)
    if call.errcode is None:
        return Response(*ANSWERS.get(call.fault, ANSWERS["502"]))
    if call.errcode:
        return jsonify(errcode=call.errcode, errmsg=call.errmsg + tail(call.errcode, call.at))
    return jsonify(errcode=0, errmsg=ERRMSGS.get(call.fault, "ok"), **more)


class _Handler(WSGIRequestHandler):
    """HTTP/1.1 that keeps connections alive, as WeCom does and Werkzeug's own handler does not."""

    server: "Serving"
    protocol_version = "HTTP/1.1"

    def run_wsgi(self) -> None:
        self.fault = ""
        environ = self.make_environ() | {HANDLER: self}
        chunked = environ.get("wsgi.input_terminated")
        size = -1 if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        # Read whole, so that the next request on this connection begins where it should.
        environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(size))
        parts, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        head = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
        self._reply("\r\n".join(head).encode(), b"".join(parts))

    def _reply(self, head: bytes, body: bytes) -> None:
        if self.fault in RESET:
            self._reset()
        elif self.fault == "drip_head":
            self._drip(map(bytes, zip(head)))
        elif self.fault == "drip_body":
            self._drip(chain([head], map(bytes, zip(body))))
        elif self.fault == "continue":
            self._drip(repeat(b"HTTP/1.1 100 Continue\r\n\r\n"))
        else:
            self.wfile.write(head + body)  # in one write: two would wake the other side twice

    def _drip(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.wfile.write(piece)
            if self.server.sandbox.released.wait(PAUSE):
                break
        self.close_connection = True

    def _reset(self) -> None:
        # Closing a socket that lingers for 0 s sends a reset in place of an orderly end.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class Serving(ThreadedWSGIServer):
    """A sandbox at `url`, served by a thread until `close`; as a context it gives its url."""

    def __init__(self, sandbox: Sandbox, host: str, port: int) -> None:
        self.connections = WeakSet[socket.socket]()  # those that are open now
        self.sandbox = sandbox
        # Where it cannot listen Werkzeug would print and exit; this raises OSError.
        with socket.create_server((host, port), backlog=LISTEN_QUEUE) as listening:
            app = create_sandbox_app(sandbox)
            super().__init__(host, port, app, handler=_Handler, fd=listening.fileno())
        self.url = f"http://{host}:{self.port}"
        sandbox.released.clear()
        self._thread = Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def close(self) -> None:
        """Let waiting calls go, stop listening, and end every connection."""
        self.sandbox.released.set()
        self.shutdown()
        self._thread.join()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> str:  # type: ignore[override]  # who serves wants to know where
        return self.url

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> Serving:
    """Serve a sandbox from a thread; port 0 takes a free one, one in use raises OSError."""
    return Serving(sandbox, host, port)
