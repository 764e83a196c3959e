"""The sandbox's memory: its robots, the calls they got, and the faults set for their next calls."""

import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, Literal

from werkzeug.datastructures import FileStorage

from bridge.messages.html import pick
from bridge.sandbox import faults, pgyer, rules
from bridge.sandbox.rules import MINUTE, SEND, UPLOAD, Reply

KEPT = 100_000  # calls
_ERRMSGS = {
    -1: "system busy",
    45009: "api freq out of limit",
    45033: "api concurrent out of limit",
    93000: "invalid webhook url",
    93004: "robot disabled",
    93008: "robot not in group",
}


@dataclass(frozen=True)
class Call:
    """One call `at` epoch seconds, its fault or '', and WeCom's reply.

    `errcode` is None where WeCom did not see the call; `errmsg` is without its tail.
    """

    at: float
    key: str
    path: str
    msgtype: str
    payload: Any
    fault: str
    errcode: int | None
    errmsg: str


@dataclass
class Robot:
    """One group robot; the sandbox's lock guards it. `media` is id → (filename, expiry).

    `hits` are the times, in epoch seconds, from which each message no longer fills the window.
    """

    key: str
    name: str
    faults: deque[str] = field(default_factory=deque)
    always: str = ""
    hits: deque[float] = field(default_factory=deque)
    blocked_until: float = 0.0
    media: dict[str, tuple[str, float]] = field(default_factory=dict)
    trouble: Call | None = None  # the last call that was not accepted


