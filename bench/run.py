"""`make bench`: the bridge beside a bare Flask endpoint under the same gunicorn settings.

Both run in turns on the same machine, so that what counts is a ratio. With `--beside FOLDER`
another checkout of the bridge takes its turns in the same run, so that a change can be judged.
A whole run writes bench/RESULTS.md.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import requests
from database import count_events, fill, longest_lock
from load import REFUSED, event, load
from servers import HERE, NOWHERE, TOKEN, Checkout, Server, WeCom, bare, running
from table import Reach, Row, report

sys.path.insert(0, str(HERE.parent / "tests"))

import postgres  # the tests' own server

HOOK = f"/pgyer/{TOKEN}"
FAST = "1000000"  # messages a minute: no limit
BOTS = {f"WECOM_BOT_KEY_B{n}": f"key-{n}" for n in range(200)}
SECONDS, ROUNDS = 6.0, 5
PATIENCE = 300.0  # seconds for a backlog


Measured = Mapping[Checkout, tuple[float, str]]  # the figure, and how it is shown
Figures = defaultdict[Checkout, list[float]]


def median_of(figures: Mapping[Checkout, list[float]], digits: int = 2, unit: str = "") -> Measured:
    """Return the median of each checkout's figures."""
    medians = {checkout: statistics.median(values) for checkout, values in figures.items()}
    return {checkout: (value, f"{value:.{digits}f}{unit}") for checkout, value in medians.items()}


