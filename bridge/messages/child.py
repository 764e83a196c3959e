"""A child process that tries and previews templates, within limits by the operating system.

It is started at its first use, after any fork, and ends with this process or after a while without
jobs. It forks for each job, so that killing one harms nothing else. A job is a function of the
bridge with its arguments, pickled; its result is JSON; each comes behind its length.
"""

import atexit
import json
import logging
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bridge.messages.budget import TooCostlyError
from bridge.model import to_json

log = logging.getLogger(__name__)

MAX_CPU = 2  # seconds of a job; most templates are stopped before, by MAX_SECONDS
MAX_MEMORY = 256 << 20  # bytes of address space, of which the interpreter takes 40 MiB
_MAX_WAIT = 20.0  # seconds for a job, on however busy a machine
_LINGER = 10.0  # seconds without a job, where a job does not say so
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONTZPATH")  # none is a secret

_lock = threading.Lock()  # guards the next, and the child does one job at a time
_child: subprocess.Popen[bytes] | None = None


class ChildError(Exception):
    """The child process cannot be started, or has not answered in time."""


def run(work: Callable[..., Any], *args: Any, linger: float = _LINGER) -> Any:
    """Return `work(*args)`, which has to be JSON, from the child; `linger` keeps it for a next job.

    Raises TooCostlyError where a limit stopped it, ChildError where no child can do it in time.
    """
    job = pickle.dumps((linger, work, args))
    with _lock:
        answer = _ask(job) or _ask(job)  # twice: it may just have ended by itself
    if not answer:
        raise ChildError("the process that tries templates does not answer")
    if "problem" in answer:
        raise TooCostlyError(answer["problem"])
    return answer["result"]


def _ask(job: bytes) -> dict[str, Any] | None:
    """Return the child's answer, None where it ended."""
    global _child
    _child = _child or _start()
    assert _child.stdin and _child.stdout
    try:
        _write(_child.stdin.fileno(), job)
        answer: dict[str, Any] = json.loads(_read(_child.stdout.fileno(), 2 * _MAX_WAIT))
        return answer
    except OSError as error:
        _end()
        if isinstance(error, TimeoutError):
            raise ChildError("the process that tries templates is too slow") from None
        return None


def _start() -> subprocess.Popen[bytes]:
    environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environ["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"]
    child = None
    try:
        child = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
        )
        assert child.stdout
        unlimited = json.loads(_read(child.stdout.fileno(), 2 * _MAX_WAIT))
    except OSError as error:
        if child:
            _stop(child)
        raise ChildError(f"the process that tries templates cannot be started: {error}") from None
    if unlimited:
        log.warning("this system sets no limit on %s of templates", " and ".join(unlimited))
    return child


def _stop(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin and child.stdout
    child.kill()
    child.stdin.close()
    child.stdout.close()
    child.wait()


@atexit.register
def _end() -> None:
    global _child
    if _child:
        _stop(_child)
    _child = None


def _forget() -> None:
    """Leave a child to the process that started it, and close this one's ends of its pipes."""
    global _child, _lock
    if _child and _child.stdin and _child.stdout:
        _child.stdin.close()
        _child.stdout.close()
        _child.returncode = 0  # it is not ours to wait for
    _child, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _write(file: int, data: bytes) -> None:
    left = memoryview(len(data).to_bytes(4) + data)
    while left:
        left = left[os.write(file, left) :]


def _read(file: int, patience: float) -> bytes:
    """Return what comes behind its length; raises OSError where it ends, TimeoutError if late."""
    deadline = time.monotonic() + patience
    poll = select.poll()
    poll.register(file)
    data, size = b"", 4
    while len(data) < size:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(file, 1 << 20)
        if not piece:
            raise ConnectionError("it ended")
        data += piece
        size = 4 + int.from_bytes(data[:4]) if len(data) >= 4 else 4
    return data[4:]


# In the child


class _CpuLimit(BaseException):
    """Raised anywhere in a job; no `except Exception` of it must take it for its own."""


def serve() -> None:
    """Do jobs from standard input until it is closed, or no job comes for a while."""
    import resource

    import bridge.messages.renderer  # noqa: F401  # once, not in each fork

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: it ends with its parent
    unlimited = []
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    except (OSError, ValueError):
        unlimited.append("memory")
    _write(1, json.dumps(unlimited).encode())
    until, patience = 0.0, _MAX_WAIT
    while select.select([0], [], [], patience)[0]:
        try:
            linger, work, args = pickle.loads(_read(0, _MAX_WAIT))
        except OSError:
            return
        _write(1, _fork(work, args))
        until = max(until, time.monotonic() + linger)
        patience = max(0.0, until - time.monotonic())


def _fork(work: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """Return the answer of a fork that does a job."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            for file in (0, 1, reading):
                os.close(file)
            _write(writing, _answer(work, args))
        finally:
            os._exit(0)
    os.close(writing)
    try:
        return _read(reading, _MAX_WAIT)
    except TimeoutError:
        return b"{}"  # a busy machine: nothing is known of the job
    except OSError:
        return to_json({"problem": "takes too much CPU time or memory"}).encode()
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answer(work: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    import resource

    def stop(*_: object) -> None:
        raise _CpuLimit

    signal.signal(signal.SIGXCPU, stop)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU, MAX_CPU + 1))
    try:
        return to_json({"result": work(*args)}).encode(errors="replace")
    except _CpuLimit:
        problem = f"takes more than {MAX_CPU} s of CPU"
    except MemoryError:
        problem = f"takes more than {MAX_MEMORY >> 20} MiB of memory"
    except Exception as error:
        problem = repr(error)
    return to_json({"problem": problem}).encode(errors="replace")
