"""`bridge pgyer` looks once and changes nothing; `bridge check` tries the key."""

import json
import time
from collections.abc import Iterator

import pytest
from cli_client import Cli
from pgyer_api import KEY, FakePgyer, serve, webhook


@pytest.fixture
def fake() -> FakePgyer:
    return FakePgyer(time.time)


@pytest.fixture
def environ(fake: FakePgyer) -> Iterator[dict[str, str]]:
    with serve(fake) as url:
        yield {"PGYER_API_KEY": KEY, "PGYER_API_URL": url}


def test_it_lists_what_there_is_and_what_would_be_sent(
    cli: Cli, fake: FakePgyer, environ: dict[str, str]
) -> None:
    matched = fake.upload("one")
    fake.upload("two")
    body = json.dumps(webhook(matched))
    assert cli("send", "-", given=body, **environ).exit_code == 0
    for _ in range(2):  # the first look changes nothing either
        done = cli("pgyer", **environ)
        assert done.exit_code == 0 and KEY not in done.output
        assert "2 apps; there at the first look, not sent: 2" in done.stdout
    [line] = [line for line in done.stdout.splitlines() if "App one" in line]
    assert line.split()[:5] == ["App", "one", "1.1", "(1)", "Android"] and line.endswith("#1")
    shown = json.loads(cli("pgyer", "--json", **environ).stdout)["builds"]
    assert sorted((each["title"], each["verdict"], each["event"]) for each in shown) == [
        ("App one", "baseline", 1),
        ("App two", "baseline", None),
    ]
    assert {each["link"] for each in shown} >= {"https://www.pgyer.com/one-page"}
    assert "首次查询时已有" in cli("pgyer", LC_MESSAGES="zh_CN", **environ).stdout


def test_without_a_key_or_an_answer_it_says_why(
    cli: Cli, fake: FakePgyer, environ: dict[str, str]
) -> None:
    assert (cli("pgyer").exit_code, "PGYER_API_KEY is not set" in cli("pgyer").stderr) == (2, True)
    fake.key = "another"
    done = cli("pgyer", "--json", **environ)
    assert json.loads(done.stdout) == {"error": "wrong_key", "code": 1002, "builds": []}
    assert done.exit_code == 1
    assert "does not know this API Key (code 1002)" in cli("pgyer", **environ).stderr
    assert KEY not in done.output


def test_check_tries_the_key(cli: Cli, fake: FakePgyer, environ: dict[str, str]) -> None:
    fake.upload()
    assert "Pgyer:" not in cli("check").stdout
    assert "ok Pgyer: the key is good: 1 apps on the first page" in cli("check", **environ).stdout
    fake.key = "another"
    done = cli("check", **environ)
    assert done.exit_code == 1 and KEY not in done.output
    assert "!! Pgyer: Pgyer does not know this API Key (code 1002) → copy" in done.stdout
    fake.fault = lambda name: (502, b"<html>")
    found = json.loads(cli("check", "--json", **environ).stdout)
    assert {"ok": False, "about": "pgyer", "text": "away", "todo": ""} in found
