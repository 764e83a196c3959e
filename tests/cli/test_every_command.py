"""What holds for every command: output, secrets, a broken database, both databases."""

import json
import sys
from pathlib import Path

import pytest
from cli_client import PARKED, Cli, EndAll
from support import TOKEN, environment

from bridge import configure
from bridge.cli import main
from bridge.model import Outcome, Verdict
from bridge.samples import samples
from bridge.storage.results import Result
from bridge.wiring import Bridge

HOSTILE = {
    "type": "feed\x1b[31mback",
    "title": "\x1b]0;pwned\x07\u202eApp\r\n9  forged  row",
    "notes": "one\x9b2J\n→ dev sent\x1b",
    "ke\x1b[1my\nforged": "v",
    "os_version": "\x7f\x08 1.0",
}


def test_hostile_payloads_reach_no_terminal(cli: Cli, end_all: EndAll, tmp_path: Path) -> None:
    (tmp_path / "evil.json").write_text(json.dumps(HOSTILE))
    said = [cli("routes", "test", "evil.json"), cli("preview", "--payload", "evil.json")]
    said += [cli("preview", "--payload", "evil.json", "--json"), cli("send", "evil.json")]
    end_all(PARKED)
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


def test_no_command_shows_a_secret(cli: Cli, end_all: EndAll) -> None:
    secrets = ("key-of-default", "key-of-dev", TOKEN, "open sesame")
    body = json.dumps({"type": "feedback", "title": " ".join(secrets), "notes": secrets[1]})
    more = {"BRIDGE_ADMIN_PASSWORD": "open sesame", "WECOM_API_URL": "http://127.0.0.1:9"}
    said = cli("send", "-", given=body, **more).output
    end_all(Outcome(Verdict.PARK, "x", f"see {secrets[0]}"))
    for command in (
        ["check"], ["check", "--send"], ["check", "--json"], ["events"], ["events", "--json"],
        ["show", "1"], ["show", "1", "--json"], ["preview", "--event", "1"],
        ["preview", "--event", "1", "--json"], ["retry", "1"], ["retry", "--bot", "dev"],
        ["send", "crashlog", "--json"], ["routes", "test", "feedback"], ["templates", "list"],
        ["templates", "list", "--json"], ["templates", "show", "feedback.markdown.j2"],
    ):  # fmt: skip
        said += cli(*command, **more).output
    assert "***" in said
    for secret in secrets:
        assert secret not in said


def test_a_database_that_cannot_be_used_is_one_message_and_exit_code_1(cli: Cli) -> None:
    for command in (
        ["events"], ["show", "1"], ["send", "feedback"], ["retry", "1"], ["templates", "list"]
    ):  # fmt: skip
        done = cli(*command, DATABASE_URL="sqlite:////no/such/x.db")
        assert (done.exit_code, done.stdout) == (1, "")
        assert "the database cannot be used: /no/such/x.db: unable to open" in done.stderr
        assert "there is no folder /no/such → see DATABASE_URL" in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_entry_point_ends_with_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, code in ((["--help"], 0), (["no-such"], 2)):
        monkeypatch.setattr(sys, "argv", ["bridge", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code


def test_the_commands_work_on_either_database(cli: Cli, database_url: str, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": database_url}
    assert cli("send", "crashlog", "--bot", "default,dev", **environ).exit_code == 0
    bridge = Bridge(*configure({**environment(tmp_path), **environ}))
    for attempt in bridge.outbox.claim(10):
        bridge.outbox.record(Result(attempt, PARKED))
    bridge.close()
    assert "parked" in cli("events", "--state", "parked", "--since", "2h", **environ).stdout
    assert "40058" in cli("show", "1", **environ).stdout
    assert cli("show", "1", "--raw", **environ).stdout_bytes == samples()["crashlog"]
    assert cli("retry", "--all", **environ).stdout.endswith("retried: 2\n")
    assert cli("retry", "--bot", "dev", **environ).exit_code == 0
    assert cli("check", **environ).exit_code == 1  # the last thing that the bots heard was a no
