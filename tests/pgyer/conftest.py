"""A bridge's parts that ask a stand-in for Pgyer, without HTTP and by a still clock."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pgyer_api import KEY, FakePgyer, Row, webhook
from support import Clock, environment

from bridge import configure
from bridge.model import Secret
from bridge.pgyer.client import Client, Reply, read
from bridge.pgyer.poller import Poller
from bridge.pgyer.watch import Verdict, Watch
from bridge.receiving import intake
from bridge.receiving.intake import Intake
from bridge.storage.builds import PgyerBuilds
from bridge.storage.outbox import Accepted, Outbox
from bridge.storage.queries import Queries, Wanted
from bridge.storage.shared_values import SharedValues


class Direct(Client):
    """Asks the stand-in without HTTP."""

    def __init__(self, fake: FakePgyer, key: str = KEY) -> None:
        super().__init__(Secret(key), "http://127.0.0.1:9", fake.clock)
        self.fake = fake

    def _post(self, url: str, seconds: float, form: dict[str, str]) -> Reply:
        form = {"_api_key": self._key.reveal(), **form}
        status, body = self.fake.answer(url.rpartition("/")[2], form)
        return Reply(read(status, body), self.fake.clock())


class Process:
    """What one process has, on a database that others may share."""

    def __init__(
        self, url: str, fake: FakePgyer, clock: Clock, folder: Path, key: str = KEY
    ) -> None:
        environ = environment(folder, DATABASE_URL=url, PGYER_API_KEY=key)
        settings, routes = configure(environ)
        self.outbox = Outbox(
            url, settings.bots, rate=18, max_age=86400.0, dedupe=600.0, clock=clock,
            finds_builds=True,
        )  # fmt: skip
        self.intake = Intake(self.outbox, routes, settings.timezone)
        self.queries = Queries(self.outbox.database, settings.bots)
        self.known = PgyerBuilds(self.outbox.database)
        self.client, self.clock = Direct(fake, key), clock
        self.watch = Watch(self.client, self.known, self.accept, 86400.0, clock)
        shared = SharedValues(self.outbox.database)
        self.poller = Poller(self.watch, shared, Secret(key), 300.0, clock, lambda: 0.0)
        self.first_at = 0.0

    def accept(self, event: Any) -> Accepted:
        return self.intake.store([event]).stored[0][2]

    def post(self, build: Row, bots: tuple[str, ...] = (), **more: Any) -> Accepted:
        """Post the webhook of a build."""
        body = json.dumps(webhook(build, **more)).encode()
        return self.intake.store(intake.read(body, self.clock()), bots).stored[0][2]

    def look(self) -> dict[str, str]:
        """Look once; return what became of each build that is not known, by its key."""
        look = self.watch.look(self.first_at)
        self.first_at = self.first_at or look.at
        if look.failure:
            raise look.failure
        return {s.build.key: s.verdict for s in look.seen if s.verdict is not Verdict.KNOWN}

    def sent(self) -> list[str]:
        """Return the events that were found by asking, oldest first: app, version, number."""
        lines = [line for line in self.queries.events(Wanted()).events if line.source == "api"]
        names = ("title", "os_version", "build_version")
        return [" ".join(line.fields[name] for name in names) for line in reversed(lines)]


@pytest.fixture
def fake(clock: Clock) -> FakePgyer:
    return FakePgyer(clock)


@pytest.fixture
def start(
    database_url: str, fake: FakePgyer, clock: Clock, tmp_path: Path
) -> Callable[..., Process]:
    """Start a process; several share one database."""
    return lambda **more: Process(database_url, fake, clock, tmp_path, **more)


@pytest.fixture
def process(start: Callable[..., Process], fake: FakePgyer, clock: Clock) -> Process:
    """A process that has looked once: of the app `demo` it knows build 1."""
    process = start()
    fake.upload(age=0.0)
    assert process.look() == {"demo-0000": "baseline"}
    clock.advance(1000.0)
    fake.names()
    return process
