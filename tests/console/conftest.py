"""Fixtures of the tests of the console."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from browser import ARGUMENTS, CHROMIUM, Page, missing
from console_client import PASSWORD, Console, serve
from support import PATIENCE


@pytest.fixture(autouse=True)
def _dispatching(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dispatcher runs in these tests; the pages must not report that as a problem."""
    monkeypatch.setattr("bridge.delivery.dispatcher.Dispatcher.alive", property(lambda self: True))


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Console]:
    """A console and a client that has not signed in."""
    console = serve(tmp_path)
    yield console
    console.bridge.close()


@pytest.fixture
def console(visitor: Console) -> Console:
    """A console and a client that has signed in, and one event for `default`."""
    visitor.sign_in()
    visitor.event({"type": "updateVersion", "title": "OooPlay", "os_version": "2.4"})
    return visitor


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium; where there is none these tests are skipped, but never in CI."""
    if why := missing():
        assert os.environ.get("CI") != "true", why
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


def _answer_with(png: bytes, route: Any) -> None:
    route.fulfill(body=png, content_type="image/png")


@pytest.fixture(scope="session")
def idle_pages(browser: Any) -> dict[str, list[Page]]:
    """Pages that earlier tests are done with, by their options: to open one takes half a second."""
    return defaultdict(list)


def _forget(page: Page, address: str) -> None:
    """Let a page know nothing of the visitor who opened it at this address."""
    page.goto("about:blank")
    page.unroute_all()
    page.context.clear_cookies()
    devtools = page.context.new_cdp_session(page)
    stored = {"origin": address, "storageTypes": "local_storage"}
    devtools.send("Storage.clearDataForOrigin", stored)
    devtools.detach()


@pytest.fixture
def visit(browser: Any, idle_pages: dict[str, list[Page]]) -> Iterator[Callable[..., Page]]:
    """Open a page of a new visitor; at the end none may have complained of anything.

    `pictures` are what addresses on the internet answer, by globs, since nothing is asked there.
    `make.expected` is a status that the browser itself may note on its console.
    """
    opened: list[tuple[Page, str, str]] = []
    complaints: list[str] = []

    def complain(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def fail(error: Any) -> None:
        complaints.append(str(error))

    def make(
        address: str,
        pictures: Mapping[str, bytes] = {},
        cookies: Sequence[dict[str, str]] = (),
        viewport: tuple[int, int] = (1200, 860),
        color_scheme: str = "light",
        **more: Any,
    ) -> Page:
        options = {"locale": "zh-CN", **more}
        idle = idle_pages[repr(options)]
        page = idle.pop() if idle else browser.new_context(**options).new_page()
        opened.append((page, address, repr(options)))
        page.set_default_timeout(1000 * PATIENCE)
        page.set_viewport_size({"width": viewport[0], "height": viewport[1]})
        page.emulate_media(color_scheme=color_scheme)
        page.context.add_cookies(cookies)
        for address_of_picture, png in pictures.items():
            page.route(address_of_picture, partial(_answer_with, png))
        page.on("console", complain)
        page.on("pageerror", fail)
        page.goto(address)
        return page

    make.expected = "nothing"  # type: ignore[attr-defined]
    yield make
    for page, address, options in opened:
        page.remove_listener("console", complain)
        page.remove_listener("pageerror", fail)
        _forget(page, address)
        idle_pages[options].append(page)
    expected = f"status of {make.expected}"  # type: ignore[attr-defined]
    assert [text for text in complaints if expected not in text] == []


@pytest.fixture(scope="module")
def cookies(served: SimpleNamespace) -> list[dict[str, str]]:
    """Sign in to the console that a module serves; the form is tried in tests of its own."""
    with requests.Session() as session:
        sign_in = f"{served.console}/sign-in"
        token = re.search(r'name="csrf_token" value="([^"]+)"', session.get(sign_in).text)
        assert token
        session.post(sign_in, data={"csrf_token": token[1], "password": PASSWORD})
        return [
            {"name": c.name, "value": c.value or "", "domain": c.domain, "path": c.path}
            for c in session.cookies
        ]


@pytest.fixture
def signed_in(
    visit: Callable[..., Page], served: SimpleNamespace, cookies: list[dict[str, str]]
) -> Callable[..., Page]:
    """Open a page of the console that a module serves, as somebody who has signed in."""

    def make(path: str = "/", **more: Any) -> Page:
        page = visit(f"{served.console}{path}", cookies=cookies, **more)
        assert page.url == f"{served.console}{path}"
        return page

    return make
