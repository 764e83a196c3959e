"""What becomes of several matching rules, and quiet hours to the minute."""

from datetime import datetime
from zoneinfo import ZoneInfo

from bridge.model import Event, Route, Routed, Target
from bridge.receiving.routing import compared, matching, parse, quiet_end, route

ZONE = ZoneInfo("Asia/Shanghai")


def at(clock: str, day: int = 10) -> float:
    return datetime.fromisoformat(f"2026-03-{day}T{clock}:00").replace(tzinfo=ZONE).timestamp()


def test_a_bot_that_several_rules_name_gets_what_all_of_them_want() -> None:
    first = Route(1, ("dev",), mention=("a", "b"), attach=("log",), continues=True)
    second = Route(2, ("dev", "ops"), mention=("b", "c"), template="t", attach=("log", "qrcode"))
    event = Event("updateVersion", {}, at("12:00"))
    assert route(event, [first, second], ZONE).targets == [
        Target("dev", ("a", "b", "c"), "t", ("log", "qrcode")),
        Target("ops", ("b", "c"), "t", ("log", "qrcode")),
    ]


def test_it_is_delayed_only_if_every_rule_that_names_it_is_quiet() -> None:
    night = (22 * 60, 8 * 60)
    late = (22 * 60, 9 * 60)
    event = Event("updateVersion", {}, at("23:00"))

    def delayed_until(*quiet: tuple[int, int] | None) -> float:
        routes = [Route(n, ("dev",), quiet=hours, continues=True) for n, hours in enumerate(quiet)]
        [target] = route(event, routes, ZONE).targets
        return target.not_before

    assert delayed_until(night, None) == 0.0
    assert delayed_until(None, night) == 0.0
    assert delayed_until(night, late) == delayed_until(late, night) == at("08:00", 11)


def test_an_event_keeps_the_numbers_of_the_rules_that_it_was_routed_by() -> None:
    event = Event("updateVersion", {"title": "A"}, at("12:00"))
    first = Route(1, ("dev",), continues=True)
    other = Route(2, ("dev",), {"app": ("B",)})
    mute = Route(3, ())
    assert route(event, [first, other, mute], ZONE).rules == [1, 3]
    assert route(event, [mute], ZONE) == Routed(event, [], [3])
    assert route(event, [other], ZONE) == Routed(event, [Target("default")], [])
    assert route(event, [other], ZONE, ["dev"]) == Routed(event, [Target("dev")], ["url"])
    assert route(event, [first, mute], ZONE, ["ops"]).rules == ["url", 1, 3]


def test_quiet_hours_end_at_the_full_minute() -> None:
    assert quiet_end((22 * 60, 8 * 60), at("23:00") + 17.25, ZONE) == at("08:00", 11)


def test_in_the_hour_that_the_clocks_repeat_quiet_hours_end_the_first_time() -> None:
    zone = ZoneInfo("Europe/Berlin")
    night = (22 * 60, 2 * 60 + 30)
    first = datetime(2026, 10, 25, 2, 30, tzinfo=zone).timestamp()
    assert quiet_end(night, first - 4 * 3600, zone) == first
    assert quiet_end(night, first + 45 * 60, zone) == first  # 02:15 again: it is over


def test_where_no_rule_matches_the_rule_is_number_0() -> None:
    assert matching(Event("feedback", {}, 0.0), []) == [Route(rule=0, bots=("default",))]


def test_a_rule_s_quiet_hours_are_minutes_of_the_day() -> None:
    [route], problems = parse('[[route]]\nquiet = "22:15-08:05"', "routes.toml", {"default"})
    assert (route.quiet, problems) == ((22 * 60 + 15, 8 * 60 + 5), [])


def test_only_a_type_is_compared_both_as_sent_and_by_its_name() -> None:
    event = Event("updateVersion", {"type": "新版本", "title": "App", "action": "应用更新"}, 0.0)
    assert compared(event, "type") == ("updateVersion", "新版本")
    assert compared(event, "app") == ("App",)
    assert compared(event, "action") == ("应用更新",)


def test_a_misspelt_key_is_answered_with_the_nearest_one() -> None:
    _, [problem] = parse('[[route]]\nmentoin = "x"', "routes.toml", {"default"})
    assert problem == ("routes.toml:1 (rule 1): unknown key 'mentoin', did you mean 'mention'?")
