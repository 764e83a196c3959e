"""The limit on guesses of the admin password."""

import pytest
from console_client import PASSWORD, Console
from support import Clock

from bridge.console.throttle import FAILURES, Throttle


def test_after_five_failures_even_the_password_has_to_wait(visitor: Console) -> None:
    for _ in range(FAILURES):
        assert visitor.sign_in("wrong").status_code == 401
    answer = visitor.sign_in()
    assert answer.status_code == 429
    wait = int(answer.headers["Retry-After"])
    assert 0 < wait <= 60
    assert f"Try again in {wait} seconds" in answer.text
    other = visitor.client.post(
        "/console/sign-in",
        data={"csrf_token": visitor.token(), "password": PASSWORD},
        headers={"X-Forwarded-For": "203.0.113.9"},
    )
    assert other.status_code == 303


def test_only_the_nearest_hop_says_who_is_calling(visitor: Console) -> None:
    """The router appends to X-Forwarded-For; what the caller wrote there comes before."""
    for n in range(FAILURES + 1):
        answer = visitor.client.post(
            "/console/sign-in",
            data={"csrf_token": visitor.token(), "password": "wrong"},
            headers={"X-Forwarded-For": f"198.51.100.{n}, 203.0.113.9"},
        )
    assert answer.status_code == 429


def test_tries_count_by_address_for_a_minute() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(FAILURES):
        assert throttle.enter("192.0.2.1") == 0
    assert throttle.enter("192.0.2.1") == 60
    clock.advance(59)
    assert throttle.enter("192.0.2.1") == 1
    assert throttle.enter("192.0.2.2") == 0
    clock.advance(1)
    assert throttle.enter("192.0.2.1") == 0
    throttle.forget("192.0.2.1")
    for _ in range(FAILURES):
        assert throttle.enter("192.0.2.1") == 0


def test_the_metrics_share_the_limit(visitor: Console) -> None:
    for _ in range(FAILURES):
        assert visitor.client.get("/metrics").status_code == 401  # nobody has guessed anything
    for _ in range(FAILURES):
        assert visitor.client.get("/metrics", auth=("x", "wrong")).status_code == 401
    answer = visitor.client.get("/metrics", auth=("x", PASSWORD))
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert visitor.sign_in().status_code == 429


def test_a_scraper_that_knows_the_password_is_never_limited(visitor: Console) -> None:
    for _ in range(2 * FAILURES):
        assert visitor.client.get("/metrics", auth=("x", PASSWORD)).status_code == 200


def test_a_whole_ipv6_network_counts_as_one_address() -> None:
    throttle = Throttle(Clock())
    waits = [throttle.enter(f"2001:db8:1:2::{n:x}") for n in range(FAILURES + 1)]
    assert waits[-1] == 60
    assert throttle.enter("2001:db8:1:3::1") == 0
    assert throttle.enter("no address at all") == 0


def test_the_number_of_remembered_addresses_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.console.throttle.ADDRESSES", 3)
    throttle = Throttle(Clock())
    for n in range(5):
        throttle.enter(f"192.0.2.{n}")
    assert list(throttle._failures) == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]


def test_ipv4_addresses_written_as_ipv6_are_counted_apart() -> None:
    throttle = Throttle(Clock())
    for _ in range(FAILURES):
        assert throttle.enter("::ffff:192.0.2.1") == 0
    assert throttle.enter("::ffff:192.0.2.1") == throttle.enter("::FFFF:c000:201") == 60
    assert throttle.enter("192.0.2.1") == 60
    assert throttle.enter("::ffff:192.0.2.2") == 0
