"""Fixtures of the tests of the command."""

from pathlib import Path

import pytest
from cli_client import EndAll
from support import environment

from bridge import configure
from bridge.model import Outcome
from bridge.storage.results import Result
from bridge.wiring import Bridge


@pytest.fixture
def end_all(tmp_path: Path) -> EndAll:
    """End every pending delivery with an outcome; return how many."""

    def end(outcome: Outcome) -> int:
        bridge = Bridge(*configure(environment(tmp_path)))
        done = 0
        while claimed := bridge.outbox.claim(10):
            for attempt in claimed:
                bridge.outbox.record(Result(attempt, outcome))
                done += len(attempt.deliveries)
        bridge.close()
        return done

    return end
