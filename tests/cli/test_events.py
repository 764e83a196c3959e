"""`bridge events`: a list of stored events."""

import json
from pathlib import Path

import pytest
from cli_client import Cli

from bridge.cli import common


def test_the_newest_event_is_last_and_filters_narrow(cli: Cli) -> None:
    for n in range(4):
        body = json.dumps({"type": "feedback", "title": f"App{n}", "notes": f"note {n}"})
        cli("send", "-", "--bot", "dev" if n == 2 else "default", given=body)
    cli("send", "crashlog")

    def ids(*options: str) -> list[int]:
        return [event["id"] for event in json.loads(cli("events", "--json", *options).stdout)]

    assert ids() == [1, 2, 3, 4, 5]
    assert ids("--limit", "2") == [4, 5]
    assert ids("--type", "crashlog") == [5]
    assert ids("--app", "app1") == [2]
    assert ids("--bot", "DEV") == [3]
    assert ids("--text", "note 3") == [4]
    assert ids("--state", "pending", "--since", "2h") == [1, 2, 3, 4, 5]
    assert ids("--state", "parked") == []
    assert [line.split()[0] for line in cli("events").stdout.splitlines()] == list("12345")


def test_without_events_the_database_is_named(cli: Cli, tmp_path: Path) -> None:
    done = cli("events")
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"{tmp_path}/bridge.db" in done.stderr
    assert cli("events", "--json").stdout == "[]\n"


def test_events_are_found_beyond_the_first_page(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("send", "-", given=json.dumps([{"title": f"App{n}"} for n in range(7)]))
    monkeypatch.setattr(common, "PAGE", 2)
    assert cli("events").stdout.count("\n") == 7
    assert cli("events", "--limit", "3").stdout.count("\n") == 3


def test_columns_stay_even_beside_chinese(cli: Cli) -> None:
    for title in ("中文应用", "App"):
        cli("send", "-", given=json.dumps({"type": "feedback", "title": title}))
    first, second = cli("events").stdout.splitlines()
    assert first.index("default") + 4 == second.index("default")


@pytest.mark.parametrize(
    "options",
    [["--since", "2 hours"], ["--state", "lost"], ["--limit", "0"], ["--limit", "x"], ["more"]],
)
def test_wrong_options_are_exit_code_2(options: list[str], cli: Cli) -> None:
    assert cli("events", *options).exit_code == 2


def test_bytes_that_are_no_text_find_nothing(cli: Cli) -> None:
    done = cli("events", "--app", "\udcff")
    assert (done.exit_code, done.stdout) == (0, "")
