"""A child process that tries and previews templates, within limits by the operating system.

It is started at its first use, after any fork, and ends with this process or LINGER after its last
job. It forks for each job, so that killing one harms nothing else. A job is a function of the
bridge with its arguments, pickled; its answer is JSON.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from bridge.messages.budget import TooCostlyError
from bridge.model import to_json

MAX_CPU = 2  # seconds of a job; most templates are stopped before, by MAX_SECONDS
MAX_MEMORY = 256 << 20  # bytes of address space, of which the interpreter takes 40 MiB
MAX_WAIT = 20.0  # seconds for a job, on however busy a machine
LINGER = 20.0  # seconds that it waits for a next job: somebody who edits sends one at each pause
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONTZPATH")  # none is a secret

_lock = threading.Lock()  # guards the next, and the child does one job at a time
_child: tuple[subprocess.Popen[bytes], Connection] | None = None


class ChildError(Exception):
    """The child process cannot be started, or a busy machine gave it no time."""


def run(work: Callable[..., Any], *args: Any) -> Any:
    """Return `work(*args)`, which has to be JSON, from the child.

    Raises TooCostlyError where a limit stopped it, ChildError where no child can do it.
    """
    with _lock:
        answer = _ask(work, args) or _ask(work, args)  # twice: it may just have ended by itself
    if "problem" in answer:
        code, values = answer["problem"]
        raise TooCostlyError(code, **values)
    if "result" not in answer:
        raise ChildError("the process that tries templates does not answer")
    return answer["result"]


def _ask(work: Callable[..., Any], args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the child's answer, an empty one where it has ended."""
    global _child
    _child = _child or _start()
    try:
        _child[1].send((work, args))
        answer: dict[str, Any] = json.loads(_child[1].recv_bytes())
        return answer
    except (OSError, EOFError):
        _end()
        return {}


def _start() -> tuple[subprocess.Popen[bytes], Connection]:
    environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environ["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    ours, theirs = Pipe()
    fd, nowhere = theirs.fileno(), subprocess.DEVNULL
    serving = f"from {__name__} import serve; serve({fd}, {LINGER}, {MAX_WAIT})"
    command = [sys.executable, "-P", "-c", serving]
    try:
        with theirs:
            return subprocess.Popen(command, env=environ, stderr=nowhere, pass_fds=[fd]), ours
    except OSError as error:
        raise ChildError(f"the process that tries templates cannot be started: {error}") from None


@atexit.register
def _end() -> None:
    global _child
    if _child:
        process, connection = _child
        _child = None
        connection.close()
        process.kill()
        process.wait()


def _forget() -> None:
    """In a fork, leave the child to the process that started it."""
    global _child, _lock
    if _child:
        _child[0].returncode = 0  # it is not this process's to wait for
    _child, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


# In the child


class _CpuLimit(BaseException):
    """Raised anywhere in a job; no `except Exception` of it must take it for its own."""


def serve(descriptor: int, linger: float, most: float) -> None:
    """Do the jobs of a connection, each in at most so many seconds.

    It ends when that is closed, or no job comes for `linger` seconds.
    """
    import resource

    import bridge.messages.renderer  # noqa: F401  # once, not in each fork

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: it ends with its parent
    with suppress(OSError, ValueError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    with Connection(descriptor) as jobs, suppress(EOFError, OSError):
        while jobs.poll(linger):
            work, args = jobs.recv()
            jobs.send_bytes(_fork(jobs, most, work, args))


def _fork(jobs: Connection, most: float, work: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """Return what a fork that does a job answers."""
    reading, writing = Pipe(duplex=False)
    pid = os.fork()
    if not pid:
        try:
            jobs.close()
            writing.send_bytes(_done(work, args).encode(errors="replace"))
        finally:
            os._exit(0)
    writing.close()
    answer = b'{"late": true}'
    with reading:
        if reading.poll(most):
            answer = b'{"problem": ["killed", {}]}'
            with suppress(EOFError, OSError):  # it was killed
                answer = reading.recv_bytes()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return answer


def _done(work: Callable[..., Any], args: tuple[Any, ...]) -> str:
    import resource

    def stop(*_: object) -> None:
        raise _CpuLimit

    signal.signal(signal.SIGXCPU, stop)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU, MAX_CPU + 1))
    try:
        return to_json({"result": work(*args)})
    except _CpuLimit:
        problem: tuple[str, dict[str, Any]] = "too_slow", {"seconds": MAX_CPU}
    except MemoryError:
        problem = "no_memory", {"most": MAX_MEMORY >> 20}
    except Exception as error:
        problem = "failed", {"error": repr(error)}
    return to_json({"problem": problem})
