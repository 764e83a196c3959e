"""The bridge behind a pooler in transaction mode, as many platforms hand out: a real PgBouncer."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import postgres
import pytest
from support import Deployment, until
from system_helpers import Deploy, Served, new_version

from bridge.sandbox import Sandbox
from bridge.storage.database import Database
from bridge.storage.operator import Operator

KEYS = ("key-of-default", "key-of-dev")


@pytest.fixture
def pooled_url(postgres_server: postgres.Server, postgres_url: str) -> Iterator[str]:
    """A database of the test's own, through a pooler with two connections to it."""
    if not postgres.pooler():
        assert not os.environ.get("CI"), postgres.POOLER
        pytest.skip(f"there is no PgBouncer: {postgres.POOLER}")
    with postgres.pooled(postgres_server, postgres_url, 2) as url:
        yield url


def titles(box: Sandbox, key: str) -> list[int]:
    texts = [call.payload["markdown"]["content"] for call in box.messages(key)]
    return [int(text.split("\n")[0].rsplit("App ")[1]) for text in texts]


def test_every_event_through_a_pooler_is_stored_and_sent_once(
    sandbox: Served, deploy: Deploy, pooled_url: str
) -> None:
    box, api = sandbox
    more = {"DATABASE_URL": pooled_url, "BRIDGE_RATE": "1000"}
    sends = deploy(api, **more).start()
    receives = deploy(api, **more, BRIDGE_DISPATCH="off").start()

    def post(n: int, to: Deployment = sends) -> tuple[int, int]:
        answer = to.post(new_version(n), "/default,dev")
        return answer.status_code, answer.json().get("event")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, range(90)))
    # One after the other: of what two processes store at once, either may come first.
    answers += [post(n, (sends, receives)[n % 2]) for n in range(90, 120)]
    assert {status for status, _ in answers} == {200}
    in_order = [n for _, n in sorted((event, n) for n, (_, event) in enumerate(answers))]
    for key in KEYS:
        until(lambda key=key: len(titles(box, key)) >= 120, "all arrive")  # type: ignore[misc]
        assert titles(box, key) == in_order
    assert sends.stop() == receives.stop() == 0
    log = sends.log.read_text()
    assert log.count("behind a pooler") == 1
    assert "ERROR" not in log and "WARNING" not in log


def test_nobody_listens_through_a_pooler_and_a_look_each_second_is_left(pooled_url: str) -> None:
    one, two = Database(pooled_url), Database(pooled_url)
    stopping = threading.Event()
    listener = threading.Thread(target=one.listen, args=(stopping,))
    listener.start()
    Operator(two, 3600.0).send_test("default")
    with two.read() as connection:
        for _ in range(4):  # whichever of the pooler's connections it is
            assert connection.execute("SELECT * FROM pg_listening_channels()") == []
    stopping.set()
    listener.join(30)
    assert not listener.is_alive()
    one.close()
    two.close()


def test_a_server_that_is_connected_to_directly_is_listened_to(postgres_url: str) -> None:
    database = Database(postgres_url)
    stopping = threading.Event()
    listener = threading.Thread(target=database.listen, args=(stopping,))
    listener.start()
    assert database.wakeup.wait(30)
    stopping.set()
    listener.join(30)
    database.close()
