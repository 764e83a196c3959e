"""kill -9 at any moment, under load, while WeCom misbehaves: nothing acknowledged is lost."""

import random
from collections.abc import Callable

import pytest
from support import Deployment, until
from trust.load import DEFAULT, DEV, Figure, Load, check, pending, settle
from trust.scale import scaled

from bridge.sandbox import Sandbox

ROUNDS = scaled(10, 100)  # on each database
SEED = 13
# Faults after which a bot goes on within seconds.
FAULTS = ["busy", "502", "reset", "lost", "html", "warning", "45033"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_kill_9_loses_nothing(
    kind: str,
    sandbox: tuple[Sandbox, str],
    deploy: Callable[..., Deployment],
    request: pytest.FixtureRequest,
    figure: Figure,
) -> None:
    box, api = sandbox
    more = {"BRIDGE_RATE": "1000000"}
    if kind == "postgresql":
        more["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    bridge = deploy(api, **more)
    dice, load, lost_answers = random.Random(SEED), Load(), 0
    print(f"seed {SEED}")
    for _ in range(ROUNDS):
        bridge.start()
        # Fewer than the rounds: a bot that fails each time rests up to ten minutes, as it should.
        box.clear_faults()
        for key in (DEFAULT, DEV):
            if dice.random() < 0.3:
                fault = dice.choice(FAULTS)
                lost_answers += fault == "lost"
                box.fault(key, fault)
        # Half of the kills come while the bridge starts, the others while it sends.
        if dice.random() < 0.5:
            calls = len(box.calls)
            until(lambda seen=calls: len(box.calls) > seen or not pending(bridge), "it sends", 90.0)
        with load.on(bridge):
            load.wait_for(dice.randrange(1, 60))
            bridge.kill()
    box.clear_faults()
    bridge.start()
    settle(bridge, 600.0)  # some are sent only now, each bot's one after the other
    twice = check(load, box, ROUNDS + lost_answers)
    assert bridge.stop() == 0
    figure(
        f"kill -9 on {kind}: {ROUNDS} rounds, {len(load.acknowledged)} events acknowledged, "
        f"0 lost, {twice} of {2 * len(load.acknowledged)} messages came twice"
    )
