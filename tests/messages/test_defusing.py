"""No filter, test, operator or global of Jinja2 lets a live construct through; addresses work."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import DictLoader, Template, TemplateError
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from bridge.messages.environment import BridgeEnvironment, Markup
from bridge.messages.html import to_html
from bridge.messages.markdown import ZWSP
from bridge.model import Message
from bridge.msgtypes import TEMPLATE_MSGTYPES, TEXT_LIMITS

MSGTYPES = sorted(TEXT_LIMITS)
ENVIRONMENTS = {
    msgtype: BridgeEnvironment(msgtype, ZoneInfo("UTC"), DictLoader({}))
    for msgtype in TEMPLATE_MSGTYPES
}
HOSTILE = [
    "<@all>",
    "**bold**",
    "[a](http://evil.example)",
    "![a](http://evil.example/p.png)",
    "`code`",
    '<font color="warning">red</font>',
    "# head",
    "> quote\n> quote",
    "_it_ *it*",
    "| a | b |\n|---|---|\n| c | d |",
    "- item\n1. item\n---\n===",
    "&lt;@all&gt;",
    "```\nfence\n```",
    # What becomes hostile backwards, in upper case, when tags or every other sign are gone
    ">lla@<",
    ")elpmaxe.live//:ptth(]a[",
    "*<x>*bold*<x>*",
    "<<x>@all>",
    "<x@yaz>",
    "<FONT COLOR='INFO'>",
    "%3C@all%3E",
    "a**b<@c>d",
]
# The same in few texts, for the many templates below
TOGETHER = [" ".join(HOSTILE[:6]), "\n".join(HOSTILE[6:13]), " ".join(HOSTILE[13:]), HOSTILE[0]]


@lru_cache(64)
def compiled(msgtype: str, template: str) -> Template:
    return ENVIRONMENTS[msgtype].from_string(template)


@cache
def markup(msgtype: str, x: str) -> Markup:
    """What a template's own markup makes of a text; a third of the time if made only once."""
    module = compiled(msgtype, "{% set m %}{{ x }}{% endset %}").make_module({"x": x})
    assert isinstance(module.m, Markup)
    return module.m


def rendered(msgtype: str, template: str, x: Any) -> str | None:
    """What a template makes of a value; None where it fails, as most nonsense does.

    `x` is the value as it came from outside, `m` a text in markup that the template made.
    """
    environment = ENVIRONMENTS[msgtype]
    try:
        with environment.limited():
            made = compiled(msgtype, template)
            m = markup(msgtype, x) if isinstance(x, str) else None
            return environment.render(made, {"x": x, "m": m, "payload": {"k": x, "n": 42}})
    except (
        TemplateError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        AssertionError,
    ):
        return None


@lru_cache(1 << 12)  # most filters make one of few texts
def live(msgtype: str, text: str) -> list[str]:
    """The constructs in a message whose template has none of its own."""
    found = re.findall(r"<@", text)
    if msgtype == "text":
        return found
    found += re.findall(r"\*\*|\]\(|`|</?font", text, re.IGNORECASE)
    html = to_html(Message(msgtype, {"content": text}))
    tags = {tag.lower() for tag in re.findall(r"<(\w+)", html)}
    return found + sorted(tags - {"div", "p", "br"})


DIALECTS = ("markdown", "markdown_v2")  # whose constructs are all that text has


def assert_harmless(
    template: str, values: Sequence[str] = TOGETHER, msgtypes: Sequence[str] = DIALECTS
) -> None:
    for msgtype in msgtypes:
        for value in values:
            text = rendered(msgtype, template, value)
            if text is None:  # nor does it work with the others
                break
            assert live(msgtype, text) == [], (msgtype, template, value, text)


def calls(name: str) -> Iterator[str]:
    """A filter's or a method's name with arguments of every kind."""
    yield name
    for args in ("x", "m, x", "'a', m", "2"):
        yield f"{name}({args})"


@pytest.mark.sweep
@pytest.mark.parametrize(
    "name", sorted({*FILTERS, *ENVIRONMENTS["text"].filters} - {"safe", "quote"})
)
def test_no_filter_lets_a_construct_through(name: str) -> None:
    for call in calls(name):
        for value in ("x", "m", "[m, x|string]", "{'k': x, x: m}"):
            assert_harmless(f"{{{{ {value}|{call} }}}}")
        assert_harmless(f"{{{{ [x, m]|map('{name}')|join(x|string) }}}}")
        assert_harmless(f"{{% filter {call} %}}{{{{ x }}}}{{% endfilter %}}")
        assert_harmless(f"{{% set y|{call} %}}{{{{ x }}}}{{% endset %}}{{{{ y }}}}")
        assert_harmless(f"{{{{ x|{call}|{name} }}}}{{{{ m|{call}|reverse }}}}")


