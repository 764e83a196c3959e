"""A command as a script starts it in the background, where the shell has SIGINT ignored."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import PATIENCE

BRIDGE = Path(sys.executable).parent / "bridge"
# Not by a shell, which cannot undo that `nohup` has SIGHUP ignored.
_BEGIN = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


@contextmanager
def started(*args: str, cwd: Path | None = None, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run the `bridge` command with SIGINT ignored; what still runs at the end is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", _BEGIN, str(BRIDGE), *args],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=cwd, env={**os.environ, "PYTHONUNBUFFERED": "1", **more},
    )  # fmt: skip
    assert process.stdout
    # Whoever reads what never comes ends with the process.
    limit = threading.Timer(2 * PATIENCE, process.kill)
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()
        process.terminate()  # a demo that is killed would leave its bridge
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read lines up to the one that holds a text, and return all of them."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"no {text!r} in: {''.join(lines)}")
