"""The sandbox plays Pgyer's API and its webhook, as published replies and documents have them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
import requests
from support import PATIENCE, Clock, Session

from bridge.sandbox import PGYER_KEY, Sandbox, serve


class Pgyer:
    """A client of the sandbox's part of Pgyer."""

    def __init__(self, url: str, box: Sandbox) -> None:
        self.url, self.box, self.http = url, box, Session()

    def ask(self, name: str, _api_key: str = PGYER_KEY, **form: Any) -> requests.Response:
        form |= {"_api_key": _api_key} if _api_key else {}
        address = f"{self.url}/apiv2/app/{name}"
        return self.http.post(address, data=form, timeout=PATIENCE, allow_redirects=False)

    def data(self, name: str, **form: Any) -> Any:
        reply = self.ask(name, **form).json()
        assert (reply["code"], reply["message"]) == (0, "")
        return reply["data"]

    def upload(self, app: str = "商城", version: str = "1.0", **form: Any) -> requests.Response:
        form |= {"app": app, "version": version}
        return self.http.post(f"{self.url}/sandbox/builds", data=form, timeout=PATIENCE)

    def fault(self, fault: Any, key: str = PGYER_KEY) -> int:
        body = {"key": key, "fault": fault}
        return self.http.post(f"{self.url}/sandbox/faults", json=body, timeout=PATIENCE).status_code


@pytest.fixture
def pgyer() -> Iterator[Pgyer]:
    box = Sandbox({"demo": "demo"}, clock=Clock(1_800_000_000.0))
    with serve(box) as url, (client := Pgyer(url, box)).http:
        yield client


