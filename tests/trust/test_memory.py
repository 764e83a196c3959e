"""Many events, all of them different, leave the process as large as it was."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support import Deployment, Session
from trust.load import Figure, settle
from trust.scale import scaled
from trust.test_database_trouble import processes

from bridge.sandbox import Sandbox

WARM, EVENTS = scaled(300, 5_000), scaled(1_000, 100_000)
PORTION = 1_000  # events; a long queue would only be counted again and again at such a rate
GROWTH = 24 << 20  # bytes; allocators keep some, whatever the number of events


def memory(bridge: Deployment) -> int:
    """Return the resident bytes of the bridge's worker."""
    status = Path(f"/proc/{processes(bridge)[1]}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def post(bridge: Deployment, numbers: range) -> None:
    """Post events with a type, title and keys that no other event has, and have them sent."""

    def some(numbers: range, path: str) -> None:
        with Session() as session:
            for number in numbers:
                body = {
                    "type": f"type{number}",
                    "title": f"App {number}",
                    f"key{number}": "x" * 500,
                    "notes": f"{number} " * 200,
                }
                assert bridge.post(json.dumps(body), path, by=session).status_code == 200

    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(numbers), PORTION):
            portion = numbers[first : first + PORTION]
            list(pool.map(some, [portion[::2], portion[1::2]], ["/default", "/dev"]))
            settle(bridge)


def test_memory_does_not_grow_with_events(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment], figure: Figure
) -> None:
    bridge = deploy(sandbox[1], BRIDGE_RATE="1000000", LOG_LEVEL="WARNING").start()
    post(bridge, range(WARM))
    before = memory(bridge)
    post(bridge, range(WARM, WARM + EVENTS))
    after = memory(bridge)
    assert bridge.stop() == 0
    assert after - before < GROWTH
    figure(f"memory: {before >> 20} MiB, after {EVENTS:,} more events {after >> 20} MiB")
