"""`bridge send`, `events`, `show` and `retry`: what came, what became of it, and once more."""

import gzip
import io
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support import TOKEN, environment

from bridge import configure
from bridge.cli import events as looking
from bridge.cli import main
from bridge.cli import retry as retrying
from bridge.model import Outcome, Verdict
from bridge.receiving import decoding as pgyer
from bridge.samples import samples
from bridge.wiring import create_bridge

Cli = Callable[..., Result]
PARKED = Outcome(Verdict.PARK, "invalid_parameter", "bad\x1b[2J text", 40058)
SENT = Outcome(Verdict.SENT, "ok", "ok", 0)

HOSTILE = {
    "type": "feed\x1b[31mback",
    "title": "\x1b]0;pwned\x07\u202eApp\r\n9  forged  row",
    "notes": "one\x9b2J\n→ dev sent\x1b",
    "ke\x1b[1my\nforged": "v",
    "os_version": "\x7f\x08 1.0",
}


@pytest.fixture
def outbox_of(tmp_path: Path) -> Callable[[Outcome], int]:
    """Let every waiting delivery end so; return how many."""

    def settle(outcome: Outcome) -> int:
        bridge = create_bridge(*configure(environment(tmp_path)))
        done = 0
        while claimed := bridge.outbox.claim(10):
            for attempt in claimed:
                bridge.outbox.settle(attempt, outcome)
                done += len(attempt.deliveries)
        bridge.close()
        return done

    return settle


