"""Icon and QR code in the message of a webhook, where a template asks for them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from outbox_helpers import FakeClient
from pgyer_api import FakePgyer, Row
from rendering import SHANGHAI, folder
from support import Clock

from bridge.delivery.sender import Call, Sender
from bridge.messages.renderer import Renderer
from bridge.model import Bot
from bridge.pgyer import lookup as lookups
from bridge.pgyer.lookup import Lookup

ASKS = "{{ title }} {{ build_version }}\n{{ build.icon|optional }}\n{{ build.qrcode|optional }}"


@pytest.fixture
def send(process: Any, bots: dict[str, Bot], clock: Clock, tmp_path: Path) -> Callable[..., str]:
    """Post the webhook of a build, and send its message by a template; return its text."""
    client, lookup = FakeClient(), Lookup(process.client, process.known)

    def send(build: Row, template: str = ASKS, bot: str = "default") -> str:
        renderer = Renderer(folder(tmp_path, updateVersion__markdown=template), SHANGHAI)
        sender = Sender(process.outbox, renderer, client, bots, clock, time.sleep, lookup)
        process.post(build, (bot,))
        for attempt in process.outbox.claim(10):
            sender.send(attempt, Call())
        return str(client.sent[-1][1].body["content"])

    return send


def test_a_template_that_asks_gets_them(send: Callable[..., str], fake: FakePgyer) -> None:
    build = fake.upload(age=0.0)
    text = send(build)
    assert text.startswith("App demo 2\nhttps://cdn-app-icon2.pgyer.com/3/2/6/a/f/")
    assert text.endswith("\nhttps://www.pgyer.com/app/qrcodeHistory/demo-0001")
    assert fake.names() == ["view"]
    send(build, bot="dev")  # another event, and therefore asked for once more
    assert fake.names() == ["view"]


@pytest.mark.parametrize(
    ("template", "asks"),
    [
        ("{{ title }}", False),
        ("{{ title }}{{ payload.build }}", False),
        ("{{ title }}{% if build %}+{% endif %}", True),
        ("{{ title }}{{ build['qrcode'] }}", True),
        ("{{ title }}{{ build.get('icon') }}", True),
        ("{% if title == 'x' %}{{ build.icon }}{% endif %}{{ title }}", False),
    ],
)
def test_only_what_asks_is_looked_up(
    send: Callable[..., str], fake: FakePgyer, template: str, asks: bool
) -> None:
    assert send(fake.upload(age=0.0), template).startswith("App demo")
    assert fake.names() == (["view"] if asks else [])


def test_what_was_found_by_asking_has_them_already(
    process: Any, send: Callable[..., str], fake: FakePgyer
) -> None:
    fake.upload()
    process.look()
    fake.names()
    assert "qrcodeHistory/demo-0001" in send(fake.upload(age=0.0))  # sends what is due before it
    assert fake.names() == []


def test_pictures_of_another_build_are_not_shown(send: Callable[..., str], fake: FakePgyer) -> None:
    older = fake.upload(age=10.0)
    fake.upload(age=0.0)
    assert send(older) == "App demo 2"


def test_an_app_that_is_not_known_is_not_asked_for(
    send: Callable[..., str], fake: FakePgyer
) -> None:
    assert send(fake.upload("other", age=0.0)) == "App other 1"
    assert fake.names() == []


def test_a_pgyer_that_fails_costs_no_message_and_is_left_alone(
    send: Callable[..., str], fake: FakePgyer
) -> None:
    fake.fault = lambda name: (502, b"")
    assert send(fake.upload(age=0.0)) == "App demo 2"
    fake.fault = lambda name: None
    assert send(fake.upload(age=0.0)) == "App demo 3"
    assert fake.names() == ["view"]


def test_a_build_whose_question_failed_is_asked_for_again_after_a_pause(
    process: Any, fake: FakePgyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = process.queries.event(process.post(fake.upload(age=0.0)).event)
    lookup = Lookup(process.client, process.known)
    fake.fault = lambda name: (502, b"")
    assert lookup(event) == {}
    fake.fault = lambda name: None
    for _ in range(3):  # its message is tried again and again
        assert lookup(event) == {}
    assert fake.names() == ["view"]
    monkeypatch.setattr(lookups, "PAUSE", 0.0)
    lookup._pause()  # ends
    assert lookup(event)["qrcode"]


def test_a_slow_pgyer_holds_up_one_message_for_two_seconds_at_most(
    process: Any, fake: FakePgyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several bots of one event wait together, and nobody waits after that."""
    assert lookups.DEADLINE == 2.0
    monkeypatch.setattr(lookups, "DEADLINE", 0.2)
    answers = threading.Event()
    fake.fault = lambda name: answers.wait(30) and None
    build = fake.upload(age=0.0)
    event = process.queries.event(process.post(build).event)
    lookup = Lookup(process.client, process.known)
    began = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lookup, [event] * 3)) == [{}] * 3
    other = process.queries.event(process.post(build, notes="x").event)
    assert lookup(other) == {}
    assert time.monotonic() - began < 5.0
    monkeypatch.setattr(lookups, "DEADLINE", 60.0)
    assert lookup(event) == {}  # one more bot, or the next try of the message
    answers.set()
    for thread in threading.enumerate():
        if thread.name == "pgyer-view":
            thread.join(30)
    assert lookup(event)["qrcode"]
    assert fake.names() == ["view"]
