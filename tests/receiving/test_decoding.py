"""An event is found in whatever wraps it: charset, form, quotes, compression, array."""

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from bodies import (
    ANY_OBJECT,
    FORM,
    MULTIPART,
    NOW,
    PLAIN,
    TRADITIONAL,
    UPDATE,
    WRAPPINGS,
    as_read,
    decode_one,
    dumps,
    fields_of,
    multipart,
    nested,
    raw_deflate,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.errors import UndecodableError
from bridge.model import FIELDS
from bridge.receiving import decoding as pgyer
from bridge.receiving.masking import mask


@pytest.mark.parametrize("name", ANY_OBJECT)
def test_it_finds_the_event_in(name: str) -> None:
    event = decode_one(*WRAPPINGS[name](UPDATE))
    assert event.fields == UPDATE
    assert event.type == "updateVersion"
    assert event.received_at == NOW
    assert event.error == ""


def test_it_finds_the_event_in_a_percent_encoded_array_in_lower_case() -> None:
    body, *said = WRAPPINGS["a percent-encoded array"]({"type": "feedback", "title": "声动"})
    assert b"%5b%7b" in body
    assert decode_one(body, *said).fields["title"] == "声动"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/json; charset=gbk",
        "application/json; charset=GB2312",
        "application/json; charset=cp936",
        "application/json; charset=utf-8",
        "application/json; charset=latin-1",
    ],
)
@pytest.mark.parametrize("charset", ["gbk", "gb18030"])
def test_it_reads_gbk_declared_or_not(content_type: str, charset: str) -> None:
    assert decode_one(dumps(PLAIN).encode(charset), content_type).fields == PLAIN


def test_it_reads_a_short_gbk_body_as_gbk() -> None:
    assert decode_one('{"title":"应用"}'.encode("gbk")).fields["title"] == "应用"


def test_it_reads_gb18030_with_characters_that_gbk_lacks() -> None:
    assert decode_one(dumps(UPDATE).encode("gb18030"), "text/plain").fields == UPDATE


@pytest.mark.parametrize("charset", ["big5", "Big5", "big5-hkscs"])
def test_it_reads_big5_where_it_is_declared(charset: str) -> None:
    event = decode_one(dumps(TRADITIONAL).encode("big5"), f"text/plain; charset={charset}")
    assert event.fields == fields_of(TRADITIONAL)


@pytest.mark.parametrize(
    ("charset", "title"),
    [("shift_jis", "テスト版カナ"), ("euc_jp", "テスト版カナ"), ("euc_kr", "테스트")],
)
def test_it_reads_japanese_and_korean_where_they_are_declared(charset: str, title: str) -> None:
    body = dumps({"title": title}).encode(charset)
    assert decode_one(body, f"text/plain; charset={charset}").fields["title"] == title
    assert decode_one(body).fields["title"] != title


def test_a_charset_that_cannot_be_a_name_does_no_harm() -> None:
    body = "{'title': '应用'}".encode()
    assert decode_one(body, 'text/plain; charset="a\0b"').fields["title"] == "应用"


@pytest.mark.parametrize(
    ("charset", "content_type"),
    [("gbk", FORM), ("gbk", ""), ("utf-8", f"{FORM}; charset=gbk"), ("gbk", f"{FORM};charset=gbk")],
)
def test_it_reads_a_percent_encoded_form_in_gbk(charset: str, content_type: str) -> None:
    body = urlencode(PLAIN, encoding=charset).encode()
    assert decode_one(body, content_type).fields == PLAIN


def test_it_reads_json_in_a_form_field_in_gbk() -> None:
    body = urlencode({"payload": dumps(PLAIN)}, encoding="gbk").encode()
    assert decode_one(body, FORM).fields == PLAIN


def test_it_reads_a_form_that_is_not_percent_encoded() -> None:
    body = "type=feedback&title=应用&notes=a b"
    for charset in ("utf-8", "gbk"):
        fields = decode_one(body.encode(charset), FORM).fields
        assert fields == fields_of({"type": "feedback", "title": "应用", "notes": "a b"})


def test_it_reads_multipart_fields_in_gbk() -> None:
    parts = {name: value.encode("gbk") for name, value in PLAIN.items()}
    assert decode_one(multipart(parts), MULTIPART).fields == PLAIN