@dataclass(eq=False)
class Sandbox:
    """The state of a stand-in for WeCom and for Pgyer's API, for any number of threads.

    `keys` gives each known key its display name; without it, any key that does not begin with
    `unknown` becomes a robot. `rate` is in messages per 60 s, None for no limit; the `window`
    slides or begins with the clock's minute, and refused calls fill it too if `count_refused`.
    `latency` is in seconds, `clock` gives epoch seconds. Setting `released` ends every waiting,
    of hanging and of slow calls. `version` changes with every call.
    `builds` are those of Pgyer's account, oldest first, and `asks` the calls of its API, each with
    its form; the page offers `hook` for their webhooks. Pgyer's clock is so many seconds `ahead`.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    _: KW_ONLY
    rate: int | None = 20
    window: Literal["sliding", "minute"] = "sliding"
    count_refused: bool = False
    latency: float = 0.0
    hook: str = ""
    ahead: float = 0.0
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.robots = {key: Robot(key, name) for key, name in self.keys.items()}
        self.calls: deque[Call] = deque(maxlen=KEPT)
        self.builds: list[pgyer.Build] = []
        self.asks: deque[tuple[str, Mapping[str, str]]] = deque(maxlen=KEPT)
        self.released = threading.Event()
        self._pgyer = Robot(pgyer.KEY, "Pgyer")
        self.version = random.getrandbits(63)
        self._lock = threading.Lock()

    def fault(self, key: str, fault: str | int, times: int = 1, always: bool = False) -> None:
        """Let the robot's next calls, or all of them from now on, meet a fault.

        It is busy, one of `faults.NAMES`, of which numbers are HTTP statuses, or any other number
        but 0 as errcode. `pgyer.KEY` means Pgyer's API: one of `faults.PGYER_NAMES`, or a code.
        Raises ValueError for anything else, and for a key that is not known.
        """
        word = "-1" if fault == "busy" else str(fault)
        names = faults.PGYER_NAMES if key == pgyer.KEY else faults.NAMES
        if word not in names and not re.fullmatch(r"-?[1-9][0-9]{0,8}", word):
            raise ValueError(f"unknown fault: {word}")
        with self._lock:
            robot = self._robot(key)
            if robot is None:
                raise ValueError(f"unknown key: {key}")
            if always:
                robot.always = word
            else:
                robot.faults.extend([word] * times)

    def clear_faults(self) -> None:
        """Forget every fault that has not been met yet."""
        with self._lock:
            for robot in (*self.robots.values(), self._pgyer):
                robot.faults.clear()
                robot.always = ""

    def messages(self, key: str | None = None) -> list[Call]:
        """Return the accepted messages of one robot or of all, oldest first."""
        with self._lock:
            calls = [*self.calls]
        accepted = (call for call in calls if call.path == SEND and call.errcode == 0)
        return [call for call in accepted if key in (None, call.key)]

    def send(self, key: str, raw: bytes) -> Call:
        """Take a message as raw JSON."""
        payload = rules.parse(raw)
        with self._lock:
            return self._take(key, SEND, payload, partial(self._judge, payload))

    def upload(self, key: str, part: FileStorage | None) -> tuple[Call, str]:
        """Take the `media` part of an upload; return its media_id too."""
        part = part or FileStorage()
        filename, size = str(part.filename or ""), len(part.read())
        reply = rules.judge_upload(part.headers.get("Content-Disposition", ""), size)
        media_id = "3" + random.randbytes(32).hex()
        with self._lock:
            call = self._take(key, UPLOAD, {"filename": filename, "size": size}, lambda *_: reply)
            if call.errcode == 0:
                self.robots[key].media[media_id] = (filename, call.at + rules.MEDIA_LIFE)
        return call, media_id

    def upload_build(self, **build: Any) -> tuple[pgyer.Build, dict[str, Any]]:
        """Let an app have a new build; return it, and what Pgyer's webhook posts of it.

        See `pgyer.new_build`; raises TypeError or ValueError for what is none.
        """
        with self._lock:
            now = self.clock() + self.ahead
            built = pgyer.new_build(self.builds, now, **build)
            for earlier in self.builds:
                if earlier["appKey"] == built["appKey"]:
                    earlier["buildIsLastest"] = "2"
            self.builds.append(built)
        return built, pgyer.webhook(built, now)

    def ask(self, name: str, form: Mapping[str, str]) -> tuple[str, dict[str, Any] | None]:
        """Take a call of Pgyer's API; return its fault or '', and the reply to it."""
        with self._lock:
            self.asks.append((name, form))
            fault = self._next_fault(self._pgyer)
            reply = pgyer.answer(name, form, self.builds)
        if fault == "array" and reply and "list" in (reply.get("data") or ()):
            reply = reply | {"data": reply["data"]["list"]}
        if re.fullmatch(r"-?\d+", fault) and fault not in faults.PGYER_NAMES:
            reply = {"code": int(fault), "message": "fault"}
        return fault, reply

    @staticmethod
    def _next_fault(robot: Robot) -> str:
        return robot.faults.popleft() if robot.faults else robot.always

    def _robot(self, key: str) -> Robot | None:
        if key == pgyer.KEY:
            return self._pgyer
        if not self.keys and key and not key.startswith("unknown"):
            self.robots.setdefault(key, Robot(key, key))
        return self.robots.get(key)

    def _take(
        self, key: str, path: str, payload: Any, judged: Callable[[Robot, float], Reply]
    ) -> Call:
        now = self.clock()
        robot = self._robot(key) or Robot(key, key)
        fault = self._next_fault(robot)
        reply: tuple[int | None, str]
        if key not in self.robots:
            reply = rules.UNKNOWN_KEY[path]
        elif not fault or fault in faults.ERRMSGS:
            reply = judged(robot, now)
        elif fault in faults.NAMES:
            reply = None, fault
        else:
            reply = int(fault), _ERRMSGS.get(int(fault), "fault")
        call = Call(now, key, path, pick(payload, "msgtype"), payload, fault, *reply)
        self.version += 1
        self.calls.append(call)
        if call.errcode != 0:
            robot.trouble = call
        counts = call.errcode == 0 or (self.count_refused and call.errcode is not None)
        if path == SEND and counts:
            turn = (now // MINUTE + 1) * MINUTE
            robot.hits.append(now + MINUTE if self.window == "sliding" else turn)
        return call

    def _judge(self, payload: Any, robot: Robot, now: float) -> Reply:
        if self._is_over_rate(robot, now):
            return rules.OVER_RATE
        media = {media for media, (_, until) in robot.media.items() if until > now}
        return rules.judge(payload, media)

    def _is_over_rate(self, robot: Robot, now: float) -> bool:
        while robot.hits and robot.hits[0] <= now:
            robot.hits.popleft()
        if now >= robot.blocked_until and self.rate is not None and len(robot.hits) >= self.rate:
            robot.blocked_until = now + MINUTE
        return now < robot.blocked_until
