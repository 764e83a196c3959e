"""When Pgyer is asked: by one process of all, at intervals, later while it is away."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from pgyer_api import KEY, FakePgyer
from support import Clock

from bridge.pgyer.poller import LEASE, State

Start = Callable[..., Any]
OTHER_KEY = "ffffffffffffffffffffffffffffffff"


def looks(clock: Clock, seconds: int, *processes: Any, step: float = 5.0) -> list[float]:
    """Let processes try by turns for so long; return when any of them looked, from now on."""
    began, moments = clock.now, []
    while clock.now < began + seconds:
        moments += [clock.now - began for process in processes if process.poller.poll()]
        clock.advance(step)
    return moments


def test_it_looks_at_the_start_and_at_each_interval(
    start: Start, clock: Clock, fake: FakePgyer
) -> None:
    fake.upload()
    first, second = start(), start()
    assert looks(clock, 950, first, second) == [0.0, 300.0, 600.0, 900.0]
    assert fake.names() == ["listMy"] * 4
    assert looks(clock, 600, start()) == [250.0, 550.0]  # a restart changes nothing
    state = second.poller.state()
    assert (state.apps, state.builds, state.outcome, state.failures) == (1, 1, "ok", 0)
    assert state.good_at == clock.now - 50.0


def test_the_interval_has_jitter(start: Start, clock: Clock, fake: FakePgyer) -> None:
    process = start()
    process.poller._jitter = lambda: 1.0
    assert looks(clock, 700, process) == [0.0, 330.0, 660.0]


def test_a_build_that_came_while_the_bridge_was_down_is_sent_after_the_start(
    start: Start, clock: Clock, fake: FakePgyer
) -> None:
    fake.upload()
    start().poller.poll()
    clock.advance(3600.0)
    fake.upload()
    process = start()
    process.poller.poll()
    assert process.sent() == ["App demo 1.2 2"]


def test_when_pgyer_is_away_it_is_asked_less_often_until_it_answers(
    start: Start, clock: Clock, fake: FakePgyer, caplog: pytest.LogCaptureFixture
) -> None:
    process = start()
    process.poller._jitter = lambda: 1.0
    fake.fault = lambda name: (200, b"<html>")
    moments = looks(clock, 11_000, process, step=10.0)
    gaps = [after - before for before, after in pairwise(moments)]
    assert gaps == [660.0, 1320.0, 2640.0, 3000.0, 3000.0]  # at most ten intervals
    state = process.poller.state()
    assert (state.failures, state.outcome, state.good_at) == (len(moments), "away", 0.0)
    assert not process.poller.problem()
    fake.fault = lambda name: None
    clock.advance(3000.0)
    assert process.poller.poll()
    clock.advance(329.0)
    assert not process.poller.poll()
    clock.advance(1.0)
    assert process.poller.poll()
    assert len([r for r in caplog.records if "asking Pgyer for builds failed" in r.message]) == 1
    assert KEY not in caplog.text


@pytest.mark.parametrize("code", [1002, 1055])
def test_a_wrong_key_is_a_problem_until_it_is_another(
    start: Start, clock: Clock, fake: FakePgyer, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    fake.upload(age=0.0)
    process = start()
    process.poller.poll()
    clock.advance(1000.0)
    fake.upload()
    fake.key = OTHER_KEY  # it was reset
    fake.fault = lambda name: (200, b'{"code":%d}' % code) if name == "listMy" else None
    process.poller.poll()
    assert process.poller.problem() == f"PGYER_API_KEY: Pgyer does not know the key (code {code})"
    assert "set PGYER_API_KEY anew" in caplog.text
    # With the new key it looks at once, knows the apps, and sends what came meanwhile.
    fake.fault = lambda name: None
    clock.advance(1.0)
    rotated = start(key=OTHER_KEY)
    assert not rotated.poller.problem()
    assert rotated.poller.poll()
    assert not rotated.poller.poll()
    assert rotated.sent() == ["App demo 1.2 2"]


def test_what_came_before_a_new_key_is_sent_although_its_first_look_failed(
    start: Start, clock: Clock, fake: FakePgyer
) -> None:
    fake.upload()
    start().poller.poll()
    fake.upload(age=0.0)
    clock.advance(5 * 86_400.0)
    fake.key = OTHER_KEY
    fake.fault = lambda name: (502, b"") if name == "builds" else None
    process = start(key=OTHER_KEY)
    process.poller.poll()
    fake.fault = lambda name: None
    clock.advance(1000.0)
    process.poller.poll()
    assert process.sent() == ["App demo 1.2 2"]


def test_a_key_of_another_account_begins_anew(start: Start, clock: Clock, fake: FakePgyer) -> None:
    fake.upload()
    start().poller.poll()
    clock.advance(1000.0)
    fake.builds.clear()
    fake.key = OTHER_KEY
    fake.upload("theirs")
    process = start(key=OTHER_KEY)
    process.poller.poll()
    assert process.sent() == []


def test_processes_with_different_keys_do_not_ask_in_turn_without_end(
    start: Start, clock: Clock, fake: FakePgyer
) -> None:
    processes = [start(), start(key=OTHER_KEY)]
    for _ in range(10):
        for process in processes:
            process.poller.poll()
    assert len(fake.asked) == 2


def test_when_the_process_that_asks_dies_another_takes_over(
    start: Start, clock: Clock, fake: FakePgyer
) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        raise Killed

    dying, other = start(), start()
    fake.fault = kill
    dying.poller._shared.end_turn = lambda *_: None  # it does not come to that
    with pytest.raises(Killed):
        dying.poller.poll()
    fake.fault = lambda name: None
    assert looks(clock, 300, other) == [LEASE]


def test_a_clock_that_was_set_back_does_not_silence_it(
    start: Start, clock: Clock, fake: FakePgyer
) -> None:
    process = start()
    process.poller.poll()
    clock.advance(-86_400.0)
    assert process.poller.poll()


def test_a_state_that_cannot_be_read_is_none(start: Start, clock: Clock, fake: FakePgyer) -> None:
    process = start()
    for text in ("", "null", "[]", '{"of": "another version"}'):
        process.poller._shared.change("pgyer", lambda *_, text=text: (text, clock()))
        assert process.poller.state().good_at == State().good_at


def test_the_key_is_in_no_row(start: Start, clock: Clock, fake: FakePgyer) -> None:
    process = start()
    fake.upload()
    process.poller.poll()
    fake.fault = lambda name: (200, b'{"code":1002}')
    clock.advance(1000.0)
    process.poller.poll()
    with process.outbox.database.read() as connection:
        rows = connection.execute("SELECT * FROM shared_values")
        assert KEY not in str([dict(row) for row in rows])
