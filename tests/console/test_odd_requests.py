"""Requests of nobody who has signed in, as odd as they may be: never an error of the server."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from console_client import PASSWORD, Console, path_of, serve

BREAKS = ["\r\nX: y", "\r", "\n"]  # no server lets them into a header
ODD = [
    "\x00", "\x0b", "\x1c", "\x7f", "\x85", "\xff", "\xed\xa0\x80", "\xe2\x80\xa8", "\t", " ", "\\",
    "\\evil", "//evil", "http://[", "[", "../..", "%", "%zz", "%0d%0a", "{{ 7*7 }}", "%(x)s", "<x>",
    "'\"", ";", "\xd9\xa3", "\xc2\xb2", "9" * 30, "a" * 9000,
]  # fmt: skip
PATHS = (
    "/console", "/console/", "/console//", "/console/sign-in", "/console/static/console.css",
    "/console/events/", "/console/templates/", "/console/events/1/",
)  # fmt: skip
HEADERS = {
    "Cookie": ["bridge_console=", "bridge_console=.eJw.x.y", "bridge_console=\""],
    "Accept-Language": ["zh;q=nan", "zh;q=1e999", "*;q=", ",,,"],
    "Host": ["a:b", "a:99999999999", "[::1]:80", "a b"],
    "X-Forwarded-Host": ["a:b", "a:99999999999", "[::1]:80", "a b", ",,"],
    "X-Forwarded-For": ["::1", "fe80::1%eth0", "::ffff:192.0.2.1", "unknown", ",,"],
    "X-Forwarded-Proto": ["javascript", "https,,"],
    "Authorization": ["Basic", "Basic !!!", "Basic /w==", "Bearer x", "Digest password=x", "x"],
    "Content-Type": [
        "multipart/form-data", "multipart/form-data; boundary=", "application/json", "/",
        "multipart/form-data; boundary=\xff", "application/x-www-form-urlencoded; charset=nosuch",
    ],
    "Range": ["bytes=-", "bytes=5-2", "bytes=-99999999999", "bytes=0-0,1-1", "x"],
    "If-Modified-Since": ["Thu, 99 Foo 99999", "0"],
    "If-None-Match": ["W/\"", "\"x"],
    "X-CSRFToken": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console and a client that never tries to sign in, the same for all these tests."""
    console = serve(tmp_path_factory.mktemp("console"))
    yield console
    console.bridge.close()


def status(visitor: Console, method: str, **environ: str) -> int:
    """Send a request whose WSGI variables are these, exactly; nothing of it may break a header."""
    answer = visitor.client.open("/", method=method, environ_overrides=environ, buffered=True)
    assert not any(set("\r\n") & set(value) for _, value in answer.headers)
    return answer.status_code


@pytest.mark.sweep
@pytest.mark.parametrize("odd", [*BREAKS, *ODD], ids=repr)
def test_an_odd_path_or_query_is_no_server_error(stranger: Console, odd: str) -> None:
    for path in PATHS:
        for method in ("GET", "POST"):
            for environ in (
                {"PATH_INFO": path + odd},
                {"PATH_INFO": odd + path},
                {"PATH_INFO": path, "QUERY_STRING": odd},
                {"PATH_INFO": path, "QUERY_STRING": f"x={odd}&next=/console/{odd}&id={odd}"},
            ):
                assert status(stranger, method, **environ) < 500, (method, environ)


@pytest.mark.sweep
@pytest.mark.parametrize("header", HEADERS)
def test_an_odd_header_is_no_server_error(stranger: Console, header: str) -> None:
    variable = header.upper().replace("-", "_")
    variable = variable if variable == "CONTENT_TYPE" else f"HTTP_{variable}"
    for value in [*ODD, *HEADERS[header]]:
        for method, path in (
            ("GET", "/console"), ("GET", "/console/sign-in"), ("POST", "/console/sign-in"),
            ("GET", "/console/static/console.css"), ("GET", "/metrics"),
        ):  # fmt: skip
            environ = {"PATH_INFO": path, variable: value}
            assert status(stranger, method, **environ) < 500, (method, environ)


def bodies(token: str, field: str, value: str) -> dict[str, bytes]:
    """Return a form in both encodings, with the value as it is."""
    raw = value.encode("latin-1")
    part = 'Content-Disposition: form-data; name="{}"\r\n\r\n'
    multipart = f"--b\r\n{part.format('csrf_token')}{token}\r\n--b\r\n{part.format(field)}".encode()
    file = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="'.encode()
    return {
        "application/x-www-form-urlencoded": b"csrf_token=%b&%b=%b&%b=%b" % (
            token.encode(), field.encode(), raw, field.encode(), quote(raw).encode()
        ),
        "multipart/form-data; boundary=b": multipart + raw + b"\r\n--b--",
        "multipart/form-data; boundary=b; x": file + raw + b'"\r\n\r\n' + raw + b"\r\n--b--",
    }  # fmt: skip


@pytest.mark.sweep
@pytest.mark.parametrize("field", ["password", "next", "language", "csrf_token"])
@pytest.mark.parametrize("path", ["/sign-in", "/language", "/sign-out", "/templates/preview"])
def test_an_odd_form_is_no_server_error(visitor: Console, path: str, field: str) -> None:
    token = visitor.token()
    for n, odd in enumerate([*BREAKS, *ODD]):
        address = {"REMOTE_ADDR": f"192.0.2.{n}"}  # or the limit on guesses would answer
        for kind, body in bodies(token, field, odd).items():
            answer = visitor.client.post(
                f"/console{path}", data=body, content_type=kind, environ_overrides=address
            )
            assert answer.status_code < 500, (odd, kind)


def test_a_form_that_is_too_large_is_refused(visitor: Console) -> None:
    answer = visitor.client.post("/console/sign-in", data={"password": "x" * 2_000_000})
    assert answer.status_code == 413
    many = "&".join(f"a{n}=" for n in range(50_000))
    form = "application/x-www-form-urlencoded"
    assert visitor.client.post("/console/sign-in", data=many, content_type=form).status_code == 400


@pytest.mark.parametrize(
    "odd",
    [*BREAKS, "\x00", "\x1c", "\x7f", "\x85", "\u2028", "\u202e", "\t", "\\", "\\evil"],
    ids=repr,
)
def test_no_redirect_leads_to_an_odd_address(visitor: Console, odd: str) -> None:
    """Also through the sign-in page, which hands on what it was asked for, and the language."""
    address = f"/console/{odd}"
    page = visitor.get("/sign-in", query_string={"next": address})
    assert page.status_code == 200
    switched = visitor.post("/language", language="en", next=address)
    assert (switched.status_code, switched.headers["Location"]) == (303, "/console/")
    signed_in = visitor.sign_in(next=address)
    assert (signed_in.status_code, signed_in.headers["Location"]) == (303, "/console/")


def test_an_ordinary_address_is_still_led_to(visitor: Console) -> None:
    for address in ("/console/events?text=100%25&app=应用", "/console/templates/我的 1.text.j2"):
        answer = visitor.sign_in(PASSWORD, next=address)
        assert answer.status_code == 303
        assert path_of(answer) == quote(address.partition("?")[0])
