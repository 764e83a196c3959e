"""Change the code that decides, one place at a time, and say which changes the tests notice.

mutmut makes the changes, also those of tables and patterns outside of functions. One process
imports everything and collects the tests; each change is put into the loaded module in a fork of
it, which runs the tests that reach the changed function until one fails. docs/mutants.md lists the
survivors with the reason why none is a missing test. Exits with 1 where another one survives, or
below the promised share.
"""

import ast
import inspect
import json
import os
import signal
import sys
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import pytest
from libcst.metadata import MetadataWrapper, WhitespaceInclusivePositionProvider
from mutmut.mutation.file_mutation import create_mutations, mutation_operators
from patterns import OPERATORS

PROMISED = 90.0  # percent
# Module → the functions and values that are changed; None: all.
CHANGED: dict[str, tuple[str, ...] | None] = {
    "bridge.receiving.decoding": None,
    "bridge.receiving.cleaning": None,
    "bridge.receiving.event_types": None,
    "bridge.receiving.routing": None,
    "bridge.messages.markdown": None,
    # What an answer means. The client's waiting and sockets are tried elsewhere.
    "bridge.delivery.wecom": (
        "_MAX_DETAIL",
        "_MAX_ERRCODE",
        "_MAX_RETRY_AFTER",
        "_POLICY",
        "_WRONG_ADDRESS",
        "_TRANSIENT",
        "_LATE",
        "classify",
        "_whole",
        "_media_id",
        "_without_errcode",
        "_seconds",
        "core_message",
        "transport_failure",
    ),
}
# Without processes, sockets and files of their own, and without the clock.
TESTS = [
    *(
        f"tests/receiving/test_{name}.py"
        for name in (
            "cleaning",
            "decoding",
            "event_types",
            "refused_bodies",
            "routes_file",
            "routing",
            "samples",
            "targets",
        )
    ),
    "tests/messages/test_constructs.py",
    "tests/messages/test_markdown.py",
    "tests/messages/test_optional.py",
    "tests/messages/test_shorten.py",
    "tests/messages/test_stack.py",
    "tests/delivery/test_classify.py",
    "tests/delivery/test_wecom.py",
]
LEFT_OUT = (
    # Has a limit by the clock.
    "tests/messages/test_markdown.py::test_hostile_text_of_a_message_s_length_takes_no_time",
    # Takes a third of the time. What it alone would notice survives here.
    "tests/receiving/test_decoding.py::test_any_object_comes_through",
)
RESULTS, REASONS = Path("mutants/results.jsonl"), Path("docs/mutants.md")
ALIVE, BROKEN = "nothing", "it does not load"  # instead of the test that killed a mutant
Place = tuple[str, int]  # a module and the line of a function in it; 0: outside of functions


@dataclass(frozen=True)
class Mutant:
    """A module's source with one change."""

    module: str
    name: str  # of the function or value
    line: int  # where the change begins
    place: Place
    source: str
    change: str  # the changed code, as `old → new`; with a number where it occurs again

    @property
    def key(self) -> str:
        return f"{self.module.rpartition('.')[2]}.{self.name}: {self.change}"


def parts(source: str) -> list[tuple[int, int, str, bool]]:
    """Return first and last line and name of each function, method and value of a module.

    The last of the four says whether it is a function.
    """
    found = []
    for node in ast.parse(source).body:
        for part in node.body if isinstance(node, ast.ClassDef) else [node]:
            end = part.end_lineno or 0
            if isinstance(part, ast.FunctionDef):
                found.append((part.lineno, end, part.name, True))
            elif isinstance(part, ast.Assign | ast.AnnAssign):
                target = part.targets[0] if isinstance(part, ast.Assign) else part.target
                name = target.elts[0] if isinstance(target, ast.Tuple) else target
                found.append((part.lineno, end, ast.unparse(name), False))
    return found


def part_at(line: int, known: list[tuple[int, int, str, bool]]) -> tuple[int, str]:
    """Return the first line and the name of the function at a line; 0 and the name of a value."""
    for first, last, name, is_function in known:
        if first <= line <= last:
            return first if is_function else 0, name
    return 0, ""


