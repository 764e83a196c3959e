"""What a template may cost and reach: whatever it tries, it ends soon and a message results."""

import json
import logging
import os
import re
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader
from rendering import SHANGHAI, folder, rendered
from support import ROOT

from bridge.messages import budget as limits
from bridge.messages import child
from bridge.messages.budget import MAX_NUMBER, MAX_OUTPUT, TooCostlyError
from bridge.messages.child import ChildError
from bridge.messages.environment import BridgeEnvironment
from bridge.messages.renderer import Renderer
from bridge.model import Event, Target

APP = Event("updateVersion", {"title": "App", "notes": "n" * 50}, 0.0)

QUICK = 0.2  # seconds of CPU for a rendering where it need not be the whole second
# Generous: a rendering has 1 s of CPU.
MAX_CPU = 4.0  # seconds, for reading the folder and rendering one event
MAX_MEMORY = 400  # MiB, the process itself included
ADDRESS_SPACE = 1 << 30  # bytes, where the kernel steps in: the tests' machine must not suffer

_DOUBLED = "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = WHAT %}{% endfor %}"
_TREE = (
    "{% set n = namespace(x='a') %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
)

COSTLY = {
    "nested ranges": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "a range too wide": "{% for a in range(10**9) %}{% endfor %}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro that calls itself twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}"
    ),
    "a recursive loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "a template that includes itself": "{% include 'default.markdown.j2' %}",
    "much output in a block": (
        "{% set x %}{% for a in range(9999) %}{{ 'x' * 1000 }}{% endfor %}{% endset %}{{ x }}"
    ),
    "much output in a macro": (
        "{% macro f() %}{% for a in range(9999) %}{{ 'x' * 1000 }}{% endfor %}{% endmacro %}"
        "{{ f()|length }}"
    ),
    "text times a number": "{{ 'x' * 10**9 }}",
    "a number times text": "{{ 10**9 * 'x' }}",
    "a list times a number": "{{ ([1] * 10**9)|length }}",
    "doubling by ~": _DOUBLED.replace("WHAT", "n.x ~ n.x"),
    "doubling by +": _DOUBLED.replace("WHAT", "n.x + n.x"),
    "doubling by *": _DOUBLED.replace("WHAT", "n.x * 2"),
    "a power of powers": "{{ 9 ** (9 ** 9) }}",
    "a width in %": "{{ '%999999999d' % 1 }}",
    "a precision in %": "{{ '%.999999999f' % 1 }}",
    "a width in format": "{{ '%999999999d'|format(1) }}",
    "center": "{{ 'x'|center(10**9) }}",
    "indent": "{{ 'x\\ny'|indent(10**9) }}",
    "batch": "{% for x in [1]|batch(10**9, 'x') %}{% endfor %}",
    "slice": "{% for x in [1]|slice(10**9) %}{% endfor %}",
    "ljust": "{{ 'x'.ljust(10**9) }}",
    "rjust": "{{ 'x'.rjust(10**9) }}",
    "zfill": "{{ 'x'.zfill(10**9) }}",
    "expandtabs": "{{ '\\t'.expandtabs(10**9) }}",
    "lipsum": "{{ lipsum(1000) }}",
    "str.format": "{{ '{:999999999}'.format(1)|length }}",
    "str.format by item": "{{ '{:999999999}'['format'](1)|length }}",
    "str.format by attr": "{{ ('{:999999999}'|attr('format'))(1)|length }}",
    "str.format with a width of its own": "{{ '{:{}}'.format(1, '999999999')|length }}",
    "str.format_map": "{{ '{a:999999999}'.format_map({'a': 1})|length }}",
    "a width handed to %": "{{ ('%*d' % (999999999, 1))|length }}",
    "a width behind a name with brackets": "{{ '%(a(b)c)999999999d' % {'a(b)c': 1} }}",
    "a width behind a name with a line end": "{{ '%(a\\nb)999999999d' % {'a\\nb': 1} }}",
    "many widths in %": "{{ (('%(a)99999d' * 20000) % {'a': 1})|length }}",
    "text many times in %": "{{ (('%(a)s' * 2000) % {'a': 'x' * 1000000})|length }}",
    "text many times in format": "{{ (('%(a)s' * 2000)|format(a='x' * 1000000))|length }}",
    "replace": "{{ ('x' * 1000).replace('x', 'y' * 1000000)|length }}",
    "the filter replace": "{{ ('x' * 1000)|replace('x', 'y' * 1000000)|length }}",
    "join": "{{ ('y' * 1000000).join('x' * 1000)|length }}",
    "the filter join": "{{ (['x' * 1000000] * 1000)|join|length }}",
    "many tabs": "{{ ('\\t' * 10000).expandtabs(100000)|length }}",
    "translate": "{{ ('x' * 1000).translate({120: 'y' * 1000000})|length }}",
    "wordwrap": "{{ ('x' * 1000)|wordwrap(1, wrapstring='y' * 1000000)|length }}",
    "a filter over a long list": "{{ (['x' * 1000000] * 1000)|map('upper')|list|length }}",
    "a filter over a range": "{{ range(99999)|map('string')|map('center', 9999)|list|length }}",
    "a sum of lists": "{{ ([[0] * 100000] * 2000)|sum(start=[])|length }}",
    "a long list shown": "{{ ['x' * 1000000] * 1000 }}",
    "a loop's condition": "{% for x in [0] * 100000 if 3**30000 % 7 == 9 %}{% endfor %}",
    "a template that includes itself twice": (
        "{% if (n or 'x')|length < 40 %}{% set n = (n or 'x') ~ 'x' %}"
        "{% include 'default.markdown.j2' %}{% include 'default.markdown.j2' %}{% endif %}"
    ),
    "much text of its own in a block": (
        "{% set x %}{% for a in range(99999) %}" + "x" * 9999 + "{% endfor %}{% endset %}{{ x|length }}"  # noqa: E501
    ),
    "much text of its own in a macro": (
        "{% macro f() %}{% for a in range(99999) %}" + "x" * 9999 + "{% endfor %}{% endmacro %}"
        "{{ f()|length }}"
    ),
    "constants that are worked out when it is read": (
        "{{ ('x'|center(10000))|replace(' ', 'y'|center(100000))|length }}"
    ),
}  # fmt: skip


