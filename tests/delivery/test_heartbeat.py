"""The heartbeat: called while all is well, once a minute over all processes."""

from collections.abc import Callable, Iterator

import pytest
import requests
import responses
from support import Clock

from bridge.delivery.heartbeat import Heartbeat, failing_url
from bridge.errors import StorageError
from bridge.model import Secret
from bridge.storage.database import Database
from bridge.storage.shared_values import SharedValues

URL = "https://hc.example.com/ping/0f3b-9c54"
FAIL = f"{URL}/fail"
Make = Callable[..., Heartbeat]


@pytest.fixture
def wrong() -> list[str]:
    return []


@pytest.fixture
def make(database_url: str, clock: Clock, wrong: list[str]) -> Make:
    """A heartbeat as each process has one, with a connection of its own."""

    def make(url: str = URL) -> Heartbeat:
        shared = SharedValues(Database(database_url))
        return Heartbeat(Secret(url), lambda: wrong, shared, clock)

    return make


@pytest.fixture
def monitor() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as monitor:
        monitor.get(URL)
        monitor.get(FAIL)
        yield monitor


def called(monitor: responses.RequestsMock) -> list[str | None]:
    return [call.request.url for call in monitor.calls]


def test_it_is_called_at_the_start_and_then_every_minute(
    make: Make, clock: Clock, monitor: responses.RequestsMock
) -> None:
    heartbeat = make()
    moments = []
    for _ in range(40):  # looks, 5 s apart
        before = len(monitor.calls)
        heartbeat.beat()
        moments += [clock.now] * (len(monitor.calls) - before)
        clock.advance(5.0)
    assert [moment - moments[0] for moment in moments] == [0.0, 60.0, 120.0, 180.0]


def test_of_several_processes_one_calls(
    make: Make, clock: Clock, monitor: responses.RequestsMock
) -> None:
    processes = [make() for _ in range(3)]
    for _ in range(24):
        for process in processes:
            process.beat()
        clock.advance(5.0)
    assert called(monitor) == [URL] * 2


def test_when_the_process_that_called_dies_another_one_calls_within_a_minute(
    make: Make, clock: Clock, monitor: responses.RequestsMock
) -> None:
    first, second = make(), make()
    first.beat()
    clock.advance(60.0)
    second.beat()
    assert called(monitor) == [URL] * 2


def test_a_process_that_starts_again_calls_within_seconds(
    make: Make, clock: Clock, monitor: responses.RequestsMock
) -> None:
    make().beat()
    clock.advance(4.0)
    again = make()
    for _ in range(3):
        again.beat()
        clock.advance(5.0)
    assert called(monitor) == [URL] * 2


def test_a_clock_that_is_set_back_does_not_silence_it(
    make: Make, clock: Clock, monitor: responses.RequestsMock
) -> None:
    heartbeat = make()
    heartbeat.beat()
    clock.advance(-3600.0)
    heartbeat.beat()
    assert called(monitor) == [URL] * 2


def test_what_is_wrong_is_reported_as_a_failure(
    make: Make, clock: Clock, monitor: responses.RequestsMock, wrong: list[str]
) -> None:
    heartbeat = make()
    wrong.append("bot dev is stopped")
    heartbeat.beat()
    wrong.clear()
    clock.advance(60.0)
    heartbeat.beat()
    assert called(monitor) == [FAIL, URL]


def test_without_a_database_each_process_reports_the_failure_once_a_minute(
    make: Make,
    monitor: responses.RequestsMock,
    wrong: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_values: object) -> bool:
        raise StorageError("disk full")

    heartbeat = make()
    monkeypatch.setattr(SharedValues, "take_turn", broken)
    wrong.append("database: disk full")
    for _ in range(3):
        heartbeat.beat()
    assert called(monitor) == [FAIL]


@pytest.mark.parametrize(
    ("url", "failing"),
    [
        (URL, FAIL),
        (f"{URL}/", FAIL),
        (f"{URL}?rid=1", f"{FAIL}?rid=1"),
        (
            "http://kuma.example.com/api/push/k?status=up&msg=OK&ping=",
            "http://kuma.example.com/api/push/k?status=down&msg=OK&ping=",
        ),
    ],
)
def test_each_kind_of_monitor_is_told_of_a_failure_in_its_own_way(url: str, failing: str) -> None:
    assert failing_url(url) == failing


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 404}, "HTTP 404"),
        (
            {"status": 302, "headers": {"Location": "https://elsewhere.example.com"}},
            "HTTP 302, a redirect, which is not followed",
        ),
        ({"body": requests.ConnectionError(f"no way to {URL}")}, "ConnectionError"),
    ],
)
def test_a_call_that_fails_is_a_warning_once_without_the_address(
    make: Make,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    answer: dict[str, object],
    reason: str,
) -> None:
    heartbeat = make()
    with responses.RequestsMock() as monitor:
        monitor.get(URL, **answer)
        for _ in range(3):
            heartbeat.beat()
            clock.advance(60.0)
        assert len(monitor.calls) == 3
    [line] = [record.getMessage() for record in caplog.records]
    assert reason in line and "BRIDGE_HEARTBEAT_URL" in line
    assert "hc.example.com" not in caplog.text