@pytest.mark.parametrize("content_type", [MULTIPART, ""])
def test_it_reads_a_multipart_file_in_gbk(content_type: str) -> None:
    body = multipart({"file": dumps(PLAIN).encode("gbk")}, "event.json")
    assert decode_one(body, content_type).fields == PLAIN


def test_it_reads_a_form_with_names_that_pgyer_does_not_use_where_it_says_so() -> None:
    body = b"color=blue&build.number=7&a[b]-c=&empty="
    payload = {"color": "blue", "build.number": "7", "a[b]-c": "", "empty": ""}
    assert decode_one(body, FORM).payload == payload
    with pytest.raises(UndecodableError):
        pgyer.decode(body, NOW)


def test_it_reads_multipart_fields_with_names_that_pgyer_does_not_use() -> None:
    assert decode_one(multipart({"color": "blue"}), MULTIPART).payload == {"color": "blue"}


@pytest.mark.parametrize("name", ["buildName", "buildKey"])
def test_it_knows_an_undeclared_form_by_a_field_of_pgyer_s_api(name: str) -> None:
    event = decode_one(f"{name}=a-b&color=blue".encode())
    assert (event.payload[name], event.payload["color"]) == ("a-b", "blue")


def test_only_the_first_equals_sign_ends_a_field_s_name() -> None:
    fields = decode_one(b"type=feedback&notes=a=b=c").fields
    assert fields == fields_of({"type": "feedback", "notes": "a=b=c"})


def test_json_in_a_form_may_begin_with_a_blank_or_be_a_field_s_name() -> None:
    assert decode_one(b"payload=+%7B%22type%22:%22feedback%22%7D").type == "feedback"
    assert decode_one(b"%7B%22type%22:%22feedback%22%7D=[x").type == "feedback"


def test_it_finds_the_boundary_of_multipart_in_the_body_or_in_the_content_type() -> None:
    lower = multipart({"type": "feedback"}).replace(b"Content-D", b"content-d")
    assert decode_one(lower).type == "feedback"
    unix = multipart({"type": "feedback"}).replace(b"\r\n", b"\n")
    assert decode_one(unix).type == "feedback"
    typed = lower.replace(b"content-d", b"Content-Type: text/plain\r\nContent-D")
    assert decode_one(typed, MULTIPART).type == "feedback"
    assert decode_one(typed.replace(b"\r\n", b"\n"), MULTIPART).type == "feedback"
    assert decode_one(b'[{"notes": "--x"}]', "application/json; boundary=x").fields["notes"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: (urlencode(v).encode(), FORM),
        lambda v: (urlencode(v).encode(), ""),
        lambda v: (multipart(v), MULTIPART),
    ],
    ids=["form", "undeclared form", "multipart"],
)
@pytest.mark.parametrize("notes", ['{"type": "crashlog", "title": "evil"}', '[{"title": "evil"}]'])
def test_a_form_whose_notes_look_like_json_is_not_hijacked(
    wrap: Callable[[Mapping[str, str]], tuple[bytes, str]], notes: str
) -> None:
    event = decode_one(*wrap({"notes": notes, "type": "feedback", "title": "good"}))
    assert event.type == "feedback"
    assert event.fields == fields_of({"notes": notes, "type": "feedback", "title": "good"})


def test_each_object_of_an_array_becomes_an_event() -> None:
    events = pgyer.decode(
        '[{"type": "feedback"}, "{\'title\': \'应用\'}", [{"action": "删除应用"}]]'.encode(), NOW
    )
    assert [event.type for event in events] == ["feedback", "", "deleteApp"]
    assert [event.fields["title"] for event in events] == ["", "应用", ""]
    assert [json.loads(event.raw) for event in events] == [event.payload for event in events]
    assert {event.received_at for event in events} == {NOW}


def test_it_takes_as_many_events_as_it_says_and_no_more() -> None:
    assert len(pgyer.decode(dumps([{}] * pgyer.MAX_EVENTS).encode(), NOW)) == pgyer.MAX_EVENTS
    with pytest.raises(UndecodableError, match="too many events"):
        pgyer.decode(dumps([{}] * (pgyer.MAX_EVENTS + 1)).encode(), NOW)


def test_it_takes_objects_in_objects() -> None:
    assert decode_one(nested(50)).payload == json.loads(nested(50))
    assert decode_one(nested(50, "'")).payload == json.loads(nested(50))


