"""What holds for every page: headers, secrets, hostile text, errors, speed."""

import re
import time
from pathlib import Path

import pytest
from console_client import KEYS, PAGES, PASSWORD, Console, fill, serve, settle
from support import TOKEN, takes_less

from bridge.errors import StorageError
from bridge.model import Verdict


@pytest.mark.parametrize("path", [*PAGES, "/sign-in", "/nowhere", "/events/1/raw"])
def test_every_page_has_the_headers(console: Console, path: str) -> None:
    headers = console.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


def test_the_style_sheet_may_be_kept_and_needs_no_sign_in(visitor: Console) -> None:
    for name in ("console.css", "message.css", "console.js"):
        with visitor.get(f"/static/{name}") as answer:
            assert answer.status_code == 200
            assert "no-store" not in answer.headers["Cache-Control"]
            tag = answer.headers["ETag"]
        with visitor.get(f"/static/{name}", headers={"If-None-Match": tag}) as again:
            assert again.status_code == 304


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_anything_inline(console: Console, path: str) -> None:
    page = console.page(path)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]


def test_secrets_are_only_where_they_are_copied_from(console: Console) -> None:
    settle(console, Verdict.STOP, "invalid_webhook", 93000)
    for path in (*PAGES, "/events/1/raw", "/sign-in", "/nowhere"):
        page = console.get(path).text
        for secret in (*KEYS, PASSWORD):
            assert secret not in page.replace("key-of-default/", "")
        assert (TOKEN in page) is (path == "/")


def test_hostile_events_are_text_on_every_page(console: Console) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} %(x)s %s"
    number = console.event(
        {"type": evil, "title": evil, "notes": evil, "link": "javascript:alert(1)",
         "os_version": evil, "device_type": evil, "action": evil, evil: evil}
    )  # fmt: skip
    for path in (
        "/", "/events", f"/events/{number}", "/templates",
        f"/templates/default.markdown.j2?id={number}", f"/events?text={evil}&type={evil}",
    ):  # fmt: skip
        page = console.page(path)
        assert "<script>" not in page and "<img" not in page
        assert 'href="javascript' not in page
        assert "{{ 7*7 }}" in page or path in ("/", "/templates")


@pytest.mark.parametrize(
    "path", ["/events/99", "/nowhere", "/bots/none", "/templates/none.j2", "/events/99/raw",
             "/templates/..%2f..%2fpyproject.toml", "/events/1/send-again",
             "/templates/crashlog.markdown.j2?event=nonsense", "/events/99999999999999999999"]
)  # fmt: skip
def test_what_is_not_there_has_a_friendly_page(console: Console, path: str) -> None:
    answer = console.get(path, headers={"Accept-Language": "en"})
    assert answer.status_code == 404
    assert "There is no" in answer.text and "To the overview" in answer.text


def test_a_database_that_does_not_answer_is_said(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageError("disk I/O error")

    monkeypatch.setattr(console.bridge.queries, "bots", fail)
    answer = console.get("/bots", headers={"Accept-Language": "en"})
    assert answer.status_code == 503
    assert "The database does not answer: disk I/O error" in answer.text


def test_an_internal_error_has_a_page_too(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.bridge.queries, "bots", lambda *_, **__: 1 / 0)
    answer = console.get("/bots", headers={"Accept-Language": "en"})
    assert answer.status_code == 500
    assert "an error in the bridge itself" in answer.text
    assert "frame-ancestors" in answer.headers["Content-Security-Policy"]


@pytest.mark.sweep
def test_every_page_is_quick_with_a_hundred_thousand_events(tmp_path: Path) -> None:
    """50 ms is the promise on a quiet machine; without an index it would be seconds."""
    many = serve(tmp_path)
    many.sign_in()
    fill(many.bridge, 100_000, time.time())
    for path in (
        *PAGES, "/events?text=nothing-like-it", "/events?bot=dev&state=parked",
        "/events?before=50000", "/events?state=pending&app=x&type=feedback&text=y",
    ):  # fmt: skip
        assert many.get(path).status_code == 200
        assert takes_less(1, lambda path=path: many.get(path)), path
    many.bridge.close()


def test_every_page_works_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    console = serve(tmp_path, DATABASE_URL=postgres_url)
    console.sign_in()
    fill(console.bridge, 1200, time.time())
    for path in (
        *PAGES,
        "/events?text=1199&app=应用&type=crashlog&bot=dev&state=sent",
        "/events?text=%00",
    ):
        assert console.get(path).status_code == 200
    assert "The oldest waiting delivery waits for" in console.page("/")
    console.bridge.close()