def mutants() -> Iterator[Mutant]:
    """Yield every change of every module."""
    mutation_operators.extend(OPERATORS)
    for module, wanted in CHANGED.items():
        path = Path(*module.split(".")).with_suffix(".py")
        source = path.read_text(encoding="utf-8")
        known = parts(source)
        seen: Counter[str] = Counter()
        tree, mutations, _, _ = create_mutations(str(path), source)
        wrapper = MetadataWrapper(tree, unsafe_skip_copy=True)
        spans = wrapper.resolve(WhitespaceInclusivePositionProvider)
        starts = [0, *accumulate(len(line) + 1 for line in source.split("\n"))]
        for mutation in mutations:
            old, new = map(tree.code_for_node, (mutation.original_node, mutation.mutated_node))
            begin = spans[mutation.original_node].start
            at = starts[begin.line - 1] + begin.column
            assert source.startswith(old.split("\n")[0], at)
            end = spans[mutation.original_node].end
            changed = source[:at] + new + source[starts[end.line - 1] + end.column :]
            try:
                compile(changed, str(path), "exec")
            except SyntaxError:
                continue
            first, name = part_at(begin.line, known)
            if wanted is not None and name not in wanted:
                continue
            change = " → ".join(" ".join(code.split()) for code in (old, new))
            seen[f"{name}: {change}"] += 1
            if (times := seen[f"{name}: {change}"]) > 1:
                change += f" ({times})"
            yield Mutant(module, name, begin.line, (module, first), changed, change)


def put_in(module: types.ModuleType, source: str) -> None:
    """Put changed source into a loaded module, wherever its functions and values are used."""
    fresh: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(source, str(module.__file__), "exec"), fresh)
    loaded = list(sys.modules.values())
    for name, new in fresh.items():
        old = vars(module).get(name)
        if name.startswith("__") or new is old:
            continue
        if inspect.isclass(new) and new.__module__ == module.__name__:
            for attribute, method in vars(new).items():
                if inspect.isfunction(method):
                    put_code(vars(old)[attribute], method)
        elif inspect.isfunction(new) and inspect.isfunction(old):
            put_code(old, new)
        else:
            for user in loaded:
                if vars(user).get(name) is old:
                    setattr(user, name, new)


def put_code(old: Any, new: types.FunctionType) -> None:
    """Let a function do what another one does."""
    old.__code__, old.__defaults__, old.__kwdefaults__ = (
        new.__code__,
        new.__defaults__,
        new.__kwdefaults__,
    )


