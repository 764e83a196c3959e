"""What the console, the checks and the metrics say of asking Pgyer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from console_client import PASSWORD, Console, serve
from pgyer_api import KEY, FakePgyer, webhook
from pgyer_api import serve as serve_pgyer
from support import Clock

SHOWN = {"zh": "补发：Webhook 未送达", "en": "Caught up: its webhook did not come"}


@pytest.fixture
def fake() -> Iterator[FakePgyer]:
    yield FakePgyer(Clock())


@pytest.fixture
def console(tmp_path: Path, fake: FakePgyer) -> Iterator[Console]:
    """A console whose bridge asks a stand-in for Pgyer when a test says so."""
    with serve_pgyer(fake) as url:
        console = serve(tmp_path, PGYER_API_KEY=KEY, PGYER_API_URL=url)
        console.sign_in()
        yield console
        console.bridge.close()


def ask(console: Console, fake: FakePgyer) -> None:
    """Ask once the time has come."""
    assert console.bridge.pgyer
    fake.clock.advance(3000.0)  # type: ignore[attr-defined]
    console.bridge.pgyer._clock = fake.clock
    console.bridge.pgyer.poll()


def test_the_overview_says_when_pgyer_was_asked_and_what_was_missing(
    console: Console, fake: FakePgyer
) -> None:
    page = console.page("/")
    assert "Pgyer was last asked: none yet" in page
    assert "feedback and crashes never" in page  # among the first steps
    fake.upload()
    ask(console, fake)
    page = console.page("/")
    assert "1 app · 1 build" in page and "did not come" not in page
    fake.upload(age=0.0)
    ask(console, fake)
    page = console.page("/")
    assert "The webhook of 1 build did not come in the last 7 days" in page
    assert 'href="/console/events/1">App demo 1.2 (2)</a>' in page
    for language, text in SHOWN.items():
        assert text in console.page("/events", language)
        assert text in console.page("/events/1", language)
    assert "buildIdentifier" in console.page("/events/1")
    assert console.client.get("/readyz").json["problems"] == []  # type: ignore[index]


def test_an_event_that_only_says_so_was_not_found_by_asking(
    console: Console, fake: FakePgyer
) -> None:
    number = console.event({**webhook(fake.upload()), "source": "api", "build": {"icon": "x"}})
    assert SHOWN["en"] not in console.page("/events") + console.page(f"/events/{number}")


def test_a_wrong_key_is_a_problem_everywhere_and_shows_nowhere(
    console: Console, fake: FakePgyer
) -> None:
    fake.key = "another"
    ask(console, fake)
    page = console.page("/")
    assert "Pgyer does not know the API Key." in page and "into PGYER_API_KEY" in page
    ready = console.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json["problems"] == [  # type: ignore[index]
        "PGYER_API_KEY: Pgyer does not know the key (code 1002)"
    ]
    metrics = console.client.get("/metrics", auth=("", PASSWORD)).text
    assert 'bridge_pgyer_asks_total{outcome="wrong_key"}' in metrics
    assert "\nbridge_pgyer_last_good_ask_seconds " not in metrics
    assert KEY not in page + ready.text + metrics
    fake.key = KEY
    ask(console, fake)
    assert console.client.get("/readyz").status_code == 200
    metrics = console.client.get("/metrics", auth=("", PASSWORD)).text
    assert "\nbridge_pgyer_last_good_ask_seconds " in metrics


def test_without_a_key_the_checklist_offers_the_second_way(tmp_path: Path) -> None:
    console = serve(tmp_path)
    console.sign_in()
    page = console.page("/")
    assert "No public address? Set PGYER_API_KEY" in page and "last asked" not in page
    console.bridge.close()
