"""`bridge check`: is everything right, and if not, what to do."""

import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
import responses
from cli_client import Cli, change
from click.testing import Result
from support import ROOT, environment
from system_helpers import rows

from bridge import configure, create_app
from bridge.sandbox import Sandbox
from bridge.wiring import Bridge

Served = tuple[Sandbox, str]


def findings(done: Result) -> list[str]:
    """Return the lines that ask for something."""
    lines = done.stdout.splitlines()
    assert all(line.startswith(("ok ", "?? ", "!! ")) for line in lines)
    return [line for line in lines if line.startswith("!! ")]


def test_without_problems_every_line_is_ok_and_exit_code_0(cli: Cli) -> None:
    done = cli("check")
    assert (done.exit_code, findings(done), done.stderr) == (0, [], "")
    for about in ("default, dev", "routes", "templates", "writable", "bot default", "bot dev"):
        assert about in done.stdout


def test_bad_settings_are_findings_a_line_each_and_exit_code_2(cli: Cli) -> None:
    done = cli("check", WECOM_BOT_KEY="", BRIDGE_RATE="x")
    assert done.exit_code == 2
    assert [line.split(": ")[1].split()[0] for line in findings(done)] == [
        "WECOM_BOT_KEY",
        "BRIDGE_RATE",
    ]
    as_json = cli("check", "--json", BRIDGE_RATE="x")
    assert as_json.exit_code == 2
    assert [entry["ok"] for entry in json.loads(as_json.stdout)] == [False]


def test_what_is_allowed_and_yet_likely_a_mistake_is_found(cli: Cli) -> None:
    done = cli("check", WECOM_BOT_KEY_DEV="key-of-default", BRIDGE_TOKEN="short")
    assert done.exit_code == 1
    assert len(findings(done)) == 2


