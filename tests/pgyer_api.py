"""A small stand-in for Pgyer's API, over builds that a test uploads."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
ZONE = timezone(timedelta(hours=8))
ICON = "326af839deb628abd4321a607b18096e"
NOW = 1_800_000_000.0
Row = dict[str, Any]


def time_of(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, ZONE).strftime("%Y-%m-%d %H:%M:%S")


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
        self.page = 20

    def upload(self, app: str = "demo", age: float = 200.0, **more: Any) -> Row:
        """Upload a build so many seconds ago; return its row with all fields that there are."""
        count = 1 + max((int(b["buildBuildVersion"]) for b in self.builds if b["appKey"] == app),
                        default=0)  # fmt: skip
        number = more.pop("counter", count)
        build = {
            "appKey": app, "buildKey": f"{app}-{len(self.builds):04}", "buildType": "2",
            "buildFileName": f"{app}.apk", "buildFileSize": str(40_000_000 + len(self.builds)),
            "buildName": f"App {app}", "buildVersion": f"1.{number}",
            "buildVersionNo": f"9{number}",
            "buildBuildVersion": str(number), "buildShortcutUrl": f"{app}-page",
            "buildIdentifier": f"com.example.{app}", "buildIcon": ICON, "buildPassword": "open-it",
            "buildUpdateDescription": "修复登录", "buildCreated": time_of(self.clock() - age),
            "buildIsPublishComplete": "1", "buildIsDisplayInHistory": "1", **more,
        }  # fmt: skip
        self.builds.append(build)
        return build

    def names(self) -> list[str]:
        """Return the names of the calls since the last time, and forget them."""
        names = [name for name, _ in self.asked]
        self.asked.clear()
        return names

    def answer(self, name: str, form: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append((name, form))
        if fault := self.fault(name):
            return fault
        if form.get("_api_key") != self.key:
            return 200, b'{"code":1002,"message":"_api_key not found"}'
        found = [b for b in self.builds if form.get("appKey") in (None, b["appKey"])]
        if name != "listMy" and not found:
            return 200, b'{"code":1009,"message":"app not found"}'
        found = sorted(found, key=lambda b: str(b["buildCreated"]))[::-1]
        if name == "view":
            found = [b for b in found if form.get("buildKey") in (None, b["buildKey"])]
            more = {
                "buildQRCodeURL": f"https://www.pgyer.com/app/qrcodeHistory/{found[0]['buildKey']}",
                "buildUpdated": found[0]["buildCreated"], "downloadURL": "https://x/?sign=s3cr3t",
            }  # fmt: skip
            return 200, json.dumps(
                {"code": 0, "message": "", "data": {**found[0], **more}}
            ).encode()
        if name == "listMy":
            newest: dict[str, Row] = {}
            for build in found:
                newest.setdefault(str(build["appKey"]), build)
            found = list(newest.values())
        hidden = ("appKey", "buildShortcutUrl", "buildPassword") if name == "builds" else ()
        rows = [{k: v for k, v in b.items() if k not in hidden} for b in found]
        page = int(form.get("page", 1))
        shown = rows[self.page * (page - 1) : self.page * page]
        data = {"list": shown, "pageCount": -(-len(rows) // self.page), "page": page}
        return 200, json.dumps({"code": 0, "message": "", "data": self.listed(data)}).encode()


def webhook(build: Row, **more: Any) -> Row:
    """Return what Pgyer's webhook posts of a build."""
    return {
        "action": "应用更新", "type": "updateVersion", "title": build["buildName"],
        "link": f"https://www.pgyer.com/{build['buildShortcutUrl']}",
        "os_version": build["buildVersion"], "build_version": build["buildBuildVersion"],
        "created": build["buildCreated"], "updated": build["buildCreated"],
        "timestamp": 1_800_000_000, "appsize": build["buildFileSize"], "device_type": "Android",
        "notes": build["buildUpdateDescription"], **more,
    }  # fmt: skip


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