class Bench:
    """The rows, in the order of the table; the first checkout is the one that is judged."""

    def __init__(
        self, folder: Path, checkouts: Sequence[Checkout], seconds: float, rounds: int
    ) -> None:
        self.folder = folder
        self.checkouts = checkouts
        self.seconds = seconds
        self.rounds = rounds
        self.rows: list[Row] = []
        self._databases = 0

    def sqlite(self) -> str:
        """Return the URL of a new database."""
        self._databases += 1
        return f"sqlite:///{self.folder}/bench{self._databases}.db"

    def in_turn(self, turn: int) -> Sequence[Checkout]:
        """Return the checkouts, another one first each time: a machine's speed changes."""
        return self.checkouts[:: -1 if turn % 2 else 1]

    def row(
        self,
        figure: str,
        reach: Reach,
        measured: Measured,
        notes: Mapping[Checkout, str] | None = None,
    ) -> None:
        """Add a row, and print it."""
        good = reach.holds(measured[self.checkouts[0]][0])
        shown = []
        for checkout in self.checkouts:
            note = f" ({notes[checkout]})" if notes else ""
            shown.append(f"{measured[checkout][1]}{note}")
        self.rows.append(Row(figure, reach, shown, good))
        print(f"{'ok ' if good else 'NOT'} {figure} (reach {reach})", flush=True)
        for checkout, text in zip(self.checkouts, shown, strict=True):
            print(f"      {checkout.name}: {text}", flush=True)

    def acknowledge(self) -> None:
        """Compare the rate and the latency of durable acknowledges with those of a bare Flask."""
        rates, tails, notes = Figures(list), Figures(list), {}
        theirs = bare()
        ours = {c: c.bridge(self.sqlite(), NOWHERE, BRIDGE_RATE="1") for c in self.checkouts}
        with running(theirs, *ours.values()):
            # Many short turns rather than a few long ones: a machine's speed changes.
            for turn in range(2 * self.rounds):
                b = load(theirs.url, HOOK, self.seconds / 2)
                for c in self.in_turn(turn):
                    a = load(ours[c].url, HOOK, self.seconds / 2)
                    rates[c].append(a.rate / b.rate)
                    tails[c].append(a.p99 / b.p99)
                    notes[c] = f"{a.rate:.0f}/s beside {b.rate:.0f}/s"
        figure = "acknowledge, durable: requests/s ÷ bare"
        self.row(figure, Reach("≥", 0.55), median_of(rates), notes)
        self.row("the same, p99 ÷ bare p99", Reach("≤", 2), median_of(tails))

    def undisturbed(self) -> None:
        """Compare p99 with WeCom hanging, or a backlog draining, to p99 with nothing to do."""
        hang, backlog = Figures(list), Figures(list)
        names = ",".join(f"b{n}" for n in range(20))
        with running(box := WeCom()), ExitStack() as stack:
            box.hang("key-default")
            bridges = {}
            for c in self.checkouts:
                idle = c.bridge(self.sqlite(), box.url, BRIDGE_RATE="1")
                hung = c.bridge(self.sqlite(), box.url, BRIDGE_RATE=FAST)
                busy = c.bridge(self.sqlite(), box.url, BRIDGE_RATE=FAST, **BOTS)
                bridges[c] = idle, hung, busy
                stack.enter_context(running(idle, hung, busy))
            for turn in range(self.rounds):
                for c in self.in_turn(turn):
                    idle, hung, busy = bridges[c]
                    quiet = load(idle.url, HOOK, self.seconds)
                    hang[c].append(load(hung.url, HOOK, self.seconds).p99 / quiet.p99)
                    post(busy, 500, f"/{names}")
                    draining = load(busy.url, f"{HOOK}/default", self.seconds)
                    backlog[c].append(draining.p99 / quiet.p99)
        reach, figure = Reach("≤", 1.5), "acknowledge p99 while {} ÷ p99 idle"
        self.row(figure.format("WeCom hangs"), reach, median_of(hang))
        self.row(figure.format("a backlog drains"), reach, median_of(backlog))

    def arrival(self) -> None:
        """Compare the time until a message has arrived with that of a plain forwarder."""
        box, session = WeCom(), requests.Session()
        with running(box):
            keys = {c: f"key-{c.name}" for c in self.checkouts}
            ours = {
                c: c.bridge(self.sqlite(), box.url, BRIDGE_RATE=FAST, WECOM_BOT_KEY=key)
                for c, key in keys.items()
            }
            theirs = bare(box.url)
            urls = {keys[c]: f"{ours[c].url}{HOOK}" for c in self.checkouts}
            urls["bare"] = f"{theirs.url}/forward/{TOKEN}"
            sent: dict[str, list[float]] = {key: [] for key in urls}
            with running(theirs, *ours.values()):
                for n in range(200):
                    for key, url in urls.items():
                        sent[key].append(time.time())
                        session.post(url, data=event(str(n)), timeout=30)
                        time.sleep(0.03)  # one at a time: the one before has arrived long ago
            took = {key: _median_span(sent[key], box.arrivals(key)) for key in urls}
        b = took["bare"]
        ratios = {c: [took[key] / b] for c, key in keys.items()}
        notes = {c: f"{1000 * took[k]:.1f} ms beside {1000 * b:.1f} ms" for c, k in keys.items()}
        figure = "POST → arrival, one at a time: p50 ÷ Flask calling requests.post"
        self.row(figure, Reach("≤", 2.2), median_of(ratios), notes)

    def slow_wecom(self) -> None:
        """Compare acknowledges with a plain forwarder's while WeCom takes 100 ms to answer."""
        ratios, notes = Figures(list), {}
        with running(box := WeCom(latency=0.1)):
            ours = {c: c.bridge(self.sqlite(), box.url, BRIDGE_RATE=FAST) for c in self.checkouts}
            with running(theirs := bare(box.url), *ours.values()):
                b = load(theirs.url, f"/forward/{TOKEN}", self.seconds)
                for c in self.checkouts:
                    a = load(ours[c].url, HOOK, self.seconds)
                    ratios[c].append(a.rate / b.rate)
                    notes[c] = (
                        f"{a.rate:.0f}/s, p99 {a.p99:.0f} ms beside "
                        f"{b.rate:.0f}/s, p99 {b.p99:.0f} ms"
                    )
        figure = "acknowledged/s, WeCom answering after 100 ms ÷ the forwarder"
        self.row(figure, Reach("≥", 8), median_of(ratios, 1), notes)

    def deliveries(self) -> None:
        """Measure how fast one process empties a backlog from SQLite."""
        rates = Figures(list)
        for turn in range(min(self.rounds, 3)):
            for c in self.in_turn(turn):
                rates[c].append(drain(c, self.sqlite()))
        figure = "deliveries/s over 200 bots, SQLite"
        self.row(figure, Reach("≥", 400), median_of(rates, 0))

    def postgresql(self) -> None:
        """Measure how fast one worker and two empty a backlog from PostgreSQL."""
        if not postgres.binaries():
            print(f"no PostgreSQL, so no row of it: {postgres.INSTALL}")
            return
        rates, ratios, notes = Figures(list), Figures(list), {}
        for turn in range(self.rounds):
            for c in self.in_turn(turn):
                rate = {}
                for workers in ((1, 2), (2, 1))[turn % 2]:
                    # A server of its own, which does not clean up after an earlier measurement.
                    with postgres.served() as server:
                        rate[workers] = drain(c, server.create("bench"), workers)
                rates[c].append(rate[1])
                ratios[c].append(rate[2] / rate[1])
                notes[c] = f"last: {rate[2]:.0f}/s beside {rate[1]:.0f}/s"
        figure = "the same on PostgreSQL, one worker"
        self.row(figure, Reach("≥", 350), median_of(rates, 0))
        self.row("the same, 2 workers ÷ 1", Reach("≥", 1.5), median_of(ratios), notes)

    def start(self) -> None:
        """Compare the time from exec to the first answer with that of a bare Flask."""
        ratios, notes = Figures(list), {}
        urls = {c: self.sqlite() for c in self.checkouts}
        for turn in range(self.rounds + 1):
            with running(theirs := bare()):
                b = theirs.wait()
            for c in self.in_turn(turn):
                with running(ours := c.bridge(urls[c], NOWHERE)):
                    a = ours.wait()
                if turn:  # the first makes the schema
                    ratios[c].append(a / b)
                    notes[c] = f"last: {1000 * a:.0f} ms beside {1000 * b:.0f} ms"
        figure = "start (exec → first 200) ÷ bare"
        self.row(figure, Reach("≤", 1.5), median_of(ratios), notes)

    def memory_and_idle(self) -> None:
        """Compare memory after 10,000 events with a bare Flask's, and measure CPU when idle."""
        memory, idle, notes, count = {}, {}, {}, 10_000
        with running(theirs := bare()):
            post(theirs, count)
            b = theirs.memory()
        for c in self.checkouts:
            box = WeCom()
            with running(box, ours := c.bridge(self.sqlite(), box.url, BRIDGE_RATE=FAST)):
                post(ours, count)
                while box.count() < count:
                    time.sleep(0.1)
                a = ours.memory()
                memory[c], notes[c] = [a / b], f"{a:.0f} MiB beside {b:.0f} MiB"
                time.sleep(2)
                before = ours.cpu()
                time.sleep(20)
                idle[c] = [100 * (ours.cpu() - before) / 20]
        figure = "memory after 10,000 events ÷ bare"
        self.row(figure, Reach("≤", 1.35), median_of(memory), notes)
        reach = Reach("≤", 0.3, " % of a core")
        self.row("CPU when idle", reach, median_of(idle, 2, " %"))

    def million(self) -> None:
        """Compare a database of a million events with an empty one, and delete the million."""
        acknowledged, delivered, locks, notes = Figures(list), Figures(list), Figures(list), {}
        urls = {c: (self.sqlite(), self.sqlite()) for c in self.checkouts}
        for c, (full, _) in urls.items():
            with running(c.bridge(full, NOWHERE)):
                pass  # which makes the schema
            fill(full.removeprefix("sqlite:///"), 1_000_000)
        for turn in range(self.rounds):
            for c in self.in_turn(turn):
                a, b = (drain(c, url, events=10) for url in urls[c])
                delivered[c].append(a / b)
        options = {"BRIDGE_RATE": "1", "BRIDGE_RETENTION_DAYS": "3650"}
        for c, pair in urls.items():
            many, none = (c.bridge(url, NOWHERE, **options) for url in pair)
            with running(many, none):
                for _ in range(self.rounds):
                    b = load(none.url, HOOK, self.seconds).rate
                    acknowledged[c].append(load(many.url, HOOK, self.seconds).rate / b)
        reach, figure = Reach("≥", 0.9), "{} with 1,000,000 stored events ÷ with none"
        self.row(figure.format("acknowledge"), reach, median_of(acknowledged))
        self.row(figure.format("deliveries/s"), reach, median_of(delivered))
        for c, (full, _) in urls.items():
            path = full.removeprefix("sqlite:///")
            before = count_events(path)
            with running(c.bridge(full, NOWHERE, BRIDGE_RATE="1", BRIDGE_RETENTION_DAYS="0.5")):
                locks[c] = [1000 * longest_lock(path, max(10, self.seconds * self.rounds))]
            notes[c] = f"{before - count_events(path)} deleted"
        figure = "retention: the longest that it locks the database"
        self.row(figure, Reach("≤", 50, " ms"), median_of(locks, 0, " ms"), notes)


