"""The child process: its limits, its life, and that nothing it does harms this process."""

import json
import logging
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rendering import TO_DEFAULT, rendered
from support import ROOT, until

from bridge.messages import child
from bridge.messages.budget import TooCostlyError
from bridge.messages.child import ChildError
from bridge.messages.findings import Finding
from bridge.messages.renderer import Renderer
from bridge.model import Event

UTC = ZoneInfo("UTC")


def pid() -> int:
    """The id of the child process, which forks for each job."""
    found: int = child.run(os.getppid)
    return found


def alive(process: int) -> bool:
    with suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def test_a_job_gives_its_result_and_the_child_is_kept() -> None:
    assert child.run(operator.add, "版", "本\ud800") == "版本?"
    assert pid() == pid() != os.getpid()
    assert child.run(len, "x" * (1 << 22)) == 1 << 22
    assert child.run(operator.mul, "x", 1 << 22) == "x" * (1 << 22)


def test_a_job_that_fails_says_why() -> None:
    with pytest.raises(TooCostlyError, match="ZeroDivisionError"):
        child.run(operator.truediv, 1, 0)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("all(True for _ in iter(int, 1))", r"takes more than 2 s of CPU"),
        ("9 ** 10 ** 9", "takes too much CPU time or memory|of memory|of CPU"),
        ("'x' * (1 << 30)", "takes more than 256 MiB of memory"),
        ("[bytearray(1 << 20) for _ in range(1 << 20)]", "256 MiB of memory"),
        ("__import__('os').abort()", "takes too much"),
        ("__import__('os').kill(__import__('os').getpid(), 9)", "takes too much"),
    ],
)
def test_a_job_over_a_limit_is_stopped_and_harms_nothing(code: str, problem: str) -> None:
    before = pid()
    began = time.process_time()
    with pytest.raises(TooCostlyError, match=problem):
        child.run(eval, code)
    assert time.process_time() - began < 1
    assert pid() == before


def test_a_child_that_was_killed_is_replaced() -> None:
    before = pid()
    os.kill(before, signal.SIGKILL)
    after = pid()
    assert after != before and alive(after)


def test_a_job_that_has_no_time_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.kill(pid(), signal.SIGKILL)
    monkeypatch.setattr(child, "MAX_WAIT", 1.0)
    limited = pid()
    code = f"open({str(tmp_path / 'runs')!r}, 'a').write('x') and __import__('time').sleep(600)"
    with pytest.raises(ChildError, match="does not answer"):
        child.run(eval, code)
    assert (tmp_path / "runs").read_text() == "x"
    os.kill(limited, signal.SIGKILL)  # it has that limit for as long as it lives


def test_a_child_without_jobs_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    os.kill(pid(), signal.SIGKILL)
    monkeypatch.setattr(child, "LINGER", 1.0)
    started = pid()
    until(lambda: not alive(started), "the child ended")
    assert pid() != started


def test_many_threads_share_one_child() -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(pid())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16 and len(set(found)) == 1


def run_script(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_fork_has_a_child_of_its_own_and_leaves_the_other_alone() -> None:
    script = """
import os, sys
from bridge.messages import child
first = child.run(os.getppid)
if not os.fork():
    print(child.run(os.getppid), flush=True)
    sys.exit()
os.wait()
print(first, child.run(os.getppid), flush=True)
"""
    with run_script(script) as process:
        assert process.stdout
        other, first, again = process.stdout.read().split()
    assert first == again != other
    until(lambda: not alive(int(first)) and not alive(int(other)), "both ended")


def test_the_child_ends_with_a_process_that_is_killed() -> None:
    script = """
import os, time
from bridge.messages import child
print(child.run(os.getppid), flush=True)
time.sleep(600)
"""
    with run_script(script) as process:
        assert process.stdout
        found = int(process.stdout.readline())
        assert alive(found)
        process.kill()
    until(lambda: not alive(found), "the child ended")


def test_it_is_started_at_the_first_use_and_not_before() -> None:
    script = """
import json, os
from pathlib import Path
from zoneinfo import ZoneInfo
from bridge.messages.renderer import Renderer
def children():
    try:
        return os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False
renderer = Renderer(Path("templates"), ZoneInfo("UTC"))
before = renderer.knows("crashlog"), sorted(renderer.files)[0], children()
print(json.dumps([before, renderer.problems, children()]))
"""
    with run_script(script) as process:
        assert process.stdout
        assert json.loads(process.stdout.read()) == [
            [True, "appSettings.markdown.j2", False],
            [],
            True,
        ]


def test_it_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    os.kill(pid(), signal.SIGKILL)
    monkeypatch.setenv("WECOM_BOT_KEY", "secret")
    assert child.run(os.getenv, "WECOM_BOT_KEY") is None


def test_without_a_child_files_are_tried_in_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.kill(pid(), signal.SIGKILL)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    (tmp_path / "default.markdown.j2").write_text("fine {{ title }}")
    (tmp_path / "crashlog.markdown.j2").write_text("\n{{ 'x' * 10**9 }}")
    renderer = Renderer(tmp_path, UTC)
    [problem] = renderer.problems
    assert problem.startswith("crashlog.markdown.j2:2: it would make more than")
    assert rendered(renderer, Event("x", {"title": "App"}, 0.0)) == "fine App"
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert sum("cannot be started" in warning for warning in warnings) == 1
    found = renderer.draft("x", "default.markdown.j2", Event("x", {}, 0.0), TO_DEFAULT)
    assert isinstance(found, Finding) and "cannot be started" in found.text
