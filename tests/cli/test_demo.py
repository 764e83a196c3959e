"""`bridge demo` as its users start and end it."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from background import read_until, started
from click.testing import CliRunner
from support import PATIENCE, ROOT

from bridge import cli
from bridge.cli import demo
from bridge.samples import samples


@pytest.fixture
def restore_signals() -> Iterator[None]:
    """Undo what the command does to the signals of this process."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_make_demo_once_ends_by_itself_when_all_samples_have_arrived() -> None:
    done = subprocess.run(
        ["make", "--silent", "demo", "ARGS=--once"],
        cwd=ROOT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in samples():
        assert f"✓ {name}" in done.stdout
    assert "/console/" in done.stdout and "curl -d" in done.stdout


def test_the_demo_fails_if_a_sample_does_not_arrive(
    monkeypatch: pytest.MonkeyPatch, restore_signals: None
) -> None:
    monkeypatch.setattr(demo, "PATIENCE", 5.0)
    monkeypatch.setattr(demo, "_ROUTES", "[[route]]\ntype = 'feedback'\nbots = []\n")
    done = CliRunner().invoke(cli.commands, ["demo", "--once"])
    assert done.exit_code == 1
    assert "✗ feedback" in done.output


def test_the_demo_fails_if_the_bridge_does_not_start(
    monkeypatch: pytest.MonkeyPatch, restore_signals: None
) -> None:
    monkeypatch.setattr(demo, "_ROUTES", "this is no TOML")
    done = CliRunner().invoke(cli.commands, ["demo", "--once"])
    assert done.exit_code == 1
    assert "did not start" in done.output


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "✓ 点餐 3.9.0 "),  # a build whose webhook never came
        (signal.SIGTERM, "Ctrl-C"),
        (signal.SIGHUP, "Starting"),
    ],
)
def test_a_signal_ends_the_demo_and_its_bridge_in_order_and_nothing_is_left(
    number: signal.Signals, moment: str, tmp_path: Path
) -> None:
    folder, temporary = tmp_path / "here", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    # The settings of a real bridge, two of them wrong.
    env = "WECOM_BOT_KEY=ours\nWECOM_BOT_KEY_QA=ours\nBRIDGE_RATE=x\nPORT=x\nWEB_CONCURRENCY=2\n"
    (folder / ".env").write_text(env + "LOG_LEVEL=ERROR\nDATABASE_URL=sqlite:///ours.db\n")
    nobody = {"http_proxy": "http://127.0.0.1:1"}  # which is for the world outside
    with started(
        "demo", cwd=folder, TMPDIR=str(temporary), BRIDGE_TOKEN="x y", **nobody
    ) as process:
        said = read_until(process, moment)
        urls = re.findall(r"http://[\d.:]+", said)
        if moment != "Starting":
            assert "dispatching for default, dev\n" in said
            assert len(set(urls)) == 2  # the sandbox and the bridge
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    for url in urls:
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=20)
    assert [path.name for path in folder.iterdir()] == [".env"]
    assert list(temporary.iterdir()) == []


def test_the_curl_line_of_the_demo_posts_a_new_event_each_time() -> None:
    line = demo._CURL.format(url="http://x")
    assert "$(date +%s)" in line and line.endswith("http://x")