def _median_span(begun: Sequence[float], ended: Sequence[float]) -> float:
    return statistics.median(end - at for at, end in zip(begun, ended, strict=True))


def post(server: Server, count: int, path: str = "") -> None:
    """Post events one after the other; `path` follows the token."""
    session = requests.Session()
    for n in range(count):
        session.post(f"{server.url}{HOOK}{path}", data=event(str(n)), timeout=30)


def drain(checkout: Checkout, database: str, workers: int = 0, events: int = 30) -> float:
    """Return the deliveries a second at which a backlog over 200 bots is sent.

    By so many workers, or with 0 by a bridge that could also receive.
    """
    total, options = len(BOTS) * events, {"BRIDGE_RATE": FAST, **BOTS}
    limit = time.monotonic() + PATIENCE
    with running(box := WeCom()):
        quiet = checkout.bridge(database, box.url, BRIDGE_DISPATCH="off", **options)
        with running(quiet):
            post(quiet, events, f"/{','.join(f'b{n}' for n in range(len(BOTS)))}")
        start = checkout.worker if workers else checkout.bridge
        with running(*(start(database, box.url, **options) for _ in range(workers or 1))):
            while box.count() < total:
                assert time.monotonic() < limit, f"a backlog is not sent: {box.count()} of {total}"
                time.sleep(0.5)  # seldom: asking costs the cores that are measured
        arrived = sorted(box.arrivals())
    return (total - 1) / (arrived[-1] - arrived[0])


def main() -> None:
    """Measure the rows that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="only these, e.g. acknowledge start")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each burst")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="another checkout")
    options = parser.parse_args()
    checkouts = [Checkout("measured", HERE.parent.resolve())]
    if options.beside:
        checkouts.append(Checkout("beside", options.beside.resolve()))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), checkouts, options.seconds, options.rounds)
        everything: list[Callable[[], None]] = [
            bench.acknowledge, bench.undisturbed, bench.arrival, bench.slow_wecom,
            bench.deliveries, bench.postgresql, bench.start, bench.memory_and_idle, bench.million,
        ]  # fmt: skip
        known = [measure.__name__ for measure in everything]
        if wrong := set(options.rows) - set(known):
            parser.error(f"no such row: {', '.join(wrong)}; there are: {', '.join(known)}")
        for measure in everything:
            if not options.rows or measure.__name__ in options.rows:
                measure()
    is_whole = options.seconds >= SECONDS and options.rounds >= ROUNDS
    if not options.rows and is_whole:
        text = report(bench.rows, [checkout.name for checkout in checkouts])
        (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
    if REFUSED:
        sys.exit("\n".join(REFUSED))


if __name__ == "__main__":
    main()
