"""The sandbox's part of Pgyer with legible keys, a clock and faults of a test's own."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from bridge.sandbox import pgyer

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
ICON = "326af839deb628abd4321a607b18096e"
NOW = 1_800_000_000.0
Row = dict[str, Any]


def time_of(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, pgyer.ZONE).strftime("%Y-%m-%d %H:%M:%S")


class FakePgyer:
    """Knows builds and the `key`; `clock` gives epoch seconds.

    `fault` makes a status and a body of a call's name instead of the answer; `listed` changes the
    data of a list. `asked` has each call's name with its form.
    """

    def __init__(self, clock: Callable[[], float], key: str = KEY) -> None:
        self.clock, self.key = clock, key
        self.builds: list[Row] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.fault: Callable[[str], tuple[int, bytes] | None] = lambda name: None
        self.listed: Callable[[Row], Any] = lambda data: data

    def upload(self, app: str = "demo", age: float = 200.0, **more: Any) -> Row:
        """Upload a build so many seconds ago; return its row with all fields that there are."""
        count = 1 + max((int(b["buildBuildVersion"]) for b in self.builds if b["appKey"] == app),
                        default=0)  # fmt: skip
        number, key = more.pop("counter", count), f"{app}-{len(self.builds):04}"
        fields = {
            "appKey": app, "buildKey": key, "buildFileSize": str(40_000_000 + len(self.builds)),
            "buildVersionNo": f"9{number}", "buildBuildVersion": str(number),
            "buildShortcutUrl": f"{app}-page", "buildIdentifier": f"com.example.{app}",
            "buildIcon": ICON, "iconUrl": "", "buildPassword": "open-it",
            "buildQRCodeURL": f"https://www.pgyer.com/app/qrcodeHistory/{key}",
        }  # fmt: skip
        build = pgyer.new_build(
            self.builds, self.clock(), f"App {app}", f"1.{number}", "修复登录", age=age, **fields
        )
        self.builds.append(build | more)
        return self.builds[-1]

    def names(self) -> list[str]:
        """Return the names of the calls since the last time, and forget them."""
        names = [name for name, _ in self.asked]
        self.asked.clear()
        return names

    def answer(self, name: str, form: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append((name, form))
        if fault := self.fault(name):
            return fault
        if form.get("_api_key") == self.key:
            form = {**form, "_api_key": pgyer.KEY}
        builds = sorted(self.builds, key=lambda build: str(build["buildCreated"]))
        reply = pgyer.answer(name, form, builds)
        assert reply
        if name == "view" and "data" in reply:
            reply["data"]["downloadURL"] = "https://x/?sign=s3cr3t"
        elif "data" in reply:
            reply["data"] = self.listed(reply["data"])
        return 200, json.dumps(reply).encode()


def webhook(build: Row, **more: Any) -> Row:
    """Return what Pgyer's webhook posts of a build."""
    return pgyer.webhook(build, NOW) | more


@contextmanager
def serve(fake: FakePgyer) -> Iterator[str]:
    """Serve it; gives its address. It says what time it is by its own clock."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            assert "?" not in self.path and fake.key not in self.path
            name = self.path.removeprefix("/apiv2/app/")
            status, reply = fake.answer(name, dict(parse_qsl(body.decode())))
            self.send_response_only(status)
            self.send_header("Date", formatdate(fake.clock(), usegmt=True))
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
