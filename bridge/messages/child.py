"""A child process that tries and previews templates, within limits by the operating system.

It is started at its first use, after any fork, and ends with this process or LINGER after its last
job. It forks for each job, so that killing one harms nothing else. A job is a function of the
bridge with its arguments, pickled; its answer is a line of JSON.
"""

import atexit
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bridge.messages.budget import TooCostlyError
from bridge.model import to_json

MAX_CPU = 2  # seconds of a job; most templates are stopped before, by MAX_SECONDS
MAX_MEMORY = 256 << 20  # bytes of address space, of which the interpreter takes 40 MiB
_MAX_WAIT = 20.0  # seconds for a job, on however busy a machine
LINGER = 20.0  # seconds that it waits for a next job: somebody who edits sends one at each pause
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONTZPATH")  # none is a secret

_lock = threading.Lock()  # guards the next, and the child does one job at a time
_child: subprocess.Popen[bytes] | None = None


class ChildError(Exception):
    """The child process cannot be started, or a busy machine gave it no time."""


def run(work: Callable[..., Any], *args: Any) -> Any:
    """Return `work(*args)`, which has to be JSON, from the child.

    Raises TooCostlyError where a limit stopped it, ChildError where no child can do it.
    """
    job = pickle.dumps((work, args))
    with _lock:
        answer = _ask(job) or _ask(job)  # twice: it may just have ended by itself
    if not answer:
        raise ChildError("the process that tries templates does not answer")
    if "problem" in answer:
        raise TooCostlyError(answer["problem"])
    return answer["result"]


def _ask(job: bytes) -> dict[str, Any]:
    """Return the child's answer, an empty one where it ended or the job had no time."""
    global _child
    _child = _child or _start()
    assert _child.stdin and _child.stdout
    try:
        _child.stdin.write(job)
        _child.stdin.flush()
        answer: dict[str, Any] = json.loads(_child.stdout.readline())
        return answer
    except (OSError, ValueError):
        _end()
        return {}


def _start() -> subprocess.Popen[bytes]:
    environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environ["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve({LINGER})"]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    try:
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, env=environ)
    except OSError as error:
        raise ChildError(f"the process that tries templates cannot be started: {error}") from None


@atexit.register
def _end() -> None:
    global _child
    child, _child = _child, None
    if child and child.stdin and child.stdout:
        child.kill()
        child.wait()
        child.stdout.close()
        with suppress(OSError):  # of what was not sent any more
            child.stdin.close()


def _forget() -> None:
    """In a fork, leave the child to the process that started it."""
    global _child, _lock
    if _child and _child.stdin and _child.stdout:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for file in (_child.stdin, _child.stdout):  # not closed: another thread may hold its lock
            os.dup2(nowhere, file.fileno())
        os.close(nowhere)
        _child.returncode = 0  # it is not this process's to wait for
    _child, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# In the child


class _CpuLimit(BaseException):
    """Raised anywhere in a job; no `except Exception` of it must take it for its own."""


def serve(linger: float) -> None:
    """Do jobs from standard input until it is closed, or no job comes for `linger` seconds."""
    import resource

    import bridge.messages.renderer  # noqa: F401  # once, not in each fork

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: it ends with its parent
    with suppress(OSError, ValueError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    while select.select([0], [], [], linger)[0]:
        try:
            work, args = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        sys.stdout.buffer.write(_fork(work, args) + b"\n")
        sys.stdout.buffer.flush()


def _fork(work: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """Return what a fork that does a job answers."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            for file in (0, 1, reading):
                os.close(file)
            with open(writing, "wb") as pipe:  # noqa: PTH123
                pipe.write(_done(work, args).encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123
        in_time = select.select([pipe], [], [], _MAX_WAIT)[0]
        if not in_time:
            os.kill(pid, signal.SIGKILL)
        answer = pipe.read()
    os.waitpid(pid, 0)
    killed = b'{"problem": "takes too much CPU time or memory"}' if in_time else b"{}"
    return answer if answer.endswith(b"}") else killed


def _done(work: Callable[..., Any], args: tuple[Any, ...]) -> str:
    import resource

    def stop(*_: object) -> None:
        raise _CpuLimit

    signal.signal(signal.SIGXCPU, stop)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU, MAX_CPU + 1))
    try:
        return to_json({"result": work(*args)})
    except _CpuLimit:
        problem = f"takes more than {MAX_CPU} s of CPU"
    except MemoryError:
        problem = f"takes more than {MAX_MEMORY >> 20} MiB of memory"
    except Exception as error:
        problem = repr(error)
    return to_json({"problem": problem})
