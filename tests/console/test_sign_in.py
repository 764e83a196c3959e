"""Who may use the console: sign-in, sessions and forms."""

import re
from pathlib import Path

import pytest
import requests
from console_client import PAGES, PASSWORD, Console, flashed, path_of, serve, states
from support import TOKEN, Deployment

from bridge.console.sign_in import console_page, session_key
from bridge.model import Secret


def test_without_a_password_nothing_of_it_exists(tmp_path: Path) -> None:
    console = serve(tmp_path, BRIDGE_ADMIN_PASSWORD="")
    for path in ("", "/", "/sign-in", "/events", "/static/console.css", "/nowhere"):
        answer = console.get(path)
        assert answer.status_code == 404
        assert answer.json == {"error": "not found"}
    assert console.client.post("/console/sign-in").status_code == 404
    console.bridge.close()


def test_every_page_leads_to_the_sign_in_and_back(visitor: Console) -> None:
    for path in (*PAGES, "/nowhere", "/events/1/raw"):
        answer = visitor.get(path)
        assert (answer.status_code, path_of(answer)) == (303, "/console/sign-in")
    for path, page in {
        "/events/1/send-again": "/console/events/1",
        "/templates/test.markdown.j2/save": "/console/templates/test.markdown.j2",
        "/bots/dev/test": "", "/templates/preview": "", "/nowhere": "",
    }.items():  # fmt: skip
        answer = visitor.client.post(f"/console{path}", follow_redirects=True)
        assert answer.request.path == "/console/sign-in"
        assert "没有改动任何内容" in answer.text
        assert f'name="next" value="{page}"' in answer.text
    assert "没有改动任何内容" not in visitor.get("/events", follow_redirects=True).text
    assert "OooPlay" not in visitor.get("/events", follow_redirects=True).text
    answer = visitor.sign_in(next="/console/events?state=parked")
    assert answer.headers["Location"] == "/console/events?state=parked"
    assert visitor.get("/events").status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/console/", "//evil.example/console/", "/pgyer", "/console/\\evil",
     "javascript:alert(1)", "\r\n/console/", " /console/", "/console/events?text=a\r\nb",
     "http://[bad/console/", "console/", ""],
)  # fmt: skip
def test_signing_in_redirects_nowhere_else(visitor: Console, elsewhere: str) -> None:
    assert visitor.sign_in(next=elsewhere).headers["Location"] == "/console/"
    with visitor.app.test_request_context():
        assert console_page(elsewhere) == "/console/"


def test_a_wrong_password_is_refused_with_a_message(visitor: Console) -> None:
    for wrong in ("", "wrong", PASSWORD[:-1], PASSWORD + "x", "密码"):
        answer = visitor.sign_in(wrong)
        assert answer.status_code == 401
        assert "This is not the password" in answer.text
    assert visitor.get("/").status_code == 303


def test_signing_out_ends_the_session_and_keeps_the_language(console: Console) -> None:
    console.post("/language", language="en")
    assert "You are signed out" in flashed(console, console.post("/sign-out"))
    assert console.get("/").status_code == 303
    assert "Sign in" in console.page("/sign-in", language="zh")


def test_the_cookie_is_for_the_console_and_out_of_scripts_reach(visitor: Console) -> None:
    cookie = visitor.sign_in().headers["Set-Cookie"]
    for part in ("bridge_console=", "HttpOnly", "SameSite=Lax", "Path=/console", "Expires="):
        assert part in cookie
    assert "Secure" not in cookie
    assert PASSWORD not in cookie


