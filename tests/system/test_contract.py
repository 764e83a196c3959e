"""The contract's table of answers, a test for each row, over the real program."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support import TOKEN, Deployment, environment, until
from system_helpers import DEFAULT, contents

from bridge.sandbox import Sandbox, serve

OLD = "the-old-token-of-ours"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Sandbox, str]]:
    box = Sandbox({"key-of-default": "default", "key-of-dev": "dev"}, rate=None)
    with serve(box) as url:
        yield box, url


@pytest.fixture(scope="module")
def bridge(
    served: tuple[Sandbox, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("contract")
    tokens = {"BRIDGE_TOKEN": f"{TOKEN},{OLD}", "WECOM_API_URL": served[1]}
    deployment = Deployment(folder, environment(folder, **tokens)).start()
    yield deployment
    deployment.kill()


def test_an_event_is_accepted_for_the_bots_of_the_routes(bridge: Deployment) -> None:
    answer = bridge.post('{"type": "feedback", "n": 1}')
    assert answer.status_code == 200
    event = answer.json()["event"]
    assert answer.json() == {"status": "accepted", "event": event, "bots": ["default"]}
    assert isinstance(event, int) and event > 0
    assert answer.headers["Content-Type"] == "application/json"


def test_an_event_is_accepted_for_the_bots_in_the_address(bridge: Deployment) -> None:
    answer = bridge.post('{"type": "feedback", "n": 2}', "/dev,default").json()
    assert (answer["status"], answer["bots"]) == ("accepted", ["dev", "default"])


def test_an_unknown_bot_is_404_by_name(bridge: Deployment) -> None:
    answer = bridge.post("{}", "/dev,nobody")
    assert answer.status_code == 404
    assert "nobody" in answer.json()["error"]
    assert requests.get(f"{bridge.hook}/nobody", timeout=20).status_code == 404


def test_the_same_payload_again_is_a_duplicate(bridge: Deployment) -> None:
    first = bridge.post('{"type": "feedback", "n": 3, "timestamp": 1}').json()["event"]
    again = bridge.post('{"n": 3, "timestamp": 2, "type": "feedback"}')
    assert (again.status_code, again.json()) == (200, {"status": "duplicate", "event": first})


@pytest.mark.parametrize("body", ["", " \n "])
def test_an_empty_body_is_a_ping(bridge: Deployment, body: str) -> None:
    answer = bridge.post(body)
    assert (answer.status_code, answer.json()) == (200, {"status": "ping"})


def test_an_array_is_several_events(bridge: Deployment) -> None:
    answer = bridge.post('[{"type": "a", "n": 4}, {"type": "b", "n": 4}]').json()
    first, second = answer["events"]
    assert (answer["status"], answer["event"], second) == ("accepted", first, first + 1)


def test_an_undecodable_body_is_400_and_the_group_gets_a_notice(
    bridge: Deployment, served: tuple[Sandbox, str]
) -> None:
    answer = bridge.post("\x00 no event <@all>")
    assert answer.status_code == 400
    assert "decoded" in answer.json()["error"]
    again = bridge.post("\x00 no event <@all>")
    assert (again.status_code, again.json()["event"]) == (400, answer.json()["event"])
    until(lambda: any("no event" in text for text in contents(served[0], DEFAULT)))
    [notice] = [text for text in contents(served[0], DEFAULT) if "no event" in text]
    assert "no event <\u200b@all>" in notice
    assert len(notice.splitlines()) <= 6


def test_a_body_over_1_mib_is_413(bridge: Deployment) -> None:
    assert bridge.post(b" " * ((1 << 20) + 1)).status_code == 413
    assert bridge.post(b'{"a": 1}' + b" " * ((1 << 20) - 8)).status_code == 200


@pytest.mark.parametrize("more", [0, 1, 1 << 20])
@pytest.mark.parametrize("begin", [b'{"title": "', b"type=feedback&notes="], ids=["json", "form"])
def test_a_body_of_unknown_length_is_taken_or_refused_as_a_whole(
    bridge: Deployment, begin: bytes, more: int
) -> None:
    end = b'"}' if begin.startswith(b"{") else b"&build_version=7"
    body = begin + b"x" * ((1 << 20) + more - len(begin + end)) + end
    chunks = (body[n : n + 65_536] for n in range(0, len(body), 65_536))
    answer = requests.post(bridge.hook, data=chunks, timeout=20)
    assert answer.status_code == (413 if more else 200)


def test_a_wrong_token_is_404_as_any_unknown_path(bridge: Deployment) -> None:
    wrong = requests.post(f"{bridge.url}/pgyer/wrong", data="{}", timeout=20)
    nowhere = requests.get(f"{bridge.url}/nowhere", timeout=20)
    assert wrong.status_code == nowhere.status_code == 404
    assert wrong.content == nowhere.content


def test_both_tokens_of_a_rotation_open_and_no_other(bridge: Deployment) -> None:
    def status(token: str) -> int:
        return requests.post(f"{bridge.url}/pgyer/{token}", timeout=20).status_code

    assert (status(TOKEN), status(OLD)) == (200, 200)
    assert status(OLD[:-1]) == status(f"{TOKEN},{OLD}") == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_405(bridge: Deployment, method: str) -> None:
    answer = requests.request(method, bridge.hook, timeout=20)
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["", "/", "/dev", "/dev/"])
def test_get_on_the_address_is_a_friendly_line(bridge: Deployment, path: str) -> None:
    greeting = requests.get(bridge.hook + path, timeout=20)
    assert greeting.status_code == 200
    assert greeting.text.count("\n") == 1


@pytest.mark.parametrize("path", ["/", "/healthz", "/healthz/"])
def test_health_checks_are_200(bridge: Deployment, path: str) -> None:
    assert requests.get(bridge.url + path, timeout=20).status_code == 200


def test_readiness_is_200_with_what_is_pending(bridge: Deployment) -> None:
    def ready() -> requests.Response:
        return requests.get(f"{bridge.url}/readyz", timeout=20)

    until(lambda: ready().json()["pending"] == 0)
    assert (ready().status_code, ready().json()["status"]) == (200, "ready")


@pytest.mark.parametrize("path", ["/metrics", "/console/"])
def test_without_a_password_console_and_metrics_do_not_exist(bridge: Deployment, path: str) -> None:
    assert requests.get(bridge.url + path, timeout=20).status_code == 404