def test_rules_that_cannot_work_are_found(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text("# as `bridge init` writes it\n")
    assert "ok routes: routes.toml: no rules, all goes to default" in cli("check").stdout
    (tmp_path / "routes.toml").write_text(
        '[[route]]\ntype = "crashlog"\ntemplate = "crashlog-shrot"\n[[route]]\n'
        '[[route]]\ntype = "feedback"\nbots = "dev"\n'
    )
    done = cli("check")
    assert done.exit_code == 1
    template, unreached = findings(done)
    assert "rule 1" in template and "crashlog-shrot.<msgtype>.j2" in template
    assert "rule 3" in unreached and "rule 2" in unreached


def test_a_rule_with_continue_hides_no_later_rule(cli: Cli, tmp_path: Path) -> None:
    rules = '[[route]]\ncontinue = true\n[[route]]\nbots = "dev"\n'
    (tmp_path / "routes.toml").write_text(rules)
    assert cli("check").exit_code == 0


def test_a_broken_template_is_named_with_file_and_line(cli: Cli, tmp_path: Path) -> None:
    templates = tmp_path / "mine"
    shutil.copytree(ROOT / "templates", templates)
    (templates / "feedback.markdown.j2").write_text("fine\n{% if %}")
    done = cli("check", BRIDGE_TEMPLATES=str(templates))
    assert done.exit_code == 1
    assert f"{templates}/feedback.markdown.j2:2" in findings(done)[0]
    assert "bridge.messages.template_files" not in done.stderr  # said once, and not as a log line


def test_a_database_that_cannot_be_opened_is_a_finding(cli: Cli, sandbox: Served) -> None:
    box, api = sandbox
    done = cli("check", "--send", DATABASE_URL="sqlite:////no/such/x.db", WECOM_API_URL=api)
    assert done.exit_code == 1
    assert "/no/such/x.db" in findings(done)[0] and "DATABASE_URL" in findings(done)[0]
    assert len(findings(done)) == 1
    assert len(box.messages()) == 2  # the bots are tried all the same


def test_a_database_of_a_newer_bridge_says_itself_what_to_do(cli: Cli, tmp_path: Path) -> None:
    cli("check")
    change(tmp_path, "insert into schema_versions values (99, 0)")
    [found] = findings(cli("check"))
    assert found.endswith("deploy the version that wrote it, or a newer one")


def test_a_locked_database_is_no_matter_of_its_address(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("check")
    monkeypatch.setattr("bridge.storage.driver.BUSY_TIMEOUT", 0.01)
    other = sqlite3.connect(tmp_path / "bridge.db")
    other.execute("begin exclusive")
    try:
        [found] = findings(cli("check"))
        refused = cli("retry", "1")
    finally:
        other.close()
    for text in (found, refused.stderr):
        assert f"{tmp_path}/bridge.db: database is locked → another program" in text
        assert "DATABASE_URL" not in text


def test_each_bot_gets_one_test_message(cli: Cli, sandbox: Served) -> None:
    box, api = sandbox
    done = cli("check", "--send", WECOM_API_URL=api)
    assert (done.exit_code, findings(done)) == (0, [])
    for name in ("default", "dev"):
        [call] = box.messages(f"key-of-{name}")
        assert "测试消息" in call.payload["markdown"]["content"]
        assert f"bot {name}: the test message has arrived" in done.stdout
    assert cli("events").stdout == ""  # it went past the outbox


@pytest.mark.parametrize(
    ("fault", "words", "todo"),
    [
        ("93000", "93000 the webhook's key is wrong", "WECOM_BOT_KEY_DEV"),
        ("93004", "93004 the robot is disabled", "Enable it"),
        ("45009", "45009 over WeCom's limit", "sent again automatically"),
        ("40058", "40058 the message is too long or malformed", "template"),
        ("502", "HTTP 502", "WECOM_API_URL"),
        ("reset", "the connection failed", "WECOM_API_URL"),
    ],
)
def test_the_answer_for_a_bot_is_explained_with_what_to_do(
    fault: str, words: str, todo: str, cli: Cli, sandbox: Served
) -> None:
    box, api = sandbox
    box.fault("key-of-dev", fault)
    done = cli("check", "--send", WECOM_API_URL=api)
    [found] = findings(done)
    assert done.exit_code == 1
    assert "bot dev" in found and words in found and todo in found.split("→")[1]


def test_a_warning_of_wecom_is_shown_though_all_is_well(cli: Cli, sandbox: Served) -> None:
    box, api = sandbox
    box.fault("key-of-dev", "warning")
    done = cli("check", "--send", WECOM_API_URL=api)
    assert done.exit_code == 0
    line = next(line for line in done.stdout.splitlines() if "bot dev" in line)
    assert line.endswith(")")


def test_a_stopped_bot_is_found_with_what_to_do(cli: Cli, tmp_path: Path, sandbox: Served) -> None:
    environ = {"WECOM_API_URL": sandbox[1]}
    cli("check", **environ)
    change(tmp_path, "update bots set stopped = 'invalid_webhook' where name = 'dev'")
    [found] = findings(cli("check", **environ))
    assert "bot dev" in found and "the webhook's key is wrong" in found
    assert found.endswith("Pending deliveries are kept.")  # a new key is tried by itself
    [found] = findings(cli("check", "--send", **environ))
    assert "the test message has arrived" in found
    assert "restart the bridge if its key is new" in found and "bridge retry --bot dev" in found


def test_a_new_key_is_left_to_the_restarted_bridge(cli: Cli, tmp_path: Path) -> None:
    """The running one would still try the old key, and be stopped again for an hour."""
    cli("check")
    change(tmp_path, "update bots set stopped = 'invalid_webhook', rest_until = 9e9")
    for command in ("check", "events"):
        cli(command, WECOM_BOT_KEY_DEV="a-new-key")
    state = "select name from bots where stopped != '' order by name"
    assert rows(tmp_path, state) == [("default",), ("dev",)]
    bridge = Bridge(*configure(environment(tmp_path, WECOM_BOT_KEY_DEV="a-new-key")))
    bridge.outbox.database.open()
    bridge.close()
    assert rows(tmp_path, state) == [("default",)]


def test_how_the_last_call_of_a_bot_went_is_shown(cli: Cli, tmp_path: Path) -> None:
    cli("check")
    update = "update bots set last_reason = ?, last_attempt_at = 1800000000.0 where name = ?"
    change(tmp_path, update, "ok", "default")
    change(tmp_path, update, "errcode_93017", "dev")
    done = cli("check")
    assert "bot default: 2027-01-15 16:00:00 WeCom accepted it" in done.stdout
    [found] = findings(done)
    assert "93017" in found and "bridge check --send" in found


@pytest.mark.parametrize(
    ("reason", "failures", "mark"), [("rate_limited", 0, "??"), ("connection", 3, "!!")]
)
def test_a_bot_that_rests_is_left_to_the_bridge(
    reason: str, failures: int, mark: str, cli: Cli, tmp_path: Path
) -> None:
    """One more call would count for its rate; and only a failure is a problem."""
    cli("check")
    update = "update bots set last_reason = ?, failures = ?, last_attempt_at = 1, rest_until = 9e9"
    change(tmp_path, f"{update} where name = 'dev'", reason, failures)
    done = cli("check")
    [found] = [line for line in done.stdout.splitlines() if "bot dev" in line]
    assert found.startswith(f"{mark} bot dev") and found.endswith("bridge events --bot dev")
    assert "--send" not in found
    assert done.exit_code == (mark == "!!")


def test_late_and_parked_deliveries_are_found(cli: Cli, tmp_path: Path) -> None:
    cli("send", "feedback")
    change(tmp_path, "update deliveries set created_at = ?", time.time() - 3600)
    [found] = findings(cli("check"))
    assert "does the bridge run" in found
    change(tmp_path, "update deliveries set bot = 'dev'")
    late, removed = findings(cli("check", WECOM_BOT_KEY_DEV=""))
    assert "for dev" in late and "does the bridge run" not in late
    assert removed.startswith("!! bot dev: stopped: it is not in the settings any more")
    assert "Set WECOM_BOT_KEY_DEV again" in removed and "bridge retry" not in removed
    change(tmp_path, "update deliveries set state = 'parked'")
    [found] = findings(cli("check"))
    assert "1 deliveries failed" in found and "bridge events --state parked" in found


def test_the_check_calls_the_monitor_once(cli: Cli, tmp_path: Path) -> None:
    assert "nobody would notice" in cli("check").stdout
    beat = "insert into shared_values (name, value, at) values ('heartbeat', '', ?)"
    change(tmp_path, beat, time.time() - 100)
    with responses.RequestsMock() as monitor:
        monitor.get("https://hc.example.com/ping/secret")
        done = cli("check", BRIDGE_HEARTBEAT_URL="https://hc.example.com/ping/secret")
        assert len(monitor.calls) == 1
    assert findings(done) == [] and "the monitor was called" in done.stdout
    with responses.RequestsMock() as monitor:
        monitor.get("https://hc.example.com/ping/secret", status=404)
        done = cli("check", BRIDGE_HEARTBEAT_URL="https://hc.example.com/ping/secret")
    [found] = findings(done)
    assert "BRIDGE_HEARTBEAT_URL: HTTP 404" in found and "secret" not in done.output
    assert done.exit_code == 1


def test_the_check_never_tells_the_monitor_that_all_is_well_where_it_is_not(
    cli: Cli, tmp_path: Path
) -> None:
    environ = {"BRIDGE_HEARTBEAT_URL": "https://hc.example.com/ping/secret"}
    with responses.RequestsMock():  # nothing may be called
        done = cli("check", **environ)
    assert done.exit_code == 0 and "?? heartbeat: not called: no call by the bridge" in done.stdout
    beat = "insert into shared_values (name, value, at) values ('heartbeat', '', ?)"
    change(tmp_path, beat, time.time() - 100)
    change(tmp_path, "update bots set stopped = 'invalid_webhook' where name = 'dev'")
    with responses.RequestsMock() as monitor:
        monitor.get("https://hc.example.com/ping/secret/fail")
        assert "the monitor was called" in cli("check", **environ).stdout


def test_the_check_has_a_json_form(cli: Cli) -> None:
    found = json.loads(cli("check", "--json", BRIDGE_TOKEN="short").stdout)
    assert [entry["ok"] for entry in found] == [True, False, *[True] * 6]
    assert found[1] == {"ok": False, "about": "settings", "text": "BRIDGE_TOKEN", "todo": ""}
    bot = {"ok": True, "about": "bot dev", "text": "nothing_sent", "todo": "bridge check --send"}
    assert found[-1] == bot


def test_every_mistake_of_a_template_is_a_finding_and_only_an_error_fails(
    cli: Cli, tmp_path: Path
) -> None:
    templates = tmp_path / "mine"
    shutil.copytree(ROOT / "templates", templates)
    (templates / "feedback.markdown.j2").write_text("{{ link }}\n- {{ title }}")
    (templates / "notes-of-mine.md").write_text("x")
    done = cli("check", BRIDGE_TEMPLATES=str(templates))
    assert (done.exit_code, findings(done)) == (0, [])
    [remark] = [line for line in done.stdout.splitlines() if line.startswith("?? ")]
    assert f"{templates}/feedback.markdown.j2:2: a list" in remark
    (templates / "crashlog.markdown.j2").write_text("{{ link }}\n{{ titel }}\n{title}")
    (templates / "feedback.markdown.j2.txt").write_text("x")
    done = cli("check", BRIDGE_TEMPLATES=str(templates))
    assert done.exit_code == 1
    assert [line.split()[2].removeprefix(f"{templates}/") for line in findings(done)] == [
        "crashlog.markdown.j2:2:", "crashlog.markdown.j2:3:", "feedback.markdown.j2.txt:"
    ]  # fmt: skip
    found = json.loads(cli("check", "--json", BRIDGE_TEMPLATES=str(templates)).stdout)
    assert [(entry["ok"], entry["text"]) for entry in found if entry["about"] == "templates"] == [
        (False, "crashlog.markdown.j2:2: unknown_variable name=titel close=title"),
        (False, "crashlog.markdown.j2:3: single_braces typed={title} name=title"),
        (True, "feedback.markdown.j2:2: list"),
        (False, "feedback.markdown.j2.txt: file_ending close=feedback.markdown.j2"),
    ]


def test_a_template_that_only_a_route_names_is_no_finding(cli: Cli, tmp_path: Path) -> None:
    templates = tmp_path / "mine"
    shutil.copytree(ROOT / "templates", templates)
    (templates / "crashlgo.markdown.j2").write_text("{{ link }}")
    environ = {"BRIDGE_TEMPLATES": str(templates)}
    assert "?? templates" in cli("check", **environ).stdout
    (tmp_path / "routes.toml").write_text('[[route]]\ntemplate = "crashlgo"\n')
    assert "?? templates" not in cli("check", **environ).stdout


def test_a_database_that_the_platform_empties_is_a_remark_here_and_a_warning_at_the_start(
    cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli("check", DYNO="web.1")
    assert (done.exit_code, findings(done)) == (0, [])
    [remark] = [line for line in done.stdout.splitlines() if line.startswith("?? ")]
    assert "Heroku empties its disk" in remark and f"{tmp_path}/bridge.db" in remark
    assert "PostgreSQL" in remark
    [remark] = [
        line
        for line in cli("check", CBR_ENV_ID="prod-1", LC_ALL="zh_CN.UTF-8").stdout.splitlines()
        if line.startswith("?? ")
    ]
    assert "微信云托管" in remark
    monkeypatch.setenv("RENDER", "true")
    create_app(environment(tmp_path, DATABASE_URL="sqlite:///bridge.db"))
    [warning] = [line for line in caplog.messages if "empties" in line]
    assert warning.startswith("Render empties its disk at each restart, and bridge.db with it: use")