def test_a_payload_goes_by_the_routes(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\ntype = "crashlog"\nbots = ["dev"]\n')
    assert cli("send", "crashlog").stdout == "事件 event 1 (crashlog) → dev\n"
    assert cli("send", "feedback").stdout == "事件 event 2 (feedback) → default\n"
    assert "deliveries" in cli("events", "--json").stdout


def test_a_duplicate_is_said(cli: Cli) -> None:
    cli("send", "crashlog")
    done = cli("send", "crashlog")
    assert done.exit_code == 0
    assert "event 1" in done.stdout and "duplicate" in done.stdout
    answer = json.loads(cli("send", "crashlog", "--json").stdout)
    assert answer == {"status": "duplicate", "event": 1}


def test_the_bots_may_be_named(cli: Cli) -> None:
    done = cli("send", "crashlog", "--bot", "dev,DEFAULT", "--bot", "dev", "--json")
    assert json.loads(done.stdout) == {"status": "accepted", "event": 1, "bots": ["dev", "default"]}
    wrong = cli("send", "feedback", "--bot", "devv")
    assert wrong.exit_code == 2
    assert "default, dev" in wrong.stderr
    assert cli("events", "--limit", "5").stdout.count("\n") == 1


def test_a_file_goes_before_a_sample_of_its_name(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "crashlog").write_text('{"type": "feedback"}')
    assert "(feedback)" in cli("send", "crashlog").stdout


def test_several_events_in_one_body(cli: Cli) -> None:
    done = cli("send", "-", given='[{"type": "feedback"}, {"title": "b"}]')
    assert done.stdout.splitlines() == [
        "事件 event 1 (feedback) → default",
        "事件 event 2 (无类型 no type) → default",
    ]


def test_a_muted_event_is_stored_and_told_to_nobody(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text("[[route]]\nbots = []\n")
    assert cli("send", "feedback").stdout.endswith("→ 谁也不通知 nobody\n")
    assert "谁也没通知" in cli("show", "1").stdout


def test_what_cannot_be_decoded_is_kept_and_told_and_exit_code_1(cli: Cli) -> None:
    done = cli("send", "-", given="neither <this>")
    assert done.exit_code == 1
    assert "event 1 (undecodable) → default" in done.stdout
    assert "cannot be decoded" in done.stderr
    assert cli("show", "1", "--raw").stdout_bytes == b"neither <this>"
    assert "cannot be decoded" in cli("show", "1").stdout
    answer = cli("send", "-", "--json", given="nor that")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["event"] == 2


def test_nothing_and_too_much(cli: Cli, tmp_path: Path) -> None:
    empty = cli("send", "-", given="\n")
    assert (empty.exit_code, cli("events").stdout) == (1, "")
    assert json.loads(cli("send", "-", "--json", given="").stdout) == {"status": "ping"}
    bombs = (b" " * (pgyer.MAX_BODY + 1), gzip.compress(b" " * (pgyer.MAX_BODY + 1)))
    for bomb in bombs:
        (tmp_path / "big").write_bytes(bomb)
        done = cli("send", "big")
        assert done.exit_code == 1
        assert str(pgyer.MAX_BODY) in done.stderr


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


def test_no_event_is_said_with_the_database_that_was_looked_into(cli: Cli, tmp_path: Path) -> None:
    done = cli("events")
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"{tmp_path}/bridge.db" in done.stderr
    assert cli("events", "--json").stdout == "[]\n"


def test_events_are_found_beyond_the_first_page(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("send", "-", given=json.dumps([{"title": f"App{n}"} for n in range(7)]))
    monkeypatch.setattr(looking, "_PAGE", 2)
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


def test_an_event_whole(cli: Cli, outbox_of: Callable[[Outcome], int]) -> None:
    cli("send", "crashlog", "--bot", "default,dev")
    assert outbox_of(PARKED) == 2
    shown = cli("show", "1").stdout
    for said in (
        "Event 1  crashlog",
        "title: OooPlay",
        "→ default parked (invalid_parameter)",
        "→ dev parked",
        "  40058  invalid_parameter  ",
        "not accepted (bad text)",
    ):
        assert said in shown
    event = json.loads(cli("show", "1", "--json").stdout)
    assert event["payload"]["title"] == "OooPlay"
    assert event["received_at"].endswith("+08:00")
    delivery = event["deliveries"][0]
    assert (delivery["state"], delivery["reason"]) == ("parked", "invalid_parameter")
    assert "not accepted" in delivery["meaning"]
    assert delivery["quiet_until"] is None
    assert delivery["attempts"][0]["errcode"] == 40058


def test_what_is_sent_under_way_held_or_done(
    cli: Cli, outbox_of: Callable[[Outcome], int], tmp_path: Path
) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nbots = "dev"\nquiet = "00:00-23:59"\n')
    cli("send", "feedback")
    assert "quiet until" in cli("show", "1").stdout
    cli("send", "-", "--bot", "default", given="{}")
    connection = sqlite3.connect(tmp_path / "bridge.db")
    with connection:
        connection.execute("update deliveries set held_until = 0")
    outbox_of(SENT)
    assert "dev sent\n" in cli("show", "1").stdout
    with connection:
        connection.execute("update bots set lease = 'x', telling = 1 where name = 'dev'")
        connection.execute("update deliveries set state = 'pending'")
    assert "under way" in cli("show", "1").stdout
    with connection:
        connection.execute("update deliveries set state = 'expired', reason = 'done_by_hand'")
    connection.close()
    shown = cli("show", "1").stdout
    assert "somebody marked it as done" in shown and "under way" not in shown


def test_an_answer_without_an_errcode(cli: Cli, outbox_of: Callable[[Outcome], int]) -> None:
    cli("send", "feedback")
    outbox_of(Outcome(Verdict.PARK, "http_404", "HTTP 404 without an errcode"))
    assert "  -  http_404  " in cli("show", "1").stdout


def test_long_values_are_shortened_and_json_has_them_whole(cli: Cli) -> None:
    cli("send", "-", given=json.dumps({"notes": "x" * 5000}))
    assert "共 5000 字" in cli("show", "1").stdout
    assert len(json.loads(cli("show", "1", "--json").stdout)["payload"]["notes"]) == 5000


def test_unknown_events(cli: Cli) -> None:
    for command in (["show", "99"], ["show", "99", "--json"], ["retry", "99"]):
        done = cli(*command)
        assert done.exit_code == 1
        assert "99" in done.stderr and done.stdout in ("", "重发 retried: 0\n")
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
    looking._show_raw(body)
    assert tty.getvalue() == '{"title": "\ufffd"}\n'


def test_hostile_payloads_reach_no_terminal(
    cli: Cli, outbox_of: Callable[[Outcome], int], tmp_path: Path
) -> None:
    (tmp_path / "evil.json").write_text(json.dumps(HOSTILE))
    said = [cli("routes", "test", "evil.json"), cli("preview", "--payload", "evil.json")]
    said += [cli("preview", "--payload", "evil.json", "--json"), cli("send", "evil.json")]
    outbox_of(PARKED)
    for command in (["events"], ["show", "1"], ["preview", "--event", "1"], ["retry", "1"]):
        said.append(cli(*command))
    said += [cli("events", "--json"), cli("show", "1", "--json")]
    for done in said:
        assert done.exit_code == 0, done.output
        assert not set("\x1b\x9b\x07\x08\x7f\u202e\r") & set(done.output)
    events, shown = said[4].stdout, said[5].stdout
    assert events.count("\n") == 1
    assert "App 9 forged row" in events
    assert [line for line in shown.splitlines() if line.startswith("→")] == [
        line for line in shown.splitlines() if line.startswith("→ default parked")
    ]
    assert json.loads(said[9].stdout)["payload"]["notes"] == HOSTILE["notes"]


def test_no_command_shows_a_secret(cli: Cli, outbox_of: Callable[[Outcome], int]) -> None:
    secrets = ("key-of-default", "key-of-dev", TOKEN, "open sesame")
    body = json.dumps({"type": "feedback", "title": " ".join(secrets), "notes": secrets[1]})
    more = {"BRIDGE_ADMIN_PASSWORD": "open sesame", "WECOM_API_URL": "http://127.0.0.1:9"}
    said = cli("send", "-", given=body, **more).output
    outbox_of(Outcome(Verdict.PARK, "x", f"see {secrets[0]}"))
    for command in (
        ["check"], ["check", "--send"], ["check", "--json"], ["events"], ["events", "--json"],
        ["show", "1"], ["show", "1", "--json"], ["preview", "--event", "1"],
        ["preview", "--event", "1", "--json"], ["retry", "1"], ["retry", "--bot", "dev"],
        ["send", "crashlog", "--json"], ["routes", "test", "feedback"],
    ):  # fmt: skip
        said += cli(*command, **more).output
    assert "***" in said
    for secret in secrets:
        assert secret not in said


def test_a_database_that_cannot_be_used_is_one_message_and_exit_code_1(cli: Cli) -> None:
    for command in (["events"], ["show", "1"], ["send", "feedback"], ["retry", "1"]):
        done = cli(*command, DATABASE_URL="sqlite:////no/such/x.db")
        assert (done.exit_code, done.stdout) == (1, "")
        assert "the database cannot be used: unable to open" in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, code in ((["--help"], 0), (["no-such"], 2)):
        monkeypatch.setattr(sys, "argv", ["bridge", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code


def test_parked_events_wait_again_by_their_ids(
    cli: Cli, outbox_of: Callable[[Outcome], int]
) -> None:
    for name in ("crashlog", "feedback"):
        cli("send", name, "--bot", "default,dev")
    assert outbox_of(PARKED) == 4
    done = cli("retry", "1", "1", "--bot", "dev")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "事件 event 1 → dev: parked (invalid_parameter)",
        "重发 retried: 1",
    ]
    assert cli("retry", "1", "99", "2").exit_code == 1  # 99 is not there; the others are done
    assert outbox_of(SENT) == 4
    done = cli("retry", "1")
    assert (done.exit_code, done.stdout) == (1, "重发 retried: 0\n")


def test_parked_events_wait_again_by_their_age(
    cli: Cli, outbox_of: Callable[[Outcome], int], tmp_path: Path
) -> None:
    for name in ("crashlog", "feedback", "deleteApp"):
        cli("send", name)
    outbox_of(PARKED)
    connection = sqlite3.connect(tmp_path / "bridge.db")
    with connection:
        connection.execute("update events set received_at = received_at - 10000 where id = 1")
        connection.execute("update deliveries set state = 'expired' where event_id = 2")
    connection.close()
    planned = cli("retry", "--since", "2h", "--dry-run")
    assert (planned.exit_code, planned.stdout.count("事件 event")) == (0, 2)
    assert planned.stdout.endswith("would retry: 2\n")
    assert cli("retry", "--state", "parked", "--since", "2h").stdout.startswith("事件 event 3 ")
    assert cli("retry", "--state", "parked", "--all").stdout.startswith("事件 event 1 ")
    assert cli("retry", "--all", "--bot", "dev").exit_code == 1
    assert cli("retry", "--all").stdout.startswith("事件 event 2 ")
    assert cli("retry", "--all").exit_code == 1
    assert outbox_of(SENT) == 3


def test_everything_is_refused_unless_it_is_meant(
    cli: Cli, outbox_of: Callable[[Outcome], int]
) -> None:
    cli("send", "crashlog")
    outbox_of(PARKED)
    for options in (
        [], ["--state", "parked"], ["--dry-run"], ["--state", "parked", "--bot", "default"],
        ["1", "--all"], ["1", "--since", "2h"], ["--all", "--since", "2h"],
        ["--state", "pending", "--all"],
    ):  # fmt: skip
        done = cli("retry", *options)
        assert (done.exit_code, done.stdout) == (2, "")
    assert cli("retry", "--all").stdout.endswith("retried: 1\n")


def test_what_somebody_marked_as_done_comes_again_only_by_its_id(
    cli: Cli, outbox_of: Callable[[Outcome], int], tmp_path: Path
) -> None:
    cli("send", "crashlog")
    outbox_of(PARKED)
    bridge = create_bridge(*configure(environment(tmp_path)))
    bridge.operator.mark_done([1])
    bridge.close()
    assert cli("retry", "--all").exit_code == 1
    assert cli("retry", "1").exit_code == 0


def test_long_lists_are_cut_and_done_in_parts(
    cli: Cli, outbox_of: Callable[[Outcome], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cli("send", "-", given=json.dumps([{"title": f"App{n}"} for n in range(25)]))
    connection = sqlite3.connect(tmp_path / "bridge.db")
    with connection:
        connection.execute("update deliveries set state = 'parked'")
    connection.close()
    monkeypatch.setattr(retrying, "_CHUNK", 10)
    done = cli("retry", "--all")
    assert done.stdout.count("事件 event") == 20
    assert done.stdout.endswith("… 还有 and 5 more\n重发 retried: 25\n")


def test_a_stopped_bot_is_pointed_out_and_one_that_is_gone_is_skipped(
    cli: Cli, outbox_of: Callable[[Outcome], int], tmp_path: Path
) -> None:
    cli("send", "crashlog", "--bot", "default,dev")
    outbox_of(PARKED)
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


def test_the_commands_work_on_either_database(cli: Cli, database_url: str, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": database_url}
    assert cli("send", "crashlog", "--bot", "default,dev", **environ).exit_code == 0
    bridge = create_bridge(*configure({**environment(tmp_path), **environ}))
    for attempt in bridge.outbox.claim(10):
        bridge.outbox.settle(attempt, PARKED)
    bridge.close()
    assert "parked" in cli("events", "--state", "parked", "--since", "2h", **environ).stdout
    assert "40058" in cli("show", "1", **environ).stdout
    assert cli("show", "1", "--raw", **environ).stdout_bytes == samples()["crashlog"]
    assert cli("retry", "--all", **environ).stdout.endswith("retried: 2\n")
    assert cli("retry", "--bot", "dev", **environ).exit_code == 0
    assert cli("check", **environ).exit_code == 1  # the last thing that the bots heard was a no
