"""The console under a path, behind a proxy: whatever leads somewhere keeps it."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from console_client import PAGES, PASSWORD, serve
from support import TOKEN
from werkzeug.test import Client, TestResponse

PATH = "/a/bridge"


class Browser:
    """A visitor of https://hooks.example/a/bridge; a proxy passes the requests on."""

    def __init__(self, app: Any, strips: bool, says: bool) -> None:
        def proxy(environ: dict[str, Any], start_response: Any) -> Any:
            environ["HTTP_X_FORWARDED_PROTO"] = "https"
            if strips:
                environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(PATH)
            if says:
                environ["HTTP_X_FORWARDED_PREFIX"] = PATH
            return app(environ, start_response)

        self.client = Client(proxy, TestResponse)

    def get(self, address: str) -> TestResponse:
        return self.client.get(address, base_url="https://hooks.example", buffered=True)

    def post(self, page: str, address: str, **fields: str) -> TestResponse:
        """Post a form of a page."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(page).text)
        data = {"csrf_token": token[1] if token else "", **fields}
        return self.client.post(address, data=data, base_url="https://hooks.example")


@pytest.mark.parametrize("strips", [True, False], ids=["stripped", "not stripped"])
@pytest.mark.parametrize("says", [True, False], ids=["header", "public url"])
def test_links_forms_redirects_cookies_and_static_files_keep_the_path(
    strips: bool, says: bool, tmp_path: Path
) -> None:
    public = "" if says else f"https://hooks.example{PATH}/"
    console = serve(tmp_path, BRIDGE_PUBLIC_URL=public)
    browser = Browser(console.app, strips, says)
    hook = f"https://hooks.example{PATH}/pgyer/{TOKEN}"
    answer = browser.client.post(hook, data='{"type": "updateVersion"}', base_url=hook)
    assert (answer.status_code, answer.json["status"]) == (200, "accepted")  # type: ignore[index]

    assert f"{PATH}/console/" in browser.get(f"{PATH}/").text
    assert browser.get(f"{PATH}/console").headers["Location"].endswith(f"{PATH}/console/")
    sign_in = browser.get(f"{PATH}/console/events?state=sent").headers["Location"]
    assert sign_in == f"{PATH}/console/sign-in?next=/console/events?state%3Dsent"
    answer = browser.post(sign_in, sign_in, password=PASSWORD, next="/console/events?state=sent")
    assert answer.headers["Location"] == f"{PATH}/console/events?state=sent"
    assert f"Path={PATH}/console;" in answer.headers["Set-Cookie"]
    language = f"{PATH}/console/language"
    answer = browser.post(f"{PATH}/console/bots", language, language="en", next="/console/bots")
    assert answer.headers["Location"] == f"{PATH}/console/bots"

    addresses: set[str] = set()
    for page in PAGES:
        text = browser.get(f"{PATH}/console{page}").text
        addresses |= set(re.findall(r'(?:href|src|action|data-preview)="([^"]*)"', text))
    addresses = {
        unescape(each) for each in addresses if not each.startswith(("http", "data:", "#", "?"))
    }
    assert len(addresses) > 20
    assert [each for each in addresses if not each.startswith(f"{PATH}/console/")] == []
    static = [each for each in addresses if "/static/" in each]
    assert static and all(browser.get(each).status_code == 200 for each in static)
    assert hook in browser.get(f"{PATH}/console/").text
    console.bridge.close()


@pytest.mark.parametrize("prefix", ["//evil.example", "/a\\evil", "/..", "https://evil.example"])
def test_a_visitor_cannot_lead_the_console_elsewhere(prefix: str, tmp_path: Path) -> None:
    console = serve(tmp_path)
    headers = {"X-Forwarded-Prefix": prefix}
    answer = console.get("/events", headers=headers)
    assert answer.headers["Location"] == "/console/sign-in?next=/console/events"
    assert "evil" not in console.get("/sign-in", headers=headers).text
    console.bridge.close()