@pytest.mark.sweep
@pytest.mark.parametrize("first", sorted(FILTERS.keys() - {"safe"}))
def test_no_two_filters_do_together(first: str) -> None:
    """In each order; a pair has one dialect in the one and the other in the other."""
    values = [" ".join(HOSTILE[:2] + HOSTILE[13:17])]
    for second in sorted(FILTERS.keys() - {"safe"}):
        dialects = DIALECTS if first == second else DIALECTS[first < second :][:1]
        assert_harmless(f"{{{{ m|{first}|{second} }}}}", values, dialects)


@pytest.mark.sweep
@pytest.mark.parametrize("name", [name for name in dir(str) if not name.startswith("_")])
def test_no_method_of_a_text_does(name: str) -> None:
    for call in calls(name):
        call = call if "(" in call else f"{call}()"
        for value in ("x", "m", "(m ~ x)", "'a'", "(x|string)"):
            assert_harmless(f"{{{{ {value}.{call} }}}}")
        assert_harmless(f"{{{{ x.join([m, x]) }}}}{{{{ (m|attr('{name}'))() }}}}")


@pytest.mark.parametrize("name", ["escape", "unescape", "striptags", "__html__", "__add__"])
def test_no_method_of_markup_does(name: str) -> None:
    for call in calls(name):
        assert_harmless(f"{{{{ m.{call if '(' in call else f'{call}()'} }}}}")


@pytest.mark.sweep
@pytest.mark.parametrize(
    "operator",
    ["+", "-", "*", "/", "//", "%", "**", "~", "and", "or", "==", "<", "in", "not in"],
)
def test_no_operator_does(operator: str) -> None:
    operands = ("x", "m", "2", "[m]", "(x,)", "'%s'", "{'a': x}", "'%(a)s'", "(x, m)",
                "(m ~ '%s%.1s')")  # fmt: skip
    for left, right in itertools.product(operands, operands):
        assert_harmless(f"{{{{ {left} {operator} {right} }}}}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ m[::-1] }}", "{{ m[::2] }}", "{{ m[1:] }}{{ m[:3] }}", "{{ x[::-1] }}", "{{ m[0] }}",
        "{% for i in range(30) %}{{ m[i] }}{{ m[i] }}{% endfor %}", "{{ m['replace']('a', x) }}",
        "{% for c in m %}{{ c }}{% endfor %}",
        "{% for c in x|reverse %}{{ c }}{% endfor %}", "{% for c in m|list %}{{ c }}{% endfor %}",
        "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(x) }}{{ f(m) }}{{ f(x) ~ x }}{{ f(x)[::-1] }}",
        "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{{ x }}{% endcall %}",
        "{% autoescape false %}{{ x }}{{ m }}{% set y %}{{ x }}{% endset %}{{ y }}{% endautoescape %}",  # noqa: E501
        "{% autoescape false %}{{ x ~ m }}{{ m + x }}{{ x|e }}{{ m|replace('a', x) }}{% endautoescape %}",  # noqa: E501
        "{% autoescape x %}{{ x }}{{ x ~ m }}{{ m + x }}{% endautoescape %}",
        "{% autoescape true %}{{ x }}{{ m ~ x }}{% set y %}{{ x }}{% endset %}{{ y }}{{ y[::-1] }}{% endautoescape %}",  # noqa: E501
        "{% with y = x %}{{ y }}{% endwith %}", "{{ x if x else m }}", "{{ (x, m) }}",
        "{{ {x: m} }}",
        "{{ [x, m] }}", "{{ {'k': x} }}", "{{ payload }}", "{{ payload.k }}",
        "{{ payload.items() }}",
        "{{ payload.items()|list }}", "{{ '%c%c' % (payload.n, payload.n) }}", "{{ x.k.l }}",
        "{% block b %}{{ x }}{% endblock %}{{ self.b() }}{{ self.b()[::-1] }}{{ self.b()|replace('a', '') }}",  # noqa: E501
        "{% set y = namespace(v=x) %}{{ y.v }}{{ y }}", "{% set a, b = [x, m] %}{{ a }}{{ b }}",
        "{{ x }}{{ x }}", "{{ m }}{{ m }}", "{{ x|tojson }}", "{{ {'k': x}|tojson(2) }}",
        "{{ [x]|tojson }}", "{{ m|tojson }}", "{{ x|tojson|trim }}", "{{ x|e|e }}",
        "{% filter replace('a', '')|reverse %}{{ x }}{% endfilter %}",
        "{{ x|groupby(0) }}", "{{ [{'a': x}]|groupby('a') }}", "{{ [{'a': x}]|map(attribute='a')|join(m) }}",  # noqa: E501
        "{{ [{'a': x}, {'a': m}]|join(x, attribute='a') }}", "{{ [[x, m]]|sum(start=[]) }}",
        "{{ (m|e) ~ (x|e) }}", "{{ x|color('info')|reverse if false else x }}",
    ],
)  # fmt: skip
def test_no_statement_does(template: str) -> None:
    assert_harmless(template, HOSTILE)


