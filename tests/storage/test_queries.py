"""What the console asks of the database, on both databases."""

from outbox_helpers import put
from support import Clock

from bridge.storage.outbox import Outbox
from bridge.storage.queries import Queries


def test_each_event_counts_in_the_hour_in_which_it_came(outbox: Outbox, clock: Clock) -> None:
    began = clock() - clock() % 3600
    ages = {0.0: 1, 3600.0: 1, 3600.1: 1, 23 * 3600.0: 2, 23 * 3600.1: 3}  # s before this hour
    for age, count in ages.items():
        clock.now = began - age
        for number in range(count):
            put(outbox, clock, age=age, number=number)
    counts = Queries(outbox.database, {}).per_hour(began + 1800)
    assert [begin for begin, _ in counts] == [began - n * 3600 for n in reversed(range(24))]
    found = {began - begin: count for begin, count in counts if count}
    assert found == {0.0: 1, 3600.0: 1, 2 * 3600.0: 1, 23 * 3600.0: 2}
