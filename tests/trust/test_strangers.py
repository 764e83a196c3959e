"""Strangers at the door: guesses, odd requests and noise open nothing and break nothing."""

import random
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import requests
from support import TOKEN, Deployment, until
from trust.load import Figure, new_version
from trust.scale import scaled

from bridge.sandbox import Sandbox

GUESSES, NOISE = scaled(150, 10_000), scaled(60, 5_000)
OPEN = scaled(64, 500)  # connections that nobody closes
SEED = 37
PASSWORD = "an-admin-password-of-ours"
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "FOO")


def near(dice: random.Random, secret: str) -> str:
    """Return a guess that is nearly right, never right: one in thousands would be."""
    at = dice.randrange(len(secret))
    others = [letter for letter in "abcxyz-%0" if letter != secret[at]]
    return dice.choice(
        (
            secret[:at],
            secret[:at] + dice.choice(others) + secret[at + 1 :],
            secret.upper(),
            f"{secret}x",
            f"x{secret}",
            f"{secret}%00",
            secret.replace("-", "%2D") + "%20",
            f"..%2F{secret}",
        )
    )


def test_a_guessed_token_looks_like_any_unknown_path(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment], figure: Figure
) -> None:
    box, api = sandbox
    bridge = deploy(api, BRIDGE_ADMIN_PASSWORD=PASSWORD).start()
    dice, session = random.Random(SEED), requests.Session()
    print(f"seed {SEED}")
    nowhere = session.post(f"{bridge.url}/nowhere", timeout=20)
    for number in range(GUESSES):
        url = f"{bridge.url}/pgyer/{near(dice, TOKEN)}{dice.choice(('', '/dev', '/', '/a,b'))}"
        method = dice.choice(("POST", "POST", "GET"))
        answer = session.request(method, url, data=new_version(f"guess {number}"), timeout=20)
        assert (answer.status_code, answer.content) == (404, nowhere.content), url
    assert bridge.post(new_version("the real one")).status_code == 200
    until(lambda: len(box.messages()) == 1)
    assert bridge.stop() == 0
    assert len(box.calls) == 1
    assert TOKEN not in bridge.log.read_text()
    figure(f"{GUESSES:,} guesses of the token: each answered as an unknown path")


def test_a_guessed_password_is_soon_refused_unheard(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment], figure: Figure
) -> None:
    bridge = deploy(sandbox[1], BRIDGE_ADMIN_PASSWORD=PASSWORD).start()
    dice, statuses = random.Random(SEED), Counter[int]()
    print(f"seed {SEED}")
    for _ in range(GUESSES):
        answer = requests.get(f"{bridge.url}/metrics", auth=("", near(dice, PASSWORD)), timeout=20)
        statuses[answer.status_code] += 1
    assert statuses.keys() == {401, 429}
    assert statuses[401] <= 5 + GUESSES // 50, "five a minute for one address"
    assert requests.get(f"{bridge.url}/metrics", auth=("", PASSWORD), timeout=20).status_code == 429
    for path in ("", "events", "templates", "sign-in/../events"):
        page = requests.get(f"{bridge.url}/console/{path}", timeout=20, allow_redirects=False)
        assert page.status_code in (303, 404), page.text
    assert bridge.post(new_version("goes on")).status_code == 200
    assert bridge.stop() == 0
    figure(f"{GUESSES:,} guesses of the password: {dict(statuses)}")


def noise(dice: random.Random) -> bytes:
    """Return bytes that are nearly, or not at all, a request."""
    path = dice.choice(
        ("/", f"/pgyer/{TOKEN}", "/pgyer", "/console/", "/metrics", "/%00", "/%ff", "/a?b=%zz", "*")
    )
    lines = [f"{dice.choice(METHODS)} {path} HTTP/1.{dice.randrange(3)}".encode()]
    body = dice.randbytes(dice.randrange(200))
    lines += dice.sample(
        (
            b"Host: x",
            b"Host: \xff",
            b"Content-Length: %d" % dice.choice((len(body), 0, 5)),
            b"Content-Length: -1",
            b"Content-Length: 1e9",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
            b"Expect: 100-continue",
            b"Content-Type: multipart/form-data; boundary=",
            b"Cookie: bridge_console=\xff;=;",
            b"Authorization: Basic ====",
            b"Authorization: Bearer \xff",
            b"X-Forwarded-For: " + b"1," * 500,
            b"X-Forwarded-Proto: \x7f",
            b"A" * 9000 + b": x",
            b"no colon",
        ),
        dice.randrange(6),
    )
    request = b"\r\n".join([*lines, b"", b""]) + body
    if dice.random() < 0.3:
        at = dice.randrange(len(request))
        request = request[:at] + dice.randbytes(3) + request[at:]
    return request


def test_noise_on_the_socket_is_no_error_of_the_server(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment], figure: Figure
) -> None:
    box, api = sandbox
    bridge = deploy(api, BRIDGE_ADMIN_PASSWORD=PASSWORD).start()
    dice, statuses = random.Random(SEED), Counter[str]()
    print(f"seed {SEED}")
    for _ in range(NOISE):
        with socket.create_connection(("127.0.0.1", bridge.port), timeout=30) as client:
            client.sendall(noise(dice))
            client.shutdown(socket.SHUT_WR)
            try:
                answer = client.recv(1 << 16)
            except ConnectionError:
                answer = b""
        statuses[answer[9:12].decode("latin-1") or "closed"] += 1
    assert not [status for status in statuses if status.startswith("5") and status != "501"]
    with ExitStack() as staying:
        for _ in range(OPEN):
            client = staying.enter_context(socket.create_connection(("127.0.0.1", bridge.port)))
            client.sendall(noise(dice))
        # Within milliseconds; where a connection holds up the others, it does so for seconds.
        assert requests.get(f"{bridge.url}/healthz", timeout=10).status_code == 200
        assert bridge.post(new_version("goes on")).status_code == 200
    until(lambda: "goes on" in str([call.payload for call in box.messages()]))
    assert bridge.stop() == 0
    assert "Traceback" not in bridge.log.read_text()
    figure(f"{NOISE:,} noisy requests: {dict(statuses)}")