@pytest.mark.parametrize("name", sorted(DEFAULT_NAMESPACE))
def test_no_global_does(name: str) -> None:
    for call in calls(name):
        assert_harmless(f"{{{{ {call} }}}}")
    assert_harmless("{% set c = cycler(x, m) %}{{ c.next() }}{{ c.next() }}{{ c.current }}")
    assert_harmless(
        "{% set j = joiner(x) %}{{ j() }}{{ j() }}{% set j = joiner(m) %}{{ j() }}{{ j() }}"
    )
    assert_harmless("{{ dict(a=x, b=m) }}{{ dict(a=m).a }}{{ namespace(a=m).a[::-1] }}")
    assert_harmless("{% for i in [1, 2] %}{{ loop.cycle(x, m) }}{% endfor %}")


@pytest.mark.parametrize("name", sorted(TESTS))
def test_no_test_does(name: str) -> None:
    for args in ("", "(x)", "(m)", "(2)"):
        assert_harmless(f"{{{{ x is {name}{args} }}}}{{{{ m is {name}{args} }}}}")
        assert_harmless(f"{{{{ [x, m]|select('{name}')|list }}}}")


_PIECES = [
    *"<@>[]()*_`#!|~&;\\\n /1.-a=", "all", "lt", "http://a.b", "font", "x_y", ZWSP
]  # fmt: skip
_EXPRESSIONS = [
    "x", "m", "x|upper", "m|reverse", "m[::-1]", "m|replace('a', '')", "x ~ m", "m + x", "x[1:]",
    "[x, m, x|lower]|join", "x|tojson", "m|trim", "x|truncate(5, true, '')", "m|e", "m|center(9)",
    "m|striptags", "x|quote if false", "m|indent(1)", "x|first", "m|last", "'%s' % x", "m|title",
    "x|wordwrap(3)", "x|urlencode",
]  # fmt: skip


@pytest.mark.sweep
@pytest.mark.parametrize("msgtype", MSGTYPES)
@settings(deadline=None, max_examples=150)
@given(
    x=st.lists(st.sampled_from(_PIECES), max_size=12).map("".join),
    shown=st.lists(st.sampled_from(_EXPRESSIONS), min_size=1, max_size=3),
    between=st.sampled_from(["", " ", "\n", "x"]),
)
def test_any_pieces_in_any_expressions_are_harmless(
    msgtype: str, x: str, shown: list[str], between: str
) -> None:
    text = rendered(msgtype, between.join(f"{{{{ {each} }}}}" for each in shown), x)
    assert text is not None and live(msgtype, text) == [], text


@pytest.mark.parametrize(
    ("template", "value", "tags"),
    [
        ("{{ x }}[a](https://b.c)", "wow!", {"p", "a"}),
        ("{{ x }} a", "1.", {"p"}),
        ("{{ x }}{{ x }}\n{{ x }}", "- ", {"p", "br"}),
        ("a\n{{ x }}", "===", {"p", "br"}),
        ("**{{ x }}**", "*", {"p", "strong"}),
    ],
)
def test_a_value_changes_nothing_of_the_template_s_own_beside_it(
    template: str, value: str, tags: set[str]
) -> None:
    text = rendered("markdown_v2", template, value)
    assert text is not None
    html = to_html(Message("markdown_v2", {"content": text}))
    assert set(re.findall(r"<(\w+)", html)) == tags, html