class Trial:
    """A plugin of pytest that runs the collected tests in forks, once for each mutant."""

    def __init__(self, choose: Callable[[Mutant], bool], workers: int) -> None:
        self.choose, self.workers = choose, workers
        self.failed = ""  # the first test that failed in this process
        self.items: list[pytest.Item] = []
        self.mutants: list[Mutant] = []
        self.reach: dict[str, set[Place]] = {}  # of each test
        self.seconds: dict[str, float] = {}  # of the processor, for each test, under a profiler

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        from hypothesis import HealthCheck, settings  # not before pytest rewrites its asserts

        # The same few examples each time, and no limit by the clock.
        settings.register_profile(
            "mutants",
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=30,
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    @pytest.hookimpl
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            pytest.exit("the tests cannot be collected", 1)
        # A fork would leave its folders.
        self.items = [item for item in session.items if "tmp_path" not in item.fixturenames]
        self.measure()
        self.mutants = list(mutants())
        todo = [mutant for mutant in self.mutants if self.choose(mutant)]
        print(f"{len(todo)} changes, {len(self.items)} tests", flush=True)
        reads, writes = os.pipe()
        os.write(writes, b"".join(number.to_bytes(4) for number in range(len(todo))))
        os.close(writes)
        workers = [self.start(lambda: self.work(todo, reads)) for _ in range(self.workers)]
        if any(os.waitpid(pid, 0)[1] for pid in workers):
            pytest.exit("a worker broke", 1)
        return True

    @staticmethod
    def start(work: Callable[[], None]) -> int:
        """Do some work in a copy of this process, and return its id."""
        if not (pid := os.fork()):
            try:
                work()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        return pid

    def measure(self) -> None:
        """Find what each test reaches and how long it takes; every test must pass as it is."""

        def run() -> str:
            known = {}
            for name in CHANGED:
                module = import_module(name)
                source = Path(str(module.__file__)).read_text(encoding="utf-8")
                put_in(module, source)  # the code as it is, to see that this breaks nothing
                known[str(module.__file__)] = (name, parts(source))
            found = [(item.nodeid, *self.reached(item, known)) for item in self.items]
            return json.dumps([self.failed, found])

        failed, found = json.loads(in_fork(run))
        if failed:
            pytest.exit(f"without any change this fails: {failed}", 1)
        for name, seconds, places in found:
            self.seconds[name] = seconds
            self.reach[name] = {(module, line) for module, line in places}

    def reached(self, item: pytest.Item, known: dict[str, Any]) -> tuple[float, list[Place]]:
        """Run a test, and return its seconds and the places that it reaches in the known files."""
        places: set[Place] = set()

        def note(frame: types.FrameType, event: str, _: object) -> None:
            if event == "call" and (entry := known.get(frame.f_code.co_filename)):
                places.add((entry[0], part_at(frame.f_code.co_firstlineno, entry[1])[0]))

        began = process_time()
        sys.setprofile(note)
        self.run([item])
        sys.setprofile(None)
        return process_time() - began, sorted(places)

    def run(self, items: list[pytest.Item]) -> None:
        """Run tests until one fails; the process ends by a signal where one takes too long."""
        for item in items:
            signal.setitimer(signal.ITIMER_PROF, 5 + 2 * self.seconds.get(item.nodeid, 60))
            signal.alarm(600)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if self.failed:
                return

    def work(self, todo: list[Mutant], numbers: int) -> None:
        """Try one mutant after the other, and write down how each of them ended."""
        killers: Counter[str] = Counter()
        while number := os.read(numbers, 4):
            mutant = todo[int.from_bytes(number)]
            items = [item for item in self.items if self.reaches(item, mutant)]
            # What killed others goes first, then the quick ones.
            items.sort(key=lambda item: (-killers[item.nodeid], self.seconds[item.nodeid]))

            def run(mutant: Mutant = mutant, items: list[pytest.Item] = items) -> str:
                try:
                    put_in(import_module(mutant.module), mutant.source)
                except Exception as error:
                    return f"{BROKEN}: {error!r}"
                self.run(items)
                return self.failed or ALIVE

            began = perf_counter()
            killer = in_fork(run)
            killers[killer] += 1
            result = {"killer": killer, "tests": len(items), "seconds": perf_counter() - began}
            with RESULTS.open("a", encoding="utf-8") as file:
                line = [mutant.key, result]
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            if killer == ALIVE:
                print(mutant.key, flush=True)

    def reaches(self, item: pytest.Item, mutant: Mutant) -> bool:
        """Return whether a test reaches a mutant: its function, or for a value its module."""
        places = self.reach[item.nodeid]
        if mutant.place[1]:
            return mutant.place in places
        return any(module == mutant.module for module, _ in places)


def in_fork(run: Callable[[], str]) -> str:
    """Run something in a copy of this process, and return what it said, or which signal ended it.

    Raises RuntimeError where it failed, which is no verdict on a mutant.
    """
    reads, writes = os.pipe()

    def work() -> None:
        nothing, errors = os.open(os.devnull, os.O_WRONLY), os.dup(2)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        try:
            said = run()
        finally:
            os.dup2(errors, 2)
        with os.fdopen(writes, "w") as pipe:
            pipe.write(said)

    pid = Trial.start(work)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code > 0:
        raise RuntimeError("a process that tries a mutant failed")
    return f"ended by {signal.Signals(-code).name}" if code else said


def results() -> dict[str, Any]:
    """Return how each mutant ended when it was last tried, by its key."""
    if not RESULTS.exists():
        return {}
    return dict(json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines())


def report(mutants: list[Mutant]) -> None:
    """Print the survivors without a reason, and a line for each module."""
    listed = set(REASONS.read_text(encoding="utf-8").splitlines())
    killed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    alive: list[str] = []
    known = results()
    for mutant in mutants:
        result = known.get(mutant.key)
        if not result or result["killer"].startswith(BROKEN):
            continue  # no change of what it does
        total[mutant.module] += 1
        killed[mutant.module] += result["killer"] != ALIVE
        if result["killer"] != ALIVE and mutant.key in listed:
            print(f"{REASONS} lists what is killed: {mutant.key}")
        elif result["killer"] == ALIVE and mutant.key not in listed:
            alive.append(mutant.key)
            unreached = "" if result["tests"] else " (no test reaches it)"
            print(f"survived{unreached}, line {mutant.line}: {mutant.key}")
    for module in total:
        share = 100 * killed[module] / total[module]
        print(f"{module}: {killed[module]} of {total[module]} killed, {share:.1f} %")
    share = 100 * killed.total() / total.total()
    print(f"all: {killed.total()} of {total.total()} killed, {share:.1f} %")
    if alive or share < PROMISED:
        sys.exit(f"{len(alive)} survivors are not in {REASONS}; promised are {PROMISED:.0f} %")


def main() -> None:
    """Try all mutants, those with a text in their `module.function`, or `survivors` again."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    before = results()
    RESULTS.parent.mkdir(exist_ok=True)

    def choose(mutant: Mutant) -> bool:
        if only == "survivors":
            return before.get(mutant.key, {}).get("killer", ALIVE) == ALIVE
        return only in f"{mutant.module}.{mutant.name}"

    if not only:
        RESULTS.unlink(missing_ok=True)
    deselect = [f"--deselect={name}" for name in LEFT_OUT]
    options = ["-q", "-s", "-p", "no:cacheprovider", *deselect]
    trial = Trial(choose, workers=min(2, os.cpu_count() or 1))
    if code := pytest.main([*options, *TESTS], plugins=[trial]):
        sys.exit(code)
    report(trial.mutants)


if __name__ == "__main__":
    main()