@pytest.mark.parametrize(
    "body",
    [
        "\n{'title': '应用',}".encode("gbk"),
        '{"title":"应用","type":"feedback"}'.encode(),
        b'{"title":"x","type":"feedback","more":[1]}',
    ],
    ids=["odd", "usual", "with a field that Pgyer does not send"],
)
def test_the_event_keeps_the_bytes_and_the_time_of_its_body(body: bytes) -> None:
    packed = gzip.compress(body, mtime=0)
    for event in (decode_one(body), decode_one(packed)):  # as they are once unpacked
        assert (event.raw, event.received_at, event.error) == (body, NOW, "")


@pytest.mark.parametrize(
    "notes",
    [
        "{'api_key':'sesame'}",
        "[api_key:sesame]",
        "{api_key:sesame}",
        "a?token=sesame",
        "#token=sesame",
    ],
)
def test_a_secret_in_a_value_of_a_usual_body_is_not_kept(notes: str) -> None:
    event = decode_one(dumps({"title": "x", "notes": notes}).encode())
    assert event.fields["notes"] == notes.replace("sesame", "***").replace("token=", "")
    assert b"sesame" not in event.raw


def test_a_usual_body_with_a_raw_nul_in_a_value_is_read_without_it() -> None:
    assert decode_one(b'{"title":"a\0b"}').fields["title"] == "ab"


def test_an_event_of_many_is_kept_as_json_that_a_person_can_read() -> None:
    first, _ = pgyer.decode('[{"title": "应用"}, {}]'.encode(), NOW)
    assert first.raw == '{"title": "应用"}'.encode()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_what_is_packed_is_read_also_where_another_way_of_packing_is_declared(
    encoding: str,
) -> None:
    for pack in (gzip.compress, zlib.compress, raw_deflate):
        assert decode_one(pack(b'{"title": "x"}'), "", encoding).fields["title"] == "x"


@pytest.mark.parametrize("mark", ['"', "'"])
def test_raw_line_breaks_are_read_inside_and_outside_of_strings_of_every_kind(mark: str) -> None:
    body = r"""
        {title: MM,
         notes: Mx\My
z\t
M,  link: Ma\\M, type: MfeedbackM,}""".replace("M", mark)
    fields = decode_one(body.encode()).fields
    assert fields == fields_of({"notes": f"x{mark}y\nz", "link": "a\\", "type": "feedback"})


def test_raw_line_breaks_may_stand_beside_escaped_ones() -> None:
    assert decode_one(b"{'notes': 'a\\\nb\nc', 'title': 'x'}").fields["title"] == "x"


@pytest.mark.parametrize("wrap", [lambda text: f"[{text}]", dumps], ids=["array", "string"])
def test_an_object_in_three_wrappings_is_found_and_in_four_is_not(
    wrap: Callable[[str], str],
) -> None:
    body = wrap(wrap(wrap('{"title": "x"}')))
    assert decode_one(body.encode()).fields["title"] == "x"
    with pytest.raises(UndecodableError):
        pgyer.decode(wrap(body).encode(), NOW)


# Without NUL and lone surrogates, which no message takes, and without U+FEFF, which is a BOM where
# a part of a form begins with it.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=40)
tricky = st.text(st.sampled_from("\\'\"{}[]:,=&%+#;/*\n\r\t u0041应😀\u2028-"), max_size=40)
objects = st.dictionaries(st.sampled_from(FIELDS), texts | tricky, min_size=1)


@pytest.mark.sweep
@pytest.mark.parametrize("name", ANY_OBJECT)
@given(values=objects)
@settings(deadline=None, max_examples=12)
def test_any_object_comes_through(name: str, values: dict[str, str]) -> None:
    event = decode_one(*WRAPPINGS[name](values))
    shown = {key: as_read(mask(value)) for key, value in values.items()}
    assert event.fields == fields_of(shown)


@given(payload=st.dictionaries(st.sampled_from([*FIELDS, "api_key"]), texts | tricky | st.none()))
@example(payload={"notes": "a?token=x", "timestamp": 7})
@example(payload={"notes": "[1]", "link": '{"key": "x"}'})
@example(payload={"title": {"a": 1}})
@settings(deadline=None)
def test_a_usual_body_is_read_like_any_other(payload: dict[str, Any]) -> None:
    body = dumps(payload).encode()
    assert decode_one(body).payload == decode_one(b" " + body).payload
    assert decode_one(body).type == decode_one(b" " + body).type
