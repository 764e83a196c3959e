"""The outbox under everything that can happen to it, by hypothesis; see `outbox_machine`.

A failing run prints its steps and its seed: put that seed into SEEDS to have it run in CI.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from postgres import TABLES
from support import new_sqlite
from trust.outbox_machine import OutboxMachine, fused, make_renderer
from trust.scale import scaled

from bridge.storage.driver import Connection

SEEDS = range(1, 1 + scaled(2, 10))
ON_SQLITE, ON_POSTGRES = scaled(130, 1000), scaled(20, 1000)  # runs of one seed
STEPS = scaled(30, 40)  # of a run


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where there is one: these crashes are not the machine's."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep no log lines: there are hundreds of thousands."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def run(runs: int, url: str, empty: Callable[[], None], folder: Path, number: int) -> None:
    machine = type(
        "Machine",
        (OutboxMachine,),
        {"url": url, "fresh": staticmethod(empty), "renderer": make_renderer(folder)},
    )
    chosen = settings(
        max_examples=runs,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    print(f"seed {number}")
    with fused():
        run_state_machine_as_test(seed(number)(machine), settings=chosen)


@pytest.mark.parametrize("number", SEEDS)
def test_it_holds_on_sqlite(folder: Path, number: int) -> None:
    file = folder / "machine.db"

    def empty() -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)
        file.write_bytes(new_sqlite())

    run(ON_SQLITE, f"sqlite:///{file}", empty, folder, number)


@pytest.mark.parametrize("number", SEEDS)
def test_it_holds_on_postgresql(postgres_url: str, folder: Path, number: int) -> None:
    connection = Connection(postgres_url)

    def empty() -> None:
        for table in TABLES:  # TRUNCATE would take ten times as long
            connection.execute(f"DELETE FROM {table}")

    run(ON_POSTGRES, postgres_url, empty, folder, number)
    connection.close()
