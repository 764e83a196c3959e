"""The monitor outside is called by the real program."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support import Deployment, until

from bridge.sandbox import Sandbox

Deploy = Callable[..., Deployment]
Served = tuple[Sandbox, str]


@contextmanager
def monitor() -> Iterator[tuple[str, list[str]]]:
    """Serve a monitor; gives the address to call, and the paths that were called."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ping/secret-of-the-check", paths
        server.shutdown()
        thread.join()


def test_two_workers_call_once_soon_after_the_start(sandbox: Served, deploy: Deploy) -> None:
    with monitor() as (url, paths):
        bridge = deploy(
            sandbox[1], BRIDGE_HEARTBEAT_URL=url, WEB_CONCURRENCY="2", LOG_LEVEL="DEBUG"
        ).start()
        until(lambda: bool(paths), patience=20)
        bridge.post('{"type": "feedback"}')
        assert bridge.stop() == 0
        assert paths == ["/ping/secret-of-the-check"]
        log = bridge.log.read_text()
        assert '"GET *** HTTP/1.1" 200' in log and "secret-of-the-check" not in log


def test_a_broken_template_is_a_failure_for_the_monitor(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "default.markdown.j2").write_text("{% if %}")
    with monitor() as (url, paths):
        deploy(
            sandbox[1], BRIDGE_HEARTBEAT_URL=url, BRIDGE_TEMPLATES=str(tmp_path / "templates")
        ).start()
        until(lambda: bool(paths), patience=20)
        assert paths == ["/ping/secret-of-the-check/fail"]


def test_who_only_receives_does_not_call(sandbox: Served, deploy: Deploy) -> None:
    with monitor() as (url, paths):
        bridge = deploy(sandbox[1], BRIDGE_HEARTBEAT_URL=url, BRIDGE_DISPATCH="off").start()
        assert bridge.stop() == 0
        assert paths == []
