"""`bridge retry`: failed and expired deliveries are sent again."""

import json
import sqlite3
from pathlib import Path

import pytest
from cli_client import PARKED, SENT, Cli, EndAll
from support import environment

from bridge import configure
from bridge.cli import retry
from bridge.wiring import Bridge


def test_parked_events_are_pending_again_by_their_ids(
    cli: Cli, end_all: EndAll, tmp_path: Path
) -> None:
    for name in ("crashlog", "feedback"):
        cli("send", name, "--bot", "default,dev")
    assert end_all(PARKED) == 4
    done = cli("retry", "1", "1", "--bot", "dev")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "event 1 → dev parked (invalid_parameter)",
        "retried: 1",
    ]
    assert cli("retry", "1", "99", "2").exit_code == 1  # 99 is not there; the others are done
    assert end_all(SENT) == 4
    done = cli("retry", "1")
    assert (done.exit_code, done.stdout) == (1, "retried: 0\n")
    assert done.stderr.splitlines() == [
        "skipped: event 1 → default sent is not parked / expired",
        "skipped: event 1 → dev sent is not parked / expired",
    ]
    (tmp_path / "routes.toml").write_text("[[route]]\nbots = []\n")
    cli("send", "deleteApp")
    assert cli("retry", "3").stderr == "skipped: event 3 has no delivery\n"


def test_parked_events_are_pending_again_by_their_age(
    cli: Cli, end_all: EndAll, tmp_path: Path
) -> None:
    for name in ("crashlog", "feedback", "deleteApp"):
        cli("send", name)
    end_all(PARKED)
    connection = sqlite3.connect(tmp_path / "bridge.db")
    with connection:
        connection.execute("update events set received_at = received_at - 10000 where id = 1")
        connection.execute("update deliveries set state = 'expired' where event_id = 2")
    connection.close()
    planned = cli("retry", "--since", "2h", "--dry-run")
    assert (planned.exit_code, planned.stdout.count("event ")) == (0, 2)
    assert planned.stdout.endswith("would retry: 2\n")
    assert cli("retry", "--state", "parked", "--since", "2h").stdout.startswith("event 3 ")
    assert cli("retry", "--state", "parked", "--all").stdout.startswith("event 1 ")
    assert cli("retry", "--all", "--bot", "dev").exit_code == 1
    assert cli("retry", "--all").stdout.startswith("event 2 ")
    assert cli("retry", "--all").exit_code == 1
    assert end_all(SENT) == 3


def test_a_retry_of_everything_must_be_asked_for(cli: Cli, end_all: EndAll) -> None:
    cli("send", "crashlog")
    end_all(PARKED)
    for options in (
        [], ["--state", "parked"], ["--dry-run"], ["--state", "parked", "--bot", "default"],
        ["1", "--all"], ["1", "--since", "2h"], ["--all", "--since", "2h"],
        ["--state", "pending", "--all"],
    ):  # fmt: skip
        done = cli("retry", *options)
        assert (done.exit_code, done.stdout) == (2, "")
    assert cli("retry", "--all").stdout.endswith("retried: 1\n")


def test_what_was_marked_as_done_is_retried_only_by_its_id(
    cli: Cli, end_all: EndAll, tmp_path: Path
) -> None:
    cli("send", "crashlog")
    end_all(PARKED)
    bridge = Bridge(*configure(environment(tmp_path)))
    bridge.operator.mark_done([1])
    bridge.close()
    assert cli("retry", "--all").exit_code == 1
    assert cli("retry", "1").exit_code == 0


def test_long_lists_are_cut_and_done_in_parts(
    cli: Cli, end_all: EndAll, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cli("send", "-", given=json.dumps([{"title": f"App{n}"} for n in range(25)]))
    connection = sqlite3.connect(tmp_path / "bridge.db")
    with connection:
        connection.execute("update deliveries set state = 'parked'")
    connection.close()
    monkeypatch.setattr(retry, "_CHUNK", 10)
    done = cli("retry", "--all")
    assert done.stdout.count("event ") == 20
    assert done.stdout.endswith("… and 5 more\nretried: 25\n")


def test_a_stopped_bot_is_pointed_out_and_one_that_is_gone_is_skipped(
    cli: Cli, end_all: EndAll, tmp_path: Path
) -> None:
    cli("send", "crashlog", "--bot", "default,dev")
    end_all(PARKED)
    connection = sqlite3.connect(tmp_path / "bridge.db")
    with connection:
        connection.execute("update bots set stopped = 'robot_disabled' where name = 'default'")
    connection.close()
    done = cli("retry", "1", WECOM_BOT_KEY_DEV="")
    assert (done.exit_code, "retried: 1" in done.stdout) == (0, True)
    assert "'dev' any more" in done.stderr
    assert "bridge retry --bot default" in done.stderr


def test_a_bot_alone_is_tried_again_now(cli: Cli, tmp_path: Path) -> None:
    cli("send", "crashlog")
    connection = sqlite3.connect(tmp_path / "bridge.db")
    with connection:
        connection.execute("update bots set stopped = 'robot_disabled', rest_until = 9e9")
    state = "select stopped, rest_until > 0 from bots where name = 'dev'"
    assert "would be tried" in cli("retry", "--bot", "dev", "--dry-run").stdout
    assert connection.execute(state).fetchone() == ("robot_disabled", 1)
    assert cli("retry", "--bot", "Dev").exit_code == 0
    assert connection.execute(state).fetchone() == ("", 0)
    connection.close()