# What is the author's own stays


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{ 'a'|color('info') ~ x }}", '<font color="info">a</font>\u200b*\u200b*x*\u200b*\u200b'),
        ("{{ [x|color('info'), 'b']|join(' ') }}", '<font color="info">\u200b*\u200b*x*\u200b*\u200b</font> b'),  # noqa: E501
        ("{{ ('a'|color('info')) + ' b' }}", '<font color="info">a</font> b'),
        ("{% macro f() %} **a** {% endmacro %}[{{ f()|trim }}]", "[**a**]"),
        ("{% set y %}**a**{% endset %}{{ y|default('b') }}{{ y|e }}", "**a****a**"),
        ("{% filter trim %} **a** {% endfilter %}", "**a**"),
        ("{{ ['a'|color('info')]|first }}", '<font color="info">a</font>'),
        ("{% set y %}**a**{% endset %}{{ y|upper|safe }}", "**A**"),
        ("{{ 'a'|color('info')|link('https://a.b') }}", '[<font color="info">a</font>](https://a.b)'),
        ("{% autoescape true %}{% set y %}*'a'{% endset %}{{ y }}{% endautoescape %}", "*'a'"),
        ("{{ '20260101 %s*' % 'b' }}", "20260101 b*\u200b"),
    ],
)  # fmt: skip
def test_markup_of_the_template_s_own_stays(template: str, shown: str) -> None:
    assert rendered("markdown", template, "**x**") == shown


def test_json_is_defused_like_any_other_text_and_shows_chinese() -> None:
    value = {"版": "**本** [a](http://b)", "n": 1}
    text = rendered("markdown", "{{ x|tojson }}", value)
    assert text is not None and text.replace(ZWSP, "") == json.dumps(value, ensure_ascii=False)
    assert rendered("news", '{"a": {{ x|tojson }}}', value) == json.dumps(
        {"a": value}, ensure_ascii=False
    )


# Addresses

ADDRESSES = [
    "https://www.pgyer.com/a_b_c",
    "https://www.pgyer.com/my_app_1-2",
    "https://www.pgyer.com/a__b",
    "https://www.pgyer.com/_abc",
    "https://www.pgyer.com/abc_",
    "http://a.b/c?d=1&e=2#f",
    "https://a.b/~me/x.y/z%20%E7%89%88?q=a+b,c'd",
    "https://a.b:8443/c_d/e=f?g_h=i_j",
]


@pytest.mark.parametrize("msgtype", MSGTYPES)
@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_leads_where_it_led(msgtype: str, address: str) -> None:
    for template in ("{{ x }}", "[x]({{ x }})", "![x]({{ x }})", "{{ 'x'|link(x) }}", "{{ m }}"):
        text = rendered(msgtype, template, address)
        assert text is not None and address in text, text


@pytest.mark.parametrize("msgtype", MSGTYPES)
@given(name=st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True))
def test_any_shortcut_leads_where_it_led(msgtype: str, name: str) -> None:
    address = f"https://www.pgyer.com/{name}"
    picture = f"https://www.pgyer.com/app/qrcode/{name}"
    for template, whole in (
        ("[x]({{ x }})", f"[x]({address})"),
        ("![x]({{ x|qrcode }})", f"![x]({picture})"),
        ("{{ 'x'|link(x) }}", f"x {address}" if msgtype == "text" else f"[x]({address})"),
    ):
        assert rendered(msgtype, template, address) == whole
    text = rendered(msgtype, "{{ x }}", address)
    assert text is not None and text.replace("%5F", "_") == address
    assert live(msgtype, text) in ([], ["a"]) or msgtype != "markdown_v2"


def test_two_underscores_of_addresses_make_no_emphasis_together() -> None:
    text = rendered("markdown_v2", "{{ x }} {{ x }}", "https://a.b/_c_")
    assert text == "https://a.b/%5Fc%5F https://a.b/%5Fc%5F"


@pytest.mark.parametrize("value", ["3.1 (77)", "32.0 MB", "2.4", "1.0.0.preview", "10) x"])
def test_numbers_are_no_list_marks(value: str) -> None:
    for msgtype in MSGTYPES:
        expected = f"{ZWSP}{value}" if value == "10) x" and msgtype == "markdown_v2" else value
        assert rendered(msgtype, "{{ x }}", value) == expected


@pytest.mark.parametrize("word", ["snake_case", "com.a_b.C", "a__b", "版_本", "a_1"])
def test_an_underscore_inside_a_word_stays_as_it_is(word: str) -> None:
    assert rendered("markdown_v2", "{{ x }}", f"see {word}.") == f"see {word}."


@pytest.mark.parametrize("word", ["_a_", "__a__", "(_a_)", "a _b_ c", "_a", "a_ _b"])
def test_an_underscore_beside_a_word_makes_no_emphasis(word: str) -> None:
    text = rendered("markdown_v2", "{{ x }}", word)
    assert text is not None and text.replace(ZWSP, "") == word
    assert live("markdown_v2", text) == []
