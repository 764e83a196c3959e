"""Which builds are new, which of them had no webhook, and what is sent of these."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from outbox_helpers import rows
from pgyer_api import ICON, FakePgyer, Row, time_of
from support import Clock

from bridge.errors import PgyerError
from bridge.pgyer.watch import GRACE
from bridge.sandbox import pgyer

Start = Callable[..., Any]


def test_what_is_there_at_the_first_look_is_not_sent(process: Any) -> None:
    assert process.look() == {}
    assert process.sent() == []


def test_a_build_without_a_webhook_is_sent_as_its_webhook_would_have_been(
    process: Any, fake: FakePgyer, clock: Clock
) -> None:
    build = fake.upload()
    assert process.look() == {build["buildKey"]: "missing"}
    assert process.look() == {}
    [line] = process.queries.missing_builds(clock() - 1.0)
    event = process.queries.event(line.id)
    assert event.source == "api" and event.type == "updateVersion"
    payload = dict(event.payload)
    details = payload.pop("build")
    assert payload == {
        "action": "应用更新", "type": "updateVersion", "title": "App demo", "os_version": "1.2",
        "message": "您的应用App demo有了新的版本(1.2)更新。", "build_version": "2",
        "link": "https://www.pgyer.com/demo-page", "created": time_of(clock() - 200.0),
        "updated": time_of(clock() - 200.0), "appsize": "40000001", "device_type": "Android",
        "notes": "修复登录", "source": "api",
        "appQRCodeURL": "https://www.pgyer.com/app/qrcodeHistory/demo-0001",
    }  # fmt: skip
    assert details["icon"].startswith(f"https://cdn-app-icon2.pgyer.com/3/2/6/a/f/{ICON}?")
    assert details["qrcode"] == payload["appQRCodeURL"]
    assert details["buildIdentifier"] == "com.example.demo"
    stored = str(rows(process.outbox, "events"))
    assert not any(text in stored for text in ("open-it", "s3cr3t", "appKey", fake.key))
    assert [d["bot"] for d in rows(process.outbox)] == ["default"]


def test_a_build_whose_webhook_came_is_not_sent(process: Any, fake: FakePgyer) -> None:
    build = fake.upload()
    process.post(build)
    assert process.look() == {build["buildKey"]: "webhook"}
    assert fake.names() == ["listMy", "builds"]
    assert process.look() == {}
    assert fake.names() == ["listMy"]
    assert process.sent() == []


MATCHES: list[tuple[str, dict[str, str]]] = [
    ("page and counter", {"created": "", "appsize": ""}),
    ("counter as a number", {"created": "", "build_version": "02"}),
    ("moment and size of the upload", {"link": "https://pgyer.com/channel", "build_version": "7"}),
    ("page and the app's own number", {"created": "", "appsize": "", "build_version": "92"}),
    ("the same and the moment", {"appsize": "26 MB", "build_version": "92"}),
    ("the same and the size", {"created": "yesterday", "build_version": "92"}),
    ("another host", {"link": "http://xcxwo.com/demo-page/", "created": ""}),
]


@pytest.mark.parametrize(("more"), [m for _, m in MATCHES], ids=[name for name, _ in MATCHES])
def test_a_webhook_belongs_to_a_build_by_each_rule(
    process: Any, fake: FakePgyer, more: dict[str, str]
) -> None:
    build = fake.upload()
    event = process.post(build, **more)
    assert process.look() == {build["buildKey"]: "webhook"}
    # The same the other way round: the webhook comes after the build was found.
    late = fake.upload()
    assert process.look() == {late["buildKey"]: "missing"}
    more = {name: text.replace("2", "3") if name == "build_version" else text
            for name, text in more.items()}  # fmt: skip
    answer = process.post(late, **more)
    assert answer.duplicate and answer.event != event.event
    assert len(process.sent()) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"link": "https://www.pgyer.com/Demo-page", "created": ""},
        {"build_version": "3", "created": "", "os_version": "1.3"},
        {"link": "", "appsize": "1"},
        {"type": "versionChange", "action": "版本变动"},
    ],
    ids=["another page", "another number", "neither page nor size", "another kind of event"],
)
def test_another_webhook_does_not(process: Any, fake: FakePgyer, more: dict[str, str]) -> None:
    build = fake.upload()
    process.post(build, **more)
    assert process.look() == {build["buildKey"]: "missing"}


def test_the_counter_of_one_build_is_not_taken_for_the_number_of_another(
    process: Any, fake: FakePgyer
) -> None:
    """The app's own number is counted up as well, and is a few ahead of Pgyer's counter."""
    lost = fake.upload(buildVersion="2.3.0", buildVersionNo="3", age=300.0)
    process.post(fake.upload(buildVersion="2.3.0", buildVersionNo="4"))
    assert process.look()[lost["buildKey"]] == "missing"
    assert not process.post(fake.upload(buildVersion="2.3.0", buildVersionNo="5")).duplicate
    assert process.sent() == ["App demo 2.3.0 2"]


def test_the_reply_of_an_upload_that_was_posted_belongs_to_its_build(
    process: Any, fake: FakePgyer
) -> None:
    build = fake.upload()
    data = {"buildKey": build["buildKey"], "buildName": "x", "buildVersion": "1.2"}
    build = {**build, "buildCreated": ""}
    process.post(build, type="", action="", title="", link="", code=0, data=data)
    assert process.look() == {build["buildKey"]: "webhook"}


def test_several_builds_between_two_looks_are_all_sent_in_their_order(
    process: Any, fake: FakePgyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgyer, "PAGE", 2)
    for age in (900.0, 700.0, 500.0, 300.0):
        fake.upload(age=age)
    process.post(fake.builds[2])
    assert list(process.look().values()) == ["missing", "webhook", "missing", "missing"]
    assert process.sent() == ["App demo 1.2 2", "App demo 1.4 4", "App demo 1.5 5"]


@pytest.mark.parametrize("looks", [1, 2])
def test_builds_with_the_same_version_and_number_of_the_app_are_each_sent(
    process: Any, fake: FakePgyer, looks: int
) -> None:
    for _ in range(looks):
        for _ in range(2 // looks):
            fake.upload(buildVersion="2.3.0", buildVersionNo="230")
        assert set(process.look().values()) == {"missing"}
    assert process.sent() == ["App demo 2.3.0 2", "App demo 2.3.0 3"]


def test_an_app_that_is_new_is_sent_and_of_one_with_a_history_at_most_the_newest(
    process: Any, fake: FakePgyer
) -> None:
    fake.upload("other", age=300.0)
    fake.upload("other")
    fake.upload("moved", age=4000.0, counter=125)
    fake.upload("moved", age=3000.0, counter=126)
    fake.upload("ancient", age=10**7)
    assert process.look() == {
        "other-0001": "missing", "other-0002": "missing", "moved-0003": "baseline",
        "moved-0004": "missing", "ancient-0005": "too_old",
    }  # fmt: skip
    assert sorted(process.sent()) == ["App moved 1.126 126", "App other 1.1 1", "App other 1.2 2"]
    fake.upload("ancient")
    assert process.look() == {"ancient-0006": "missing"}


def test_what_was_above_the_latest_at_the_first_look_is_history(
    start: Start, fake: FakePgyer, clock: Clock
) -> None:
    process = start()
    for days in range(9, 1, -1):
        fake.upload(age=days * 86_400.0)
    late = fake.upload(age=60.0)  # Pgyer was not done with it
    above, fake.builds[5:] = fake.builds[5:], []  # an older one was made the latest
    assert process.look() == {"demo-0004": "baseline"}
    fake.builds += above
    clock.advance(1000.0)
    assert process.look() == {
        "demo-0005": "baseline", "demo-0006": "baseline", "demo-0007": "baseline",
        late["buildKey"]: "missing",
    }  # fmt: skip
    process, app = start(), "moved"
    older, newer = fake.upload(app, age=9 * 86_400.0), fake.upload(app, age=8 * 86_400.0)
    fake.builds.remove(newer)
    assert process.look()[older["buildKey"]] == "baseline"
    fake.builds.append(newer)
    assert process.look() == {newer["buildKey"]: "too_old"}
    assert process.sent() == ["App demo 1.9 9"]


def test_a_clock_that_was_years_ahead_at_the_first_look_makes_no_build_history(
    process: Any, fake: FakePgyer
) -> None:
    process.first_at += 10**9
    fake.upload()
    fake.upload("other")
    assert set(process.look().values()) == {"missing"}


def test_what_came_while_the_bridge_was_down_for_days_is_sent_unless_its_webhook_came(
    process: Any, fake: FakePgyer, clock: Clock
) -> None:
    process.post(fake.upload(age=0.0))
    fake.upload(age=0.0)
    clock.advance(5 * 86_400.0)
    assert process.look() == {"demo-0001": "webhook", "demo-0002": "missing"}


def test_what_was_taken_back_or_hidden_is_silent(process: Any, fake: FakePgyer) -> None:
    fake.upload(buildIsDisplayInHistory=2)
    assert process.look() == {"demo-0001": "hidden"}
    process.post(fake.upload())
    assert process.look() == {"demo-0002": "webhook"}
    del fake.builds[2]  # the newest was deleted
    assert process.look() == {}
    fake.upload(counter=2, buildKey="never-seen")  # an older number, by a key that was never seen
    assert process.look() == {}
    fake.builds.clear()
    assert process.look() == {}
    assert process.sent() == []


def test_a_build_is_sent_once_it_is_published(process: Any, fake: FakePgyer) -> None:
    build = fake.upload(buildIsPublishComplete="2")
    assert process.look() == {build["buildKey"]: "unpublished"}
    build["buildIsPublishComplete"] = 1
    assert process.look() == {build["buildKey"]: "missing"}


def test_a_webhook_has_three_minutes_by_pgyers_clock(
    process: Any, fake: FakePgyer, clock: Clock
) -> None:
    older, newer = fake.upload(age=GRACE - 1), fake.upload(age=GRACE - 2)
    process.clock = lambda: clock() + 8 * 3600.0  # of the bridge, and wrong
    assert process.look() == {older["buildKey"]: "grace"}
    clock.advance(1.0)
    assert process.look() == {older["buildKey"]: "missing", newer["buildKey"]: "grace"}
    clock.advance(1.0)
    assert process.look() == {newer["buildKey"]: "missing"}


def test_builds_that_pgyer_does_not_list_are_named_in_the_log_once(
    process: Any, fake: FakePgyer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fake.upload()
    newest = fake.upload(age=0.0)
    fake.fault = lambda name: None if name == "listMy" else (200, b'{"code":1009,"message":""}')
    assert process.look() == {newest["buildKey"]: "grace"}
    assert caplog.text == ""
    clock.advance(GRACE)
    assert process.look() == {newest["buildKey"]: "missing"}
    assert process.look() == {}
    assert caplog.text.count("app App demo: what came between its builds 1 and 3 is not known") == 1


def test_a_build_whose_time_cannot_be_read_is_sent_at_once(process: Any, fake: FakePgyer) -> None:
    build = fake.upload(buildCreated="2小时前")
    assert process.look() == {build["buildKey"]: "missing"}


def test_a_build_that_is_in_no_list_of_builds_is_sent_by_its_apps_row(
    process: Any, fake: FakePgyer
) -> None:
    build = fake.upload()
    fake.fault = lambda name: None if name == "listMy" else (200, b'{"code":1009,"message":""}')
    assert process.look() == {build["buildKey"]: "missing"}
    assert process.sent() == ["App demo 1.2 2"]
    event = process.queries.event(process.queries.missing_builds(0.0)[0].id)
    assert event.payload["build"]["icon"] and "qrcode" not in event.payload["build"]


@pytest.mark.parametrize("name", ["listMy", "builds"])
def test_nothing_is_lost_while_pgyer_is_away(process: Any, fake: FakePgyer, name: str) -> None:
    build = fake.upload()
    fake.fault = lambda asked: (502, b"<html>Tengine</html>") if asked == name else None
    with pytest.raises(PgyerError, match="HTTP 502") as raised:
        process.look()
    assert raised.value.outcome == "away" and fake.key not in str(raised.value)
    fake.fault = lambda asked: None
    assert process.look() == {build["buildKey"]: "missing"}


def bare_array(data: Row) -> Any:
    return data["list"]


def gaps(data: Row) -> Any:
    return {"list": {str(2 * n): row for n, row in enumerate(data["list"])}}


def texts(data: Row) -> Any:
    return {**data, "pageCount": str(data["pageCount"]), "count": "1", "total": 1}


def numbers(data: Row) -> Any:
    read = ("buildBuildVersion", "buildType", "buildFileSize", "buildIsPublishComplete")
    made = [{k: int(v) if k in read else v for k, v in row.items()} for row in data["list"]]
    return {"list": [None, "x", {}, {"buildKey": "without-a-number"}, *made] if made else []}


def nulls(data: Row) -> Any:
    needed = ("buildKey", "appKey", "buildBuildVersion", "buildCreated")
    return {"list": [{k: v if k in needed else None for k, v in r.items()} for r in data["list"]]}


@pytest.mark.parametrize("shape", [bare_array, gaps, texts, numbers, nulls])
def test_a_reply_is_read_in_every_shape(
    process: Any, fake: FakePgyer, shape: Callable[[Row], Any]
) -> None:
    fake.listed = shape
    builds = [fake.upload(age=400.0), fake.upload(age=300.0)]
    assert process.look() == {build["buildKey"]: "missing" for build in builds}


@pytest.mark.parametrize("data", [None, "", 7, {}, {"list": None}, {"list": [1]}, [[]]])
def test_a_reply_that_says_nothing_is_no_account_without_apps(
    process: Any, fake: FakePgyer, data: Any
) -> None:
    fake.listed = lambda _: data
    with pytest.raises(PgyerError) as raised:
        process.look()
    assert raised.value.outcome == "unreadable"


@pytest.mark.parametrize("data", [None, {"list": None}, {"list": [{"appKey": "no-build-yet"}]}])
def test_a_later_page_that_says_nothing_is_the_end(
    process: Any, fake: FakePgyer, data: Any
) -> None:
    """The number of pages is not always said, and an app may have no build."""
    fake.listed = lambda page: {"list": page["list"]} if page["list"] else data
    build = fake.upload()
    assert process.look() == {build["buildKey"]: "missing"}


def test_endless_pages_end(process: Any, fake: FakePgyer) -> None:
    fake.listed = lambda data: {"list": [fake.builds[0]], "pageCount": 10**9}
    assert process.look() == {}
    assert fake.names() == ["listMy", "listMy"]


def test_many_pages_of_apps_are_read_to_the_end(process: Any, fake: FakePgyer) -> None:
    for number in range(45):
        fake.upload(f"app{number}")
    assert len(process.look()) == 45
    assert [form["page"] for name, form in fake.asked if name == "listMy"] == ["1", "2", "3"]


# Late webhooks


def test_a_late_webhook_is_a_duplicate_however_late_it_is(
    process: Any, fake: FakePgyer, clock: Clock
) -> None:
    build = fake.upload()
    process.look()
    clock.advance(86_400.0)
    answers = [process.post(build), process.post(build)]
    assert [answer.duplicate for answer in answers] == [True, True]
    assert process.queries.event(answers[0].event).duplicates == 2
    assert len(rows(process.outbox, "events")) == 1
    clock.advance(7 * 86_400.0)
    assert not process.post(build).duplicate  # the number may be another build's by now


def test_a_late_webhook_for_other_bots_is_sent_to_them(process: Any, fake: FakePgyer) -> None:
    build = fake.upload()
    process.look()
    assert process.post(build, ("default",)).duplicate
    assert not process.post(build, ("dev", "default")).duplicate


def test_webhooks_alike_are_not_each_others_duplicates(process: Any, fake: FakePgyer) -> None:
    build = fake.upload()
    process.post(build)
    assert not process.post(build, notes="corrected").duplicate


def test_webhook_and_look_at_once_make_one_event(
    process: Any, start: Start, fake: FakePgyer
) -> None:
    other = start()
    for _ in range(10):
        build = fake.upload()
        begin = threading.Barrier(3)

        def at_once(work: Callable[[], object], begin: threading.Barrier = begin) -> None:
            begin.wait(30)
            work()

        works = [process.look, lambda build=build: other.post(build), lambda: other.watch.look(1.0)]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(at_once, works))
    assert len(rows(process.outbox, "events")) == 10
    assert len(rows(process.outbox)) == 10
