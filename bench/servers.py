"""The programs that the benchmark starts: bridges of one or two checkouts, a bare Flask, WeCom.

A checkout is used from outside only, by its command, its environment and HTTP, because the names
in its code differ from one version to another.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from load import REFUSED

HERE = Path(__file__).parent
TOKEN = "a-token-that-is-only-for-the-bench"
NOWHERE = "http://127.0.0.1:9"  # nothing listens there


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A process group that serves at `url`, or only works where `port` is None."""

    def __init__(
        self, command: list[str], environ: dict[str, str], folder: Path, port: int | None = None
    ) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self._serves = port is not None
        self._began = time.perf_counter()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # for as long as the server
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            # The checkout's own code, whatever its virtual environment was made for.
            env={
                "PATH": os.environ["PATH"], "HOME": "/tmp", "PYTHONPATH": str(folder), **environ
            },
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,
        )  # fmt: skip

    def wait(self) -> float:
        """Wait until it answers; return the seconds since it was started."""
        while self._serves:
            assert self._process.poll() is None, "a server did not start"
            try:
                requests.get(f"{self.url}/healthz", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.005)
        return time.perf_counter() - self._began

    def _pids(self) -> list[int]:
        groups = subprocess.run(
            ["ps", "-o", "pid=", "-g", str(self._process.pid)], capture_output=True, text=True
        )
        return [int(pid) for pid in groups.stdout.split()]

    def memory(self) -> float:
        """Return the MiB of all its processes.

        What a fork shares is divided among them, and files count once: how many others on the
        machine have the same libraries open is chance.
        """
        own, files = 0, 0
        for pid in self._pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:  # it has just ended, like the child that tries templates
                continue
            kib = {name: int(size) for name, size in re.findall(r"(?m)^(\w+):\s+(\d+) kB", text)}
            own += kib["Pss_Anon"]
            files = max(files, kib["Rss"] - kib["Anonymous"])
        return (own + files) / 1024

    def cpu(self) -> float:
        """Return the CPU seconds that its processes have used."""
        ticks = 0
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        """Return the last lines that it wrote."""
        self._log.seek(0)
        return "".join(line.decode() for line in deque(self._log, 30))

    def stop(self) -> None:
        """End it in order, and by force what has not ended after 15 s."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Wait until all servers answer, and stop them in the end."""
    try:
        for server in servers:
            server.wait()
        yield
    finally:
        for server in servers:
            server.stop()
            if any(line.startswith(server.url) for line in REFUSED):
                print(f"{server.url} in {server.folder}:\n{server.log()}", file=sys.stderr)


@dataclass(frozen=True)
class Checkout:
    """A folder with the bridge's code and its virtual environment."""

    name: str
    folder: Path

    @property
    def _python(self) -> str:
        own = self.folder / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    def _environ(self, database: str, wecom: str, more: dict[str, str]) -> dict[str, str]:
        return {
            "WECOM_BOT_KEY": "key-default",
            "WECOM_API_URL": wecom,
            "BRIDGE_TOKEN": TOKEN,
            "BRIDGE_TEMPLATES": str(self.folder / "templates"),
            "DATABASE_URL": database,
            "LOG_LEVEL": "WARNING",
            **more,
        }

    def bridge(self, database: str, wecom: str, **more: str) -> Server:
        """Start a bridge as a platform does; `more` are variables of its environment."""
        port = free_port()
        command = [self._python, "-m", "gunicorn", "--config", "gunicorn.conf.py"]
        environ = self._environ(database, wecom, more)
        return Server([*command, "-b", f"127.0.0.1:{port}"], environ, self.folder, port)

    def worker(self, database: str, wecom: str, **more: str) -> Server:
        """Start a process that only dispatches."""
        command = [self._python, "-m", "bridge", "worker"]
        return Server(command, self._environ(database, wecom, more), self.folder)


def bare(wecom: str = NOWHERE) -> Server:
    """Start the least that Flask can do, under the same settings of gunicorn."""
    port = free_port()
    options = ["--config", "/dev/null", "-k", "gthread", "--threads", "8", "-w", "1"]
    options += ["--keep-alive", "75", "--no-control-socket", "-b", f"127.0.0.1:{port}"]
    environ = {"WECOM_URL": f"{wecom}/cgi-bin/webhook/send?key=bare"}
    return Server([sys.executable, "-m", "gunicorn", *options, "bare:app"], environ, HERE, port)


class WeCom(Server):
    """The stand-in of fast_wecom.py."""

    def __init__(self, latency: float = 0.0) -> None:
        port = free_port()
        command = [sys.executable, "fast_wecom.py", str(port), str(latency)]
        super().__init__(command, {"PYTHONPATH": str(HERE.parent)}, HERE, port)

    def hang(self, key: str) -> None:
        """Never answer a call of this key."""
        requests.post(f"{self.url}/sandbox/faults", json={"key": key}, timeout=10)

    def arrivals(self, key: str = "") -> list[float]:
        """Return when (epoch s) each message of a key, or of all, has arrived."""
        found = requests.get(f"{self.url}/sandbox/messages", params={"key": key}, timeout=60)
        return [message["at"] for message in found.json()]

    def count(self) -> int:
        """Return how many messages have arrived."""
        return int(requests.get(f"{self.url}/sandbox/count", timeout=60).json()["accepted"])
