"""`bridge show`: one event with its deliveries and attempts."""

import io
import json
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from cli_client import PARKED, SENT, Cli, EndAll

from bridge.cli import show
from bridge.delivery.wecom import transport_failure
from bridge.model import Outcome, Verdict


def test_an_event_is_shown_with_deliveries_and_attempts(cli: Cli, end_all: EndAll) -> None:
    cli("send", "crashlog", "--bot", "default,dev")
    assert end_all(PARKED) == 2
    shown = cli("show", "1").stdout
    for said in (
        "Event 1  crashlog",
        "title: 商城",
        "The address named the bots.",
        "→ default parked (invalid_parameter)",
        "→ dev parked",
        "  40058  invalid_parameter  ",
        "too long or malformed (bad text)",
    ):
        assert said in shown
    event = json.loads(cli("show", "1", "--json").stdout)
    assert event["payload"]["title"] == "商城"
    assert event["received_at"].endswith("+08:00")
    assert (event["rules"], event["duplicates"]) == (["url"], 0)
    delivery = event["deliveries"][0]
    assert (delivery["state"], delivery["reason"]) == ("parked", "invalid_parameter")
    assert delivery["meaning"] == "invalid_parameter"
    assert delivery["quiet_until"] is None
    [attempt] = delivery["attempts"]
    assert (attempt["errcode"], attempt["carried"], attempt["count"]) == (40058, "", 1)


def test_a_delivery_may_be_quiet_sent_being_sent_or_done_by_hand(
    cli: Cli, end_all: EndAll, tmp_path: Path
) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nbots = "dev"\nquiet = "00:00-23:59"\n')
    cli("send", "feedback")
    assert "quiet until" in cli("show", "1").stdout
    cli("send", "-", "--bot", "default", given="{}")
    connection = sqlite3.connect(tmp_path / "bridge.db")
    with connection:
        connection.execute("update deliveries set not_before = 0")
    end_all(SENT)
    assert "dev sent\n" in cli("show", "1").stdout
    with connection:
        connection.execute("update bots set lease = 'x', lease_delivery_id = 1 where name = 'dev'")
        connection.execute("update deliveries set state = 'pending'")
    assert "being sent" in cli("show", "1").stdout
    with connection:
        connection.execute("update deliveries set state = 'expired', reason = 'done_by_hand'")
    connection.close()
    shown = cli("show", "1").stdout
    assert "marked as done by hand" in shown and "being sent" not in shown


def test_an_answer_without_an_errcode_has_a_dash(cli: Cli, end_all: EndAll) -> None:
    cli("send", "feedback")
    end_all(Outcome(Verdict.PARK, "http_404", "HTTP 404 without an errcode"))
    assert "  -  http_404  " in cli("show", "1").stdout


@pytest.mark.parametrize(
    "error", [requests.ConnectTimeout(), requests.ReadTimeout(), requests.ConnectionError()]
)
def test_why_a_call_failed_is_said_once_and_in_one_language(
    error: Exception, cli: Cli, end_all: EndAll
) -> None:
    cli("send", "feedback")
    end_all(replace(transport_failure(error), verdict=Verdict.PARK))
    call = cli("show", "1").stdout.splitlines()[-1]
    assert call.endswith(("in time", "arrived", "broke")) and "(" not in call
    assert "(" not in cli("show", "1", LC_ALL="zh_CN.UTF-8").stdout.splitlines()[-1]


def test_long_values_are_shortened_and_json_has_them_whole(cli: Cli) -> None:
    cli("send", "-", given=json.dumps({"notes": "x" * 5000}))
    assert "5000 characters" in cli("show", "1").stdout
    assert len(json.loads(cli("show", "1", "--json").stdout)["payload"]["notes"]) == 5000


def test_unknown_and_impossible_ids_are_refused(cli: Cli) -> None:
    for command in (["show", "99"], ["show", "99", "--json"], ["retry", "99"]):
        done = cli(*command)
        assert done.exit_code == 1
        assert "99" in done.stderr and done.stdout in ("", "retried: 0\n")
    for wrong in ("0", "-1", "x", str(2**63)):
        assert cli("show", wrong).exit_code == 2
    assert cli("show", "1", "--raw", "--json").exit_code == 2


def test_the_raw_bytes_reach_a_file_exactly_and_a_terminal_harmlessly(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"title": "\x1b[31m\xff"}'
    cli("send", "-", given=body)
    assert cli("show", "1", "--raw").stdout_bytes == body

    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", tty := Tty())
    show._show_raw(body)
    assert tty.getvalue() == '{"title": "\ufffd"}\n'