def test_behind_https_the_cookie_is_secure_and_forms_work(visitor: Console) -> None:
    """Our Referrer-Policy withholds the Referer, on which Flask-WTF insists by default."""
    https = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "bridge.example"}
    visitor.client = visitor.app.test_client(use_cookies=False)
    page = visitor.get("/sign-in", headers=https)
    assert "Secure" in page.headers["Set-Cookie"]
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    [token] = set(re.findall(r'name="csrf_token" value="([^"]+)"', page.text))
    answer = visitor.client.post(
        "/console/sign-in",
        data={"csrf_token": token, "password": PASSWORD},
        headers={**https, "Cookie": cookie},
    )
    assert answer.status_code == 303
    assert "Secure" in answer.headers["Set-Cookie"]
    signed_in = {**https, "Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    assert f"https://bridge.example/pgyer/{TOKEN}" in visitor.get("/", headers=signed_in).text


def test_workers_agree_on_sessions_and_a_new_password_ends_them(
    visitor: Console, tmp_path: Path
) -> None:
    cookie = visitor.sign_in().headers["Set-Cookie"].partition(";")[0]
    answers = {}
    for name, more in {
        "same": {},
        "other": {"BRIDGE_ADMIN_PASSWORD": "a-changed-password"},
    }.items():
        worker = serve(tmp_path, **more)
        client = worker.app.test_client(use_cookies=False)
        answers[name] = client.get("/console/", headers={"Cookie": cookie}).status_code
        worker.bridge.close()
    assert answers == {"same": 200, "other": 303}
    tokens = [Secret(TOKEN)]
    keys = {session_key(Secret("a"), tokens), session_key(Secret("b"), tokens),
            session_key(Secret("a"), [Secret("other")])}  # fmt: skip
    assert len(keys) == 3


@pytest.mark.parametrize(
    "path",
    ["/events/1/send-again", "/events/1/send-to", "/deliveries/1/done", "/deliveries/1/retry",
     "/bots/default/test", "/bots/default/resume", "/templates/preview",
     "/templates/crashlog.markdown.j2/download", "/sign-out", "/sign-in", "/language"],
)  # fmt: skip
def test_a_post_without_its_page_s_token_is_refused(console: Console, path: str) -> None:
    before = states(console)
    for token in ("", "made-up"):
        data = {"csrf_token": token, "bot": "dev", "event": "1", "password": PASSWORD}
        answer = console.client.post(
            f"/console{path}", data=data, headers={"Accept-Language": "en"}
        )
        assert answer.status_code == 400
        assert "this page is from before the last sign-in" in answer.text
    assert states(console) == before
    assert console.get("/").status_code == 200


def test_the_receiver_needs_no_token_of_the_console(visitor: Console) -> None:
    assert visitor.client.post(f"/pgyer/{TOKEN}", data="{}").status_code == 200


def test_it_is_served_by_gunicorn_with_the_forwarded_scheme(
    sandbox: tuple[object, str], deploy: object
) -> None:
    bridge: Deployment = deploy(sandbox[1], BRIDGE_ADMIN_PASSWORD=PASSWORD).start()  # type: ignore[operator]
    https = {"X-Forwarded-Proto": "https"}
    answer = requests.get(f"{bridge.url}/console/sign-in", headers=https, timeout=20)
    assert answer.status_code == 200
    assert "Secure" in answer.headers["Set-Cookie"]
    assert PASSWORD not in bridge.log.read_text()


def test_signing_out_ends_the_session_in_every_copy_of_the_cookie(console: Console) -> None:
    console.sign_in()
    cookie = console.client.get_cookie("bridge_console", path="/console")
    assert cookie
    copy = console.app.test_client()
    copy.set_cookie("bridge_console", cookie.value, path="/console")
    assert copy.get("/console/events").status_code == 200
    console.post("/sign-out", "/bots")
    answer = copy.get("/console/events")
    assert answer.status_code == 303 and "/sign-in" in answer.headers["Location"]


def test_an_opened_page_prolongs_the_session_and_what_it_loads_does_not(console: Console) -> None:
    def cookie(path: str, accept: str, **fields: str) -> str | None:
        method = console.client.post if fields else console.client.get
        answer = method(
            f"/console{path}", headers={"Accept": accept}, data=fields or None, buffered=True
        )
        assert answer.status_code == 200
        answer.close()
        return answer.headers.get("Set-Cookie")

    assert "Expires=" in (cookie("/events", "text/html,application/xml;q=0.9,*/*;q=0.8") or "")
    token = console.token("/templates/default.markdown.j2")
    preview = "/templates/default.markdown.j2/preview"
    assert cookie(preview, "*/*", source="mine", csrf_token=token) is None
    event = console.event({"content": "x"})
    assert cookie(f"/events/{event}", "*/*") is None  # the script that follows pending deliveries
    assert cookie("/static/console.css", "text/css,*/*;q=0.1") is None


def test_signing_out_leaves_other_sessions_alone(console: Console) -> None:
    other = Console(console.app, console.app.test_client())
    other.sign_in()
    console.sign_in()
    console.post("/sign-out", "/bots")
    assert other.get("/events").status_code == 200


def test_a_cookie_of_an_earlier_version_asks_for_the_password_once_more(console: Console) -> None:
    with console.client.session_transaction(path="/console") as session:
        session["signed_in"] = True
    assert console.get("/events").status_code == 303
