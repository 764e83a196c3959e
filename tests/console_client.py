"""A console in the test's own process, with a browser-like client, and many stored events."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from support import TOKEN, environment
from werkzeug.test import TestResponse

from bridge import create_app
from bridge.model import Outcome, Verdict
from bridge.storage.database import Connection
from bridge.storage.results import Result
from bridge.wiring import Bridge

PASSWORD = "a-password-of-ours"
PAGES = (
    "/", "/events", "/events/1", "/bots", "/routes", "/routes?event=1", "/templates",
    "/templates/crashlog.markdown.j2",
)  # fmt: skip
KEYS = ("key-of-default", "key-of-dev")


def environ(folder: Path, **more: str) -> dict[str, str]:
    own = {"WECOM_API_URL": "http://wecom.invalid", "BRIDGE_ADMIN_PASSWORD": PASSWORD}
    return environment(folder, **{**own, **more})


@dataclass
class Console:
    """An app and a client of it; nothing dispatches."""

    app: Flask
    client: FlaskClient

    @property
    def bridge(self) -> Bridge:
        bridge = self.app.extensions["bridge"]
        assert isinstance(bridge, Bridge)
        return bridge

    def get(self, path: str, **more: object) -> TestResponse:
        return self.client.get(f"/console{path}", **more)  # type: ignore[arg-type]

    def page(self, path: str, language: str = "en") -> str:
        answer = self.get(path, headers={"Accept-Language": language})
        assert answer.status_code == 200, answer.status
        return answer.text

    def token(self, path: str = "/sign-in") -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).text)
        assert found
        return found[1]

    def post(self, path: str, page: str = "/sign-in", **form: str) -> TestResponse:
        """Post a form as a page holds it."""
        data = {"csrf_token": self.token(page), **form}
        return self.client.post(f"/console{path}", data=data, headers={"Accept-Language": "en"})

    def sign_in(self, password: str = PASSWORD, **more: str) -> TestResponse:
        return self.post("/sign-in", password=password, **more)

    def event(self, body: bytes | str | dict[str, object], bots: str = "") -> int:
        data = json.dumps(body) if isinstance(body, dict) else body
        answer = self.client.post(f"/pgyer/{TOKEN}{bots}", data=data)
        number: int = answer.json["event"]  # type: ignore[index]
        return number


class _Compiled(BytecodeCache):
    """Keeps the pages' templates: to compile them takes half of a test's time."""

    codes: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if code := self.codes.get(bucket.key):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.codes[bucket.key] = bucket.bytecode_to_string()


def serve(folder: Path, **more: str) -> Console:
    app = create_app(environ(folder, **more))
    app.jinja_env.bytecode_cache = _Compiled()
    return Console(app, app.test_client())


def path_of(answer: TestResponse) -> str:
    return urlsplit(answer.headers["Location"]).path


def flashed(console: Console, answer: TestResponse) -> str:
    """Follow a redirect and return what the page says was done."""
    text = console.client.get(answer.headers["Location"], headers={"Accept-Language": "en"}).text
    return "\n".join(map(unescape, re.findall(r'<p class="flash"[^>]*>([^<]*)</p>', text)))


def fill(bridge: Bridge, count: int, now: float, bots: Sequence[str] = ("default", "dev")) -> None:
    """Store events of a month, each with a delivery and an attempt, most sent and some not."""
    kinds = ("updateVersion", "feedback", "crashlog", "versionChange")
    states = ("sent",) * 997 + ("parked", "expired", "pending")
    step = 30 * 86400 / count
    rows: dict[str, list[dict[str, object]]] = {
        "events": [], "deliveries": [], "attempts": [], "attempt_deliveries": []
    }  # fmt: skip
    for n in range(1, count + 1):
        at, kind = now - (count - n) * step, kinds[n % 4]
        state, bot = states[n % len(states)], bots[n % len(bots)]
        payload = {"type": kind, "title": f"应用 {n % 37}", "os_version": f"1.{n}",
                   "notes": f"修复问题 {n}，" * 16, "link": "https://www.pgyer.com/a"}  # fmt: skip
        text = json.dumps(payload, ensure_ascii=False)
        rows["events"].append(
            {"id": n, "received_at": at, "type": kind, "title": payload["title"],
             "device_type": "iOS", "os_version": f"1.{n}", "build_version": str(n),
             "link": payload["link"], "brief": payload["notes"][:300], "payload": text,
             "raw": text.encode(), "error": "", "payload_hash": f"{n:064x}"}
        )  # fmt: skip
        rows["deliveries"].append(
            {"id": n, "event_id": n, "bot": bot, "state": state, "reason": "", "template": "",
             "mention": "[]", "attach": "[]", "messages_sent": 1, "media_id": "", "media_at": 0.0,
             "tries": 1, "created_at": at, "not_before": 0.0,
             "expires_at": at + 40 * 86400, "settled_at": 0.0 if state == "pending" else at}
        )  # fmt: skip
        rows["attempts"].append(
            {"id": n, "bot": bot, "started_at": at, "ended_at": at + 0.2, "verdict": "sent",
             "reason": "ok", "detail": "ok", "errcode": 0}
        )  # fmt: skip
        rows["attempt_deliveries"].append({"delivery_id": n, "attempt_id": n})

    def insert(connection: Connection) -> None:
        for table, values in rows.items():
            names = list(values[0])
            marks = ", ".join(f":{name}" for name in names)
            statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"
            connection.execute_many(statement, values)

    bridge.outbox.database.write(insert)


def settle(console: Console, verdict: Verdict, reason: str, errcode: int | None = None) -> None:
    """End the next delivery with this outcome."""
    [attempt] = console.bridge.outbox.claim(1)
    console.bridge.outbox.record(Result(attempt, Outcome(verdict, reason, "as it said", errcode)))


def states(console: Console, event: int = 1) -> list[tuple[str, str]]:
    """Return an event's deliveries as bot and state."""
    return [(d.target.bot, d.state) for d in console.bridge.queries.deliveries(event)]