def _render(template: str, report: int) -> None:
    """Render an event by a template that becomes costly with it; runs in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (6, 6))
    logging.disable(logging.CRITICAL)
    folder = Path(os.environ["FOLDER"], str(os.getpid()))
    folder.mkdir()
    source = f"{{# 1 #}}\n{{% if title == 'App' %}}{template}{{% endif %}}x"
    (folder / "default.markdown.j2").write_text(source, encoding="utf-8")
    limits.MAX_SECONDS = QUICK
    child.run = _no_child  # the trial passes; a child for each would only take its time
    renderer = Renderer(folder, SHANGHAI)
    assert renderer.problems == []
    shown = rendered(renderer, APP)
    problems = [text[:300] for text in renderer.problems_by_file.values()]
    result = json.dumps({"shown": shown, "problems": problems})
    os.write(report, result.encode())


def _no_child(*args: Any, **options: Any) -> Any:
    raise ChildError("none here")


def _end_of(template: str) -> dict[str, Any]:
    """Fork, render there, and return how it ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            _render(template, writing)
        except BaseException as error:
            os.write(writing, json.dumps({"raised": repr(error)[:300]}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        result = json.loads(pipe.read() or '{"raised": "nothing: it was killed"}')
    _, _, used = os.wait4(pid, 0)
    return {**result, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss >> 10}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """How each of the costly templates ends, each tried where it can do no harm."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "FOLDER": str(tmp_path_factory.mktemp("costly")),
    }
    command = [sys.executable, __file__]
    done = subprocess.run(command, env=environ, capture_output=True, check=True)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", COSTLY)
def test_a_template_that_becomes_costly_ends_soon_and_the_generic_one_is_used(
    name: str, ends: dict[str, dict[str, Any]]
) -> None:
    end = ends[name]
    assert "raised" not in end, end
    assert "**App**" in end["shown"], end
    [problem] = end["problems"]
    line = "[12]" if "includes itself" in name else "2"
    assert re.match(rf"default\.markdown\.j2:{line}: ", problem), problem
    assert "MemoryError" not in problem, "only the kernel stopped it"
    assert end["cpu"] < MAX_CPU, end
    assert end["memory"] < MAX_MEMORY, end


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_template_is_refused_when_it_is_tried_in_the_child(
    name: str, tmp_path: Path
) -> None:
    path = folder(tmp_path, default__markdown=f"{{# 1 #}}\n{COSTLY[name]}", fine__text="fine")
    renderer = Renderer(path, SHANGHAI)
    began = time.process_time()
    [problem] = renderer.problems
    assert time.process_time() - began < 1, "this process did the work"
    line = "[12]" if "includes itself" in name else "2"
    assert re.match(rf"default\.markdown\.j2:{line}: ", problem), problem
    assert "**App**" in rendered(renderer, APP)
    assert rendered(renderer, APP, Target("default", template="fine")) == "fine"


@pytest.mark.parametrize("shown", ["n.x|string", "n.x ~ ''", "[n.x]|join"])
def test_a_tree_that_doubles_is_shown_as_far_as_a_message_has_room(
    shown: str, tmp_path: Path
) -> None:
    path = folder(tmp_path, default__markdown=f"{_TREE}{{{{ ({shown})[:9] }}}}")
    renderer = Renderer(path, SHANGHAI)
    assert renderer.problems == []
    assert "((((" in rendered(renderer, APP)


# What leads out


def problems_of(tmp_path: Path, template: str) -> list[str]:
    renderer = Renderer(folder(tmp_path, default__markdown=f"first\n{template}"), SHANGHAI)
    assert "App" in rendered(renderer, APP)
    return renderer.problems


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ title.__class__.__mro__[-1].__subclasses__() }}",
        "{{ title.__len__ }}",
        "{{ payload.__class__ }}",
        "{{ event.__class__ }}",
        "{{ mention.__class__ }}",
        "{{ range.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ joiner.mro() }}",
        "{{ dict.mro() }}",
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{% for x in [1] %}{{ loop._iterable }}{% endfor %}",
        "{% macro f() %}{% endmacro %}{{ f._environment }}",
        "{{ [title]|map(attribute='__class__')|list }}",
        "{{ [title]|map('attr', '__class__')|list }}",
        "{{ [title]|sort(attribute='__class__') }}",
        "{{ [title]|groupby('__class__') }}",
        "{{ [title]|sum(attribute='__class__') }}",
        "{{ '{0.__class__}'.format(title) }}",
        "{{ ''.upper.__self__ }}",
        "{{ payload.clear() }}",
        "{{ payload.update({'a': 1}) }}",
        "{% include '/etc/passwd' %}",
        "{% include '../../../../etc/passwd' %}",
        "{% include '../outside.markdown.j2' %}",
        "{% import 'os' as os %}",
        "{% extends '/etc/hostname' %}",
    ],
)
def test_what_leads_out_of_the_sandbox_is_refused_with_its_line(
    template: str, tmp_path: Path
) -> None:
    (tmp_path / "outside.markdown.j2").write_text("App outside", encoding="utf-8")
    inside = tmp_path / "inside"
    inside.mkdir()
    [problem] = problems_of(inside, template)
    assert problem.startswith("default.markdown.j2:2: ")


@pytest.mark.parametrize("name", ["config", "environ", "environment", "request", "os", "open"])
def test_a_template_knows_no_name_of_the_program(name: str, tmp_path: Path) -> None:
    assert problems_of(tmp_path, f"{{{{ title }}}}[{{{{ {name} }}}}]") == []
    assert rendered(Renderer(tmp_path, SHANGHAI), APP) == "first\nApp[]"


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{% for row in [1, 2, 3]|batch(2) %}{{ row|join('+') }};{% endfor %}", "1+2;3;"),
        ("{% for row in [1, 2, 3]|slice(2) %}{{ row|join('+') }};{% endfor %}", "1+2;3;"),
        ("[{{ 'a'|center(5) }}]", "[  a  ]"),
        ("{{ 'a\nb'|indent(2) }}", "a\n  b"),
        ("{{ '%s-%03d'|format('a', 7) }}", "a-007"),
        ("{{ '%s %.1f%%' % ('a', 2.25) }}", "a 2.2%"),
        ("|{{ '%10s%10s%-10s|' % ('a', 'b', 'c') }}", "|         a         bc         |"),
        ("{{ '100%% of %(a)s (%(a)5.1f)' % {'a': 2.25} }}", "100% of 2.25 (  2.2)"),
        ("{{ 'a' ~ 1 ~ ('b' + 'c') ~ 'd' * 3 }}", "a1bcddd"),
        ("{{ 7 * 6 + 2 ** 3 - 9 // 2 }}", "46"),
        ("{{ 'a-b'.replace('-', '+').upper() }}", "A+B"),
        ("{{ ', '.join(['a', 'b']) }}", "a, b"),
        ("{% for x in range(3) if x != 1 %}{{ loop.index }}/{{ loop.length }} {% endfor %}|",
         "1/2 2/2 |"),
        ("{{ 'ab'.ljust(4) }}|{{ '7'.zfill(3) }}", "ab  |007"),
        ("{% macro f(n) %}{{ n }}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(9) }}",
         "9876543210"),
        ("{% for x in [[1, [2]], 3] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
         "123"),
        ("{% set x %}<{% for a in range(5) %}{{ a }}{% endfor %}>{% endset %}{{ x }}", "<01234>"),
        ("{% for a in range(9999) %}{% endfor %}done", "done"),
    ],
)  # fmt: skip
def test_the_limits_are_in_no_ordinary_template_s_way(
    template: str, shown: str, tmp_path: Path
) -> None:
    renderer = Renderer(folder(tmp_path, default__markdown=template), SHANGHAI)
    assert renderer.problems == []
    assert rendered(renderer, APP) == shown


def test_a_template_in_the_same_folder_can_be_included(tmp_path: Path) -> None:
    path = folder(tmp_path, default__markdown="{% include '_part.j2' %}", _part="<{{ title }}>")
    renderer = Renderer(path, SHANGHAI)
    assert renderer.problems == []
    assert rendered(renderer, APP) == "<App>"


# Budgets

_SLOW = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"


def test_a_template_that_becomes_slow_on_an_event_gives_way_to_its_last_good_version(
    tmp_path: Path,
) -> None:
    path = folder(tmp_path, default__markdown="good {{ title }}")
    renderer = Renderer(path, SHANGHAI)
    folder(tmp_path, default__markdown="{% if title == 'App' %}" + _SLOW + "{% endif %}new")
    began = time.process_time()
    assert rendered(renderer, APP) == "good App"
    assert time.process_time() - began < MAX_CPU
    [problem] = sorted(renderer.problems_by_file.values())
    assert problem.startswith("default.markdown.j2:1: ") and "1 s of CPU" in problem


def test_the_second_of_cpu_is_for_all_renderings_that_fitting_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", QUICK)
    some = _SLOW.replace("9999", "400", 1).replace("9999", "400")
    path = folder(tmp_path, default__markdown=some + "{{ title }}{{ notes }}")
    renderer = Renderer(path, SHANGHAI)
    long = Event("x", {"title": "App", "notes": "n" * 9999}, 0.0)
    assert renderer.problems == []
    began = time.process_time()
    assert "App" in rendered(renderer, long)
    assert time.process_time() - began < 4 * QUICK
    assert "of CPU" in renderer.problems_by_file["default.markdown.j2"]


def test_an_ordinary_template_after_a_costly_one_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", QUICK)
    path = folder(
        tmp_path,
        slow__markdown="{% if title == 'App' %}" + _SLOW + "{% endif %}x",
        large__markdown="{% if title == 'App' %}{% set x %}{% for a in range(9999) %}"
        "{{ 'x' * 1000 }}{% endfor %}{% endset %}{% endif %}x",
        default__markdown="{% for a in range(999) %}{% endfor %}fine {{ 'x' * 1000 }}",
    )
    renderer = Renderer(path, SHANGHAI)
    assert renderer.problems == []
    for costly in ("slow", "large"):
        assert "**App**" in rendered(renderer, APP, Target("default", template=costly))
        assert rendered(renderer, APP) == "fine " + "x" * 1000
    assert [p.split(": ")[0] for p in sorted(renderer.problems_by_file.values())] == [
        "large.markdown.j2:1",
        "slow.markdown.j2:1",
    ]


def test_a_costly_template_in_one_thread_is_nothing_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", QUICK)
    path = folder(
        tmp_path,
        slow__markdown="{% if title == 'App' %}" + _SLOW + "{% endif %}x",
        default__markdown="fine {{ title }}",
    )
    renderer = Renderer(path, SHANGHAI)
    slow = threading.Thread(
        target=renderer.messages, args=(APP, Target("default", template="slow"))
    )
    slow.start()
    content = {rendered(renderer, APP) for _ in range(50)}
    slow.join()
    assert content == {"fine App"}
    assert [p.split(": ")[0] for p in sorted(renderer.problems_by_file.values())] == [
        "slow.markdown.j2:1"
    ]


@pytest.fixture
def environment() -> BridgeEnvironment:
    return BridgeEnvironment("markdown", SHANGHAI, DictLoader({}))


def test_a_text_of_many_pieces_may_be_as_long_as_the_limit(
    environment: BridgeEnvironment,
) -> None:
    assert len(environment.concat(["x" * MAX_OUTPUT])) == MAX_OUTPUT
    with pytest.raises(TooCostlyError, match="1048576 characters"):
        environment.concat(["x" * MAX_OUTPUT, "x"])


def test_the_clock_runs_only_inside_of_limited_and_only_for_its_thread(
    environment: BridgeEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", -1.0)  # over as soon as it begins
    environment.tick()
    with pytest.raises(TooCostlyError, match="of CPU"), environment.limited():
        elsewhere = threading.Thread(target=environment.tick)
        elsewhere.start()
        elsewhere.join()
        environment.tick()
    environment.tick()


@pytest.mark.parametrize("text", ["%(", "%(a", "%", "%(a)", "% ", "%1"])
def test_a_value_is_no_costly_format(text: str, environment: BridgeEnvironment) -> None:
    template = environment.from_string("{{ value % 1 }}")
    began = time.process_time()
    with pytest.raises((TooCostlyError, TypeError, ValueError)):
        template.render(value=text * 300_000)
    assert time.process_time() - began < 2  # generous: it takes a tenth of that


@pytest.mark.parametrize("source", ["{{ f(N) }}", "{{ f(x=N) }}", "{{ 'x'|center(N) }}"])
def test_a_number_may_be_as_large_as_the_limit_and_no_larger(
    source: str, environment: BridgeEnvironment
) -> None:
    def f(x: int) -> str:
        return str(x)

    for number in (MAX_NUMBER, -MAX_NUMBER):
        environment.from_string(source.replace("N", str(number))).render(f=f)
    for number in (MAX_NUMBER + 1, -MAX_NUMBER - 1):
        with pytest.raises(TooCostlyError, match=f"a number above {MAX_NUMBER}"):
            environment.from_string(source.replace("N", str(number))).render(f=f)


@pytest.mark.parametrize(
    ("fits", "too_large"),
    [
        ("a * 2", "a * 3"),
        ("2 * a", "3 * a"),
        ("a + a", "a + a + a"),
        ("a ~ a", "a ~ a ~ a"),
        ("[0] * 1048576", "[0] * 1048577"),
        ("2 ** 500000", "2 ** 1048577"),
        ("'%9999s' % 1", "'%1048577s' % 1"),
    ],
)
def test_an_operator_makes_as_much_as_the_limit_and_no_more(
    fits: str, too_large: str, environment: BridgeEnvironment
) -> None:
    half = "x" * (MAX_OUTPUT // 2)
    template = "{% set made = WHAT %}ok"
    assert environment.from_string(template.replace("WHAT", fits)).render(a=half) == "ok"
    with pytest.raises(TooCostlyError, match=r"would make more than|a width above"):
        environment.from_string(template.replace("WHAT", too_large)).render(a=half)


if __name__ == "__main__":  # the process of its own that the fixture `ends` starts
    json.dump({name: _end_of(template) for name, template in COSTLY.items()}, sys.stdout)
