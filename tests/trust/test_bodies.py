"""Mutated bodies: each is an event, or refused with its bytes kept; never a server error."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bodies import NOW, PLAIN, TRADITIONAL, UPDATE, WRAPPINGS, Wrapped, dumps
from support import ROOT, TOKEN, Deployment, Session, environment
from trust.load import Figure, settle
from trust.scale import scaled

from bridge.app import create_app
from bridge.errors import TooLargeError, UndecodableError
from bridge.model import FIELDS
from bridge.receiving import decoding
from bridge.samples import samples
from bridge.sandbox import Sandbox

DECODED, POSTED, SENT = scaled(50_000, 5_000_000), scaled(500, 50_000), scaled(150, 5_000)
SEED = 31

_BITS = (
    *(b"{ } [ ] \" ' : , \\ \n \r = & % + # // /* */ ; -- NaN null true 1e999 0x -0".split(b" ")),
    *(b"\0", b" ", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b", b"%7B", b"%FF"),
    *(b'"type"', b"type=", b"payload=", b'\\"', b"\\ud83d", b"\\u0000", "\u202e应".encode()),
    *(b"--xXbOuNdArYXx", b"\r\n\r\n", b"9" * 400, b"[" * 200, b'{"a":' * 120, b"<@all>"),
)
_TYPES = (
    "",
    "application/json",
    "text/plain; charset=gbk",
    "text/plain; charset=utf-16",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=xXbOuNdArYXx",
    "multipart/form-data",
    'a/b; charset="',
)
_ENCODINGS = ("", "", "", "gzip", "deflate", "br")


def originals() -> list[Wrapped]:
    """Return the bodies that are mutated: every wrapping of some events, and Pgyer's samples."""
    wrapped = [
        wrap(values) for wrap in WRAPPINGS.values() for values in (UPDATE, PLAIN, TRADITIONAL)
    ]
    documented = [path.read_bytes() for path in (ROOT / "tests" / "pgyer_samples").glob("*.txt")]
    bodies = [*samples().values(), *sorted(documented)]
    return [*wrapped, *((body, "application/json", "") for body in bodies)]


def mutated(dice: random.Random) -> Iterator[Wrapped]:
    """Yield bodies with a few changes each, without end."""
    bodies = originals()
    while True:
        body, content_type, encoding = dice.choice(bodies)
        for _ in range(dice.choice((1, 1, 2, 3, 8))):
            at = dice.randrange(len(body) + 1)
            to = min(len(body), at + dice.choice((1, 1, 2, 16, 400)))
            match dice.randrange(6):
                case 0:
                    body = body[:at] + body[to:]
                case 1:
                    body = body[:to] + body[at:]
                case 2:
                    body = body[:at] + dice.choice(_BITS) + body[at:]
                case 3:
                    body = body[:at] + dice.choice(_BITS) + body[to:]
                case 4 if body:
                    at %= len(body)
                    body = body[:at] + bytes([body[at] ^ 1 << dice.randrange(8)]) + body[at + 1 :]
                case 5:
                    other = dice.choice(bodies)[0]
                    body = body[:at] + other[dice.randrange(len(other) + 1) :]
        if dice.random() < 0.3:
            content_type = dice.choice(_TYPES)
        if dice.random() < 0.2:
            encoding = dice.choice(_ENCODINGS)
        yield body, content_type, encoding.strip()


def test_a_mutated_body_is_decoded_or_refused(figure: Figure) -> None:
    print(f"seed {SEED}")
    results: Counter[str] = Counter()
    bodies = mutated(random.Random(SEED))
    for _ in range(DECODED):
        body, content_type, encoding = next(bodies)
        try:
            events = decoding.decode(body, NOW, content_type, encoding)
        except TooLargeError:
            results["too large"] += 1
            continue
        except UndecodableError as error:
            events = [decoding.undecodable(body, NOW, str(error))]
            results["kept as undecodable"] += 1
        else:
            results["decoded" if events else "empty"] += 1
        for event in events:
            text = dumps(event.payload)
            assert "\0" not in text
            text.encode()
            assert event.fields.keys() == set(FIELDS)
    assert results["decoded"] > DECODED / 4
    figure(f"{DECODED:,} mutated bodies decoded: {dict(results)}, no other error")


def test_a_mutated_body_is_answered_by_the_app(tmp_path: Path, figure: Figure) -> None:
    print(f"seed {SEED + 1}")
    app = create_app(environment(tmp_path, BRIDGE_DISPATCH="off"))
    client, statuses = app.test_client(), Counter[int]()
    bodies = mutated(random.Random(SEED + 1))
    for _ in range(POSTED):
        body, content_type, encoding = next(bodies)
        headers = {"Content-Type": content_type, "Content-Encoding": encoding}
        answer = client.post(f"/pgyer/{TOKEN}", data=body, headers=headers)
        assert answer.status_code in (200, 400, 413), answer.text
        statuses[answer.status_code] += 1
        if answer.status_code == 400:
            assert answer.json["event"]
    app.extensions["bridge"].close()
    figure(f"{POSTED:,} mutated bodies posted to the app: {dict(statuses)}")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_a_mutated_body_says_is_sent(
    kind: str,
    sandbox: tuple[Sandbox, str],
    deploy: Callable[..., Deployment],
    request: pytest.FixtureRequest,
    figure: Figure,
) -> None:
    """Over HTTP, stored, rendered and taken by the sandbox, whose rules are WeCom's."""
    box, api = sandbox
    more = {"BRIDGE_RATE": "1000000", "LOG_FORMAT": "json"}
    if kind == "postgresql":
        more["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    bridge, statuses = deploy(api, **more).start(), Counter[int]()
    print(f"seed {SEED + 2}")
    bodies = mutated(random.Random(SEED + 2))
    with Session() as session:
        for _ in range(SENT):
            body, content_type, encoding = next(bodies)
            headers = {"Content-Type": content_type, "Content-Encoding": encoding}
            answer = bridge.post(body, by=session, headers=headers)
            assert answer.status_code in (200, 400, 413), answer.text
            statuses[answer.status_code] += 1
    settle(bridge)
    refused = [call for call in box.calls if call.errcode]
    assert not refused, refused[0]
    assert bridge.stop() == 0
    for line in bridge.log.read_text().splitlines():
        assert json.loads(line)["level"] not in ("ERROR", "CRITICAL"), line
    figure(f"{SENT:,} mutated bodies over HTTP on {kind}: {dict(statuses)}, all sent")