@pytest.fixture
def hook() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An address, and what was posted to it: User-Agent and body."""
    posted = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            posted.append((self.headers["User-Agent"], self.rfile.read(size)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/pgyer/token", posted
        server.shutdown()


def test_an_uploaded_build_is_in_all_replies_with_the_fields_and_types_of_pgyer(
    pgyer: Pgyer,
) -> None:
    pgyer.upload(version="1.0", age="300")
    key = pgyer.upload(version="1.1", notes="更快\n更稳").json()["buildKey"]
    pgyer.upload("商城", "9.9", device="iOS")

    apps = pgyer.data("listMy")
    ios, android = apps["list"]
    assert {k: v for k, v in apps.items() if k != "list"} == {
        "count": "2", "pageCount": 1, "page": 1
    }  # fmt: skip
    assert (ios["buildType"], ios["buildVersion"], ios["buildBuildVersion"]) == ("1", "9.9", "1")
    assert (android["buildKey"], android["buildBuildVersion"]) == (key, "2")
    assert android["buildCreated"] == "2027-01-15 16:00:00"  # Pgyer's clock is UTC+8
    assert all(isinstance(value, str) for value in android.values())
    assert {"appKey", "buildShortcutUrl"} <= android.keys()
    assert not {"buildQRCodeURL", "iconUrl", "buildUpdated"} & android.keys()

    builds = pgyer.data("builds", appKey=android["appKey"])
    assert (builds["pageCount"], builds["currentPage"]) == (1, 1)
    created = ["2027-01-15 16:00:00", "2027-01-15 15:55:00"]
    assert [row["buildCreated"] for row in builds["list"]] == created
    assert [row["buildIsLastest"] for row in builds["list"]] == ["1", "2"]
    assert not {"appKey", "buildShortcutUrl", "buildQRCodeURL"} & builds["list"][0].keys()

    view = pgyer.data("view", appKey=android["appKey"])
    assert view == pgyer.data("view", appKey=android["appKey"], buildKey=key)
    assert view["buildUpdateDescription"] == "更快\n更稳"
    assert view["buildQRCodeURL"].startswith("https://www.pgyer.com/app/qrcodeHistory/")
    assert view["iconUrl"].startswith("https://cdn-app-icon2.pgyer.com/")
    assert [name for name, _form in pgyer.box.asks] == ["listMy", "builds", "view", "view"]


def test_a_reply_says_when_it_was_made_by_the_clock_of_pgyer(pgyer: Pgyer) -> None:
    date = pgyer.ask("listMy").headers["Date"]
    assert parsedate_to_datetime(date) == datetime.fromtimestamp(1_800_000_000, UTC)
    pgyer.box.ahead = 60.0
    date = pgyer.ask("listMy").headers["Date"]
    assert parsedate_to_datetime(date) == datetime.fromtimestamp(1_800_000_060, UTC)


def test_lists_have_pages_of_twenty_and_an_empty_one_after_the_last(pgyer: Pgyer) -> None:
    for number in range(21):
        pgyer.box.upload_build(app=f"app {number}", version="1.0")
        pgyer.box.upload_build(app="one", version=f"1.{number}")
    pages = [pgyer.data("listMy", page=page) for page in (1, 2, 3)]
    assert [len(page["list"]) for page in pages] == [20, 2, 0]
    assert {page["pageCount"] for page in pages} == {2}
    app = pages[0]["list"][0]["appKey"]
    pages = [pgyer.data("builds", appKey=app, page=page) for page in ("", "x", 0, 2, 3)]
    counters = [[row["buildBuildVersion"] for row in page["list"]] for page in pages]
    assert counters[0] == [str(n) for n in range(21, 1, -1)]
    assert counters[1:] == [counters[0], counters[0], ["1"], []]


@pytest.mark.parametrize(
    ("name", "form", "code"),
    [
        ("listMy", {"_api_key": ""}, 1001),
        ("listMy", {"_api_key": "f" * 32}, 1002),
        ("builds", {}, 1010),
        ("builds", {"appKey": "gone"}, 1009),
        ("view", {}, 1008),
        ("view", {"appKey": "gone"}, 1009),
    ],
)
def test_a_wrong_call_is_a_code_with_http_200(
    pgyer: Pgyer, name: str, form: dict[str, str], code: int
) -> None:
    pgyer.upload()
    reply = pgyer.ask(name, **form)
    assert reply.status_code == 200
    assert reply.json().keys() == {"code", "message"} and reply.json()["code"] == code


def test_other_endpoints_and_get_are_html_that_is_not_there(pgyer: Pgyer) -> None:
    assert pgyer.ask("deleteApp").status_code == 404
    assert pgyer.http.get(f"{pgyer.url}/apiv2/app/listMy", timeout=PATIENCE).status_code == 405


def test_the_api_can_be_away_refuse_the_key_or_reply_otherwise(pgyer: Pgyer) -> None:
    pgyer.upload()
    found = []
    for fault in ("html", "302", "502", 1002, 1055, "array"):
        assert pgyer.fault(fault) == 200
        answer = pgyer.ask("listMy")
        is_json = answer.headers["Content-Type"] == "application/json"
        found.append((answer.status_code, answer.json() if is_json else answer.text[:6]))
    assert found[:3] == [(200, "<html>"), (302, "<html>"), (502, "<html>")]
    assert [(status, reply["code"]) for status, reply in found[3:]] == [
        (200, 1002), (200, 1055), (200, 0)
    ]  # fmt: skip
    assert found[5][1]["data"] == pgyer.data("listMy")["list"]  # none of the faults is left

    pgyer.fault("reset")
    with pytest.raises(requests.ConnectionError):
        pgyer.ask("listMy")
    pgyer.fault("hang")
    with pytest.raises(requests.ReadTimeout):
        pgyer.http.post(f"{pgyer.url}/apiv2/app/listMy", timeout=0.2)
    assert [pgyer.fault("array", key="demo"), pgyer.fault("warning")] == [400, 400]


def test_a_build_can_come_with_its_webhook(
    pgyer: Pgyer, hook: tuple[str, list[tuple[str, bytes]]]
) -> None:
    url, posted = hook
    assert pgyer.upload(hook=url).json()["webhook"] == "off"
    assert pgyer.upload(version="1.1", hook=url, webhook="on", notes="新").json()["webhook"] == 200
    [(agent, body)] = posted
    event = json.loads(body)
    view = pgyer.data("view", appKey=pgyer.data("listMy")["list"][0]["appKey"])
    assert "PgyerWebhookClient" in agent
    assert event == {
        "action": "应用更新",
        "title": "商城",
        "link": f"https://www.pgyer.com/{view['buildShortcutUrl']}",
        "message": "您的应用商城有了新的版本(1.1)更新。",
        "type": "updateVersion",
        "os_version": "1.1",
        "build_version": "2",
        "created": view["buildCreated"],
        "updated": view["buildUpdated"],
        "timestamp": 1_800_000_000,
        "appsize": view["buildFileSize"],
        "device_type": "Android",
        "notes": "新",
    }


@pytest.mark.parametrize(
    "form",
    [
        {"app": None},
        {"webhook": "on"},
        {"webhook": "on", "hook": "file:///etc/passwd"},
        {"colour": "red"},
        {"age": "old"},
        {"age": "1e99"},
        {"buildBuildVersion": "x"},
    ],
)
def test_a_wrong_upload_is_a_400_that_says_why_and_leaves_no_build(
    pgyer: Pgyer, form: dict[str, Any]
) -> None:
    answer = pgyer.upload(**form)
    assert answer.status_code == 400
    said = answer.json()["error"]
    assert said and "()" not in said  # no error of the code
    assert pgyer.data("listMy")["list"] == []


def test_a_build_can_be_hidden_or_unfinished_and_a_hook_may_not_answer(pgyer: Pgyer) -> None:
    pgyer.upload(buildIsDisplayInHistory="2", buildIsPublishComplete="2", buildBuildVersion="7")
    silent = pgyer.upload(webhook="on", hook="http://127.0.0.1:1/").json()
    assert silent["webhook"] == "ConnectionError"
    new, old = pgyer.data("builds", appKey=pgyer.data("listMy")["list"][0]["appKey"])["list"]
    assert (new["buildBuildVersion"], old["buildIsPublishComplete"]) == ("8", "2")


def test_a_page_of_another_site_cannot_upload(pgyer: Pgyer) -> None:
    pgyer.http.headers["Origin"] = "https://evil.example"
    assert pgyer.upload().status_code == 403
    pgyer.http.headers["Origin"] = pgyer.url
    assert pgyer.upload().status_code == 200
