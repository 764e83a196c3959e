"""The `bridge` command as its users type it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cli_client import Cli
from support import Deployment, until

from bridge.sandbox import Sandbox


def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with nothing but this environment."""
    environ = {"PATH": os.environ["PATH"], "LANG": "en_US.UTF-8", **(env or {})}
    return subprocess.run(
        [str(Path(sys.executable).parent / "bridge"), *args],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_command() -> None:
    said = run("--help").stdout
    for name in (
        "check", "url", "preview", "send", "events", "show", "retry", "routes", "templates",
        "sandbox", "demo",
    ):  # fmt: skip
        assert name in said


def test_wrong_use_is_exit_code_2(cli: Cli) -> None:
    assert cli("no-such-command").exit_code == 2


def test_bad_settings_are_listed_without_a_traceback(cli: Cli) -> None:
    wrong = {"BRIDGE_RATE": "x", "BRIDGE_TOKEN": "", "WECOM_BOT_KEY": ""}
    done = cli("retry", "--bot", "dev", **wrong)
    assert done.exit_code == 2
    for name in wrong:
        assert name in done.stderr


def test_retry_of_an_unknown_bot_names_the_known_ones(cli: Cli) -> None:
    done = cli("retry", "--bot", "devv")
    assert done.exit_code == 2
    assert "default, dev" in done.stderr


def test_retry_without_a_database_says_so(cli: Cli, tmp_path: Path) -> None:
    done = cli("retry", "--bot", "dev", DATABASE_URL=f"sqlite:///{tmp_path}/no/x.db")
    assert done.exit_code == 1
    assert "database cannot be used" in done.stderr


def test_an_unreachable_server_is_named_without_its_password(environ: dict[str, str]) -> None:
    url = "postgres://bridge:sesame@127.0.0.1:9/bridge"
    for command in ("events", "check"):
        done = run(command, env={**environ, "DATABASE_URL": url})
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert "127.0.0.1" in said
        assert "sesame" not in said and "Traceback" not in said


def test_what_is_sent_and_retried_by_hand_reaches_the_running_bridge(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment], cli: Cli
) -> None:
    box, api = sandbox
    bridge = deploy(api).start()
    done = run("send", "crashlog", "--bot", "dev", env=bridge.environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "event 1 (crashlog) → dev\n"
    until(lambda: len(box.messages("key-of-dev")) == 2)  # with the log as a file
    assert box.messages("key-of-default") == []

    # A bot that was stopped.
    box.fault("key-of-dev", 93000)
    bridge.post('{"type": "feedback"}', "/dev")
    until(lambda: len(box.messages("key-of-default")) == 1)  # which hears of it
    assert len(box.messages("key-of-dev")) == 2
    done = run("retry", "--bot", "dev", env=bridge.environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert "dev" in done.stdout
    until(lambda: len(box.messages("key-of-dev")) == 3)

    # A delivery that was parked.
    box.fault("key-of-default", "40058")
    event = bridge.post('{"type": "feedback", "title": "OooPlay"}').json()["event"]
    until(lambda: "parked" in cli("events", "--state", "parked").stdout)
    done = run("retry", "--state", "parked", "--since", "2h", env=bridge.environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert "retried: 1" in done.stdout
    # WeCom has the message a moment before the bridge has it on record.
    until(lambda: "default sent" in cli("show", str(event)).stdout)
    assert "40058" in cli("show", str(event)).stdout
    assert len(box.messages("key-of-default")) == 2


def test_a_pipe_that_closes_early_is_no_traceback(environ: dict[str, str], cli: Cli) -> None:
    for name in ("feedback", "crashlog"):
        cli("send", name)
    command = f"{Path(sys.executable).parent / 'bridge'} events --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command],
        env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[", "")


def test_a_terminal_without_chinese_is_no_traceback(environ: dict[str, str], cli: Cli) -> None:
    cli("send", "feedback")
    done = run("show", "1", env={**environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "pgyer.com/shop_demo" in done.stdout
