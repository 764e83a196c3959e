"""Whatever a value is, what is kept of it can be stored, sent and shown."""

import json
from typing import Any

import pytest
from bodies import (
    NOTHING,
    NOW,
    decode_one,
    dumps,
    fields_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import UndecodableError
from bridge.model import FIELDS
from bridge.receiving import decoding as pgyer


@pytest.mark.parametrize(
    ("written_as", "read_as"),
    [
        (r'"\u5e94\u7528"', "应用"),
        (r'"\ud83d\ude00"', "😀"),
        (r"'\ud83d\ude00'", "😀"),
        (r'"http:\/\/pgyer.com\/a"', "http://pgyer.com/a"),
        (r"'http:\/\/pgyer.com\/a'", "http://pgyer.com/a"),
        (r'"a\\nb"', r"a\nb"),
        ('"a\nb"', "a\nb"),
        ("'a\nb'", "a\nb"),
        ("'a\r\nb'", "a\r\nb"),
        ("'say \"a\nb\"'", 'say "a\nb"'),
        ('"it\'s\n"', "it's"),
        (r"'it\'s'", "it's"),
        ('"a\tb"', "a\tb"),
        (r'"a\u0000b"', "ab"),
        ('"  padded\\n"', "padded"),
        ("139", "139"),
        ("2.4", "2.4"),
        ("2.0", "2"),
        ("-1", "-1"),
        ("1e3", "1000"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", "true"),
        ("false", "false"),
        ("null", ""),
        ("NaN", ""),
        ("Infinity", ""),
        ("-Infinity", ""),
        ("1e999", ""),
        ("[]", ""),
        ("{}", ""),
        ('["a", 1]', '["a", 1]'),
        ('{"a": "应"}', '{"a": "应"}'),
        ('{"a": null}', ""),
        ("[null]", ""),
        ("[NaN]", ""),
        ("[1, Infinity, null]", "[1]"),
        ('"null"', ""),
        ('"None"', ""),
        ('"undefined"', ""),
        ('" NULL "', ""),
        ('"null pointer"', "null pointer"),
    ],
)
@pytest.mark.parametrize("field", ["notes", "timestamp"])
def test_it_reads_the_value(field: str, written_as: str, read_as: str) -> None:
    assert decode_one(f'{{"{field}": {written_as}}}'.encode()).fields[field] == read_as


@pytest.mark.parametrize("escape", [r"\ud83d", r"\ude00", r"\ude00\ud83d"])
def test_it_leaves_no_lone_surrogate(escape: str) -> None:
    event = decode_one(f'{{"notes": "a{escape}b", "x{escape}": ["{escape}"]}}'.encode())
    notes = event.fields["notes"]
    assert notes[0] == "a"
    assert notes[-1] == "b"
    dumps(event.payload).encode()  # it would raise


def test_a_raw_line_break_beside_a_lone_surrogate_does_no_harm() -> None:
    assert decode_one(b'{"notes": "a\nb\\ud83d"}').fields["notes"].startswith("a\nb")


def test_it_leaves_no_nul_anywhere() -> None:
    event = decode_one(rb'{"a\u0000": "b\u0000", "c": [{"d\u0000": "\u0000"}]}')
    assert event.payload == {"a": "b", "c": [{"d": ""}]}


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "F" * 4000, "1" + "0" * 4000])
@pytest.mark.parametrize("form", ['{{"notes": {}}}', '[{{"notes": {}}}, {{}}]'])
def test_a_number_of_any_length_does_no_harm(number: str, form: str) -> None:
    try:
        events = pgyer.decode(form.format(number).encode(), NOW)
    except UndecodableError:
        return
    for event in events:
        assert event.fields["title"] == ""
        assert json.loads(dumps(event.payload)) == event.payload


def test_missing_fields_are_empty_and_extra_ones_are_kept() -> None:
    event = decode_one('{"title": "应用", "新": {"a": [1, null, {"b": null}]}}'.encode())
    assert event.fields == fields_of({"title": "应用"})
    assert event.payload == {"title": "应用", "新": {"a": [1, {}]}}


@pytest.mark.parametrize("nothing", [None, *NOTHING, float("nan"), float("inf"), [None]])
def test_nothing_shows_where_there_is_nothing(nothing: object) -> None:
    event = decode_one(dumps(dict.fromkeys(FIELDS, nothing)).encode())
    assert event.fields == dict.fromkeys(FIELDS, "")
    assert event.type == ""


# Without NUL and lone surrogates, which no message takes, and without U+FEFF, which is a BOM where
# a part of a form begins with it.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=40)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(NOTHING)
values = st.recursive(scalars, lambda v: st.lists(v) | st.dictionaries(texts, v), max_leaves=10)


@pytest.mark.sweep
@given(payload=st.dictionaries(st.sampled_from(FIELDS) | texts, values))
@settings(deadline=None)
def test_no_value_shows_that_it_is_missing(payload: dict[str, Any]) -> None:
    event = decode_one(json.dumps(payload).encode())
    assert not set(event.fields.values()) & {*NOTHING, "nan", "inf", "-inf", "[null]", "[NaN]"}
    strict = json.dumps(event.payload, allow_nan=False)
    assert json.loads(strict) == event.payload
    assert ": null" not in strict.replace('"null"', "")
