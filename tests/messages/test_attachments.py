"""What follows a message, the QR code and the log, and whom a message calls."""

import base64
import hashlib
import json
import struct
import zlib
from pathlib import Path

import pytest
import segno
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering import SHANGHAI, accepted, folder

from bridge.messages.attachments import log_file, qrcode
from bridge.messages.markdown import ZWSP, plain, size
from bridge.messages.mentions import follow_up, inline_mentions, mention_lists, needs_list
from bridge.messages.renderer import Renderer
from bridge.model import Event, Message, Target
from bridge.sandbox.rules import PNG

LINK = "https://www.pgyer.com/oooplay"
NOT_LINKS = ["", "null", "oooplay", "javascript:alert(1)", "ftp://a.b/c", "https://", "http://a b"]


def event(kind: str = "crashlog", **fields: object) -> Event:
    return Event(kind, fields, 0.0)


# The QR code


def picture(message: Message) -> bytes:
    assert message.msgtype == "image"
    return base64.b64decode(message.body["base64"], validate=True)


def dark_squares(png: bytes) -> list[list[bool]]:
    """Read the pixels of a PNG as segno writes it: one bit each, rows plain or relative (`up`)."""
    assert png.startswith(PNG)
    at, data, width, depth = 8, b"", 0, 0
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        chunk = png[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + chunk) == struct.unpack(">I", png[at + 8 + length :][:4])[0]
        if kind == b"IHDR":
            width, _, depth = struct.unpack(">IIB", chunk[:9])
        data += chunk if kind == b"IDAT" else b""
        at += length + 12
    assert depth == 1
    row = (width + 7) // 8 + 1
    raw = zlib.decompress(data)
    rows, former = [], bytes(row - 1)
    for start in range(0, len(raw), row):
        line = raw[start + 1 : start + row]
        assert raw[start] in (0, 2)
        if raw[start] == 2:
            line = bytes((now + then) % 256 for now, then in zip(line, former, strict=True))
        former = line
        bits = "".join(f"{byte:08b}" for byte in line)
        rows.append([bit == "0" for bit in bits[:width]])
    return rows


@pytest.mark.parametrize(
    "link", [LINK, "http://a.b", "https://例え.jp/版本?q=1&r=%20", LINK + "x" * 900]
)
def test_the_picture_is_the_qr_code_of_the_link(link: str) -> None:
    """The same squares as segno's own matrix, eight pixels each, with a quiet border of three."""
    [message] = qrcode(event(link=link))
    squares = [row[4::8] for row in dark_squares(picture(message))[4::8]]
    matrix = segno.make(link, error="m", micro=False).matrix_iter(border=3)
    assert squares == [[bool(square) for square in row] for row in matrix]


@pytest.mark.parametrize("link", [LINK, LINK + "x" * 1900])
def test_wecom_takes_the_picture(link: str) -> None:
    [message] = qrcode(event(link=link))
    data = picture(message)
    assert data.startswith(PNG) and len(data) <= 2 << 20
    assert message.body["md5"] == hashlib.md5(data).hexdigest()
    assert set(message.body) == {"base64", "md5"}
    assert accepted(message)


def test_a_short_link_makes_no_micro_qr_code_which_many_cameras_cannot_read() -> None:
    [message] = qrcode(event(link="http://a"))
    assert len(dark_squares(picture(message))) >= (21 + 6) * 8


@pytest.mark.parametrize("link", NOT_LINKS)
def test_without_a_web_link_there_is_no_picture(link: str) -> None:
    assert qrcode(event(link=link)) == []
    assert qrcode(event()) == []


@pytest.mark.parametrize("sign", ["x", "测", "é", "👍", "1", "版"])
@pytest.mark.parametrize("length", [700, 1300, 1970, 2000, 5000])
def test_a_link_of_any_length_makes_a_picture_or_none(sign: str, length: int) -> None:
    for message in qrcode(event(link=f"https://a.b/{sign * length}")):
        assert accepted(message)


# The log


def file(kind: str = "crashlog", **fields: object) -> tuple[str, bytes]:
    [message] = log_file(event(kind, **{"notes": "long enough", **fields}))
    assert message.msgtype == "file" and set(message.body) == {"filename", "data"}
    return message.body["filename"], message.body["data"]


@pytest.mark.parametrize(
    ("kind", "fields", "name"),
    [
        ("crashlog", {"title": "OooPlay", "device_type": "iOS", "os_version": "2.4",
                      "build_version": 139}, "OooPlay-iOS-2.4-139-crash.txt"),
        ("crashlog", {"title": "OooPlay"}, "OooPlay-crash.txt"),
        ("crashlog", {}, "crash.txt"),
        ("feedback", {"title": "哦哦", "os_version": "2.4"}, "哦哦-2.4-feedback.txt"),
        ("", {}, "event.txt"),
        ("", {"title": "A"}, "A-event.txt"),
        ("crashlog", {"title": "../../etc/passwd"}, "etc_passwd-crash.txt"),
        ("crashlog", {"title": "C:\\x\\..\\y"}, "C_x_.._y-crash.txt"),
        ("crashlog", {"title": 'a"b\r\nc: d*?<>|'}, "a_b_c_d-crash.txt"),
        ("crashlog", {"title": "a\x00\x07\u202eb\u200b"}, "a_b-crash.txt"),
        ("crashlog", {"title": "...", "os_version": " - "}, "crash.txt"),
        ("crashlog", {"title": "x" * 999}, f"{'x' * 40}-crash.txt"),
        ("../" * 99, {"title": "A"}, None),
    ],
)  # fmt: skip
def test_the_file_s_name_says_what_it_is_of(
    kind: str, fields: dict[str, object], name: str | None
) -> None:
    found, _ = file(kind, notes="x" * 10, **fields)
    if name is not None:
        assert found == name
    assert "/" not in found and "\\" not in found and not found.startswith(".")


@given(
    fields=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("title", "device_type", "os_version", "build_version"),
                                   st.text())
    ),
    kind=st.text(),
)  # fmt: skip
def test_any_name_is_one_that_a_header_and_a_disk_take(fields: dict[str, str], kind: str) -> None:
    name, _ = file(kind, notes="some notes", **fields)
    assert name.endswith(".txt") and len(name) > len(".txt")
    assert not name.startswith((".", "-", "_"))
    assert name == Path(name).name and name.isprintable()
    assert not set(name) & set("\"\\/:*?<>|\r\n; '")
    assert len(name) <= 5 * 41 + 4


def test_the_file_holds_the_whole_notes_in_utf_8_without_controls() -> None:
    _, data = file(notes="第一行\r\n\x1b[31m<@all> **x**\u202e\x00\tend👍")
    assert data == "第一行\n[31m<@all> **x**\tend👍".encode()


@given(notes=st.text())
def test_any_notes_are_in_the_file_as_they_were_written(notes: str) -> None:
    made = event(notes=notes)
    whole = plain(made.fields["notes"])
    written = [message.body["data"].decode() for message in log_file(made)]
    assert written == ([whole] if len(whole.encode()) > 5 else [])  # WeCom takes no less: 40006


def test_a_mebibyte_of_notes_is_whole() -> None:
    _, data = file(notes="测" * (1 << 18) + "end")
    assert data.decode() == "测" * (1 << 18) + "end"


# What follows a message, and in which order


@pytest.fixture
def renderer(tmp_path: Path) -> Renderer:
    return Renderer(folder(tmp_path, default__markdown="{{ title }} {{ notes }}"), SHANGHAI)


LONG = {"title": "A", "notes": "n" * 9999, "link": LINK}
SHORT = {**LONG, "notes": "short"}
BOTH = ("log", "qrcode")


@pytest.mark.parametrize(
    ("fields", "attach", "mention", "kinds"),
    [
        (LONG, (), (), ["markdown"]),
        (LONG, ("log",), (), ["markdown", "file"]),
        (SHORT, ("log",), (), ["markdown"]),
        (SHORT, ("qrcode",), (), ["markdown", "image"]),
        (SHORT, BOTH, (), ["markdown", "image"]),
        (LONG, BOTH, (), ["markdown", "image", "file"]),
        (LONG, ("qrcode", "log"), ("wang",), ["markdown", "image", "file"]),
        (LONG, BOTH, ("wang", "@all"), ["markdown", "text", "image", "file"]),
        (SHORT, (), ("13800138000",), ["markdown", "text"]),
        ({**LONG, "link": "none"}, BOTH, ("@all",), ["markdown", "text", "file"]),
        (LONG, ("other",), (), ["markdown"]),
    ],
)
def test_what_follows_a_message_and_in_which_order(
    renderer: Renderer,
    fields: dict[str, object],
    attach: tuple[str, ...],
    mention: tuple[str, ...],
    kinds: list[str],
) -> None:
    made = renderer.messages(event(**fields), Target("default", mention, attach=attach))
    assert [message.msgtype for message in made] == kinds


def test_what_follows_holds_the_event_s_own_link_and_whole_notes(renderer: Renderer) -> None:
    made = event(**LONG)
    target = Target("default", ("@all",), attach=BOTH)
    assert renderer.messages(made, target)[2:] == [*qrcode(made), *log_file(made)]


def test_what_follows_is_the_same_every_time(renderer: Renderer) -> None:
    target = Target("default", ("@all",), attach=BOTH)
    assert renderer.messages(event(**LONG), target) == renderer.messages(event(**LONG), target)


def test_a_log_follows_the_generic_template_as_well(tmp_path: Path) -> None:
    made = Renderer(tmp_path, SHANGHAI).messages(event(**LONG), Target("x", attach=("log",)))
    assert [message.msgtype for message in made] == ["markdown", "file"]


def test_an_empty_log_which_wecom_would_refuse_does_not_follow(tmp_path: Path) -> None:
    """A file of five bytes or fewer gets errcode 40006, and here it is not what was cut."""
    cut_elsewhere = event(title="A", foo="x" * 9999)
    made = Renderer(tmp_path, SHANGHAI).messages(cut_elsewhere, Target("x", attach=("log",)))
    assert [message.msgtype for message in made] == ["markdown"]


def test_a_link_that_no_qr_code_holds_does_not_keep_an_event_from_being_told(
    renderer: Renderer,
) -> None:
    made = event(title="A", notes="n", link="https://a.b/" + "👍" * 900)
    target = Target("default", attach=("qrcode",))
    assert renderer.messages(made, target)[0].msgtype == "markdown"


def test_more_mentions_than_a_message_has_room_for_do_not_keep_it_from_being_told(
    renderer: Renderer,
) -> None:
    users = tuple(f"a-rather-long-userid-{n}" for n in range(300))
    [main, *_] = renderer.messages(event(**SHORT), Target("default", users))
    assert "A" in str(main.body["content"])
    assert accepted(main)


@pytest.mark.sweep
@settings(deadline=None)
@given(title=st.text(), link=st.text(), notes=st.text(), times=st.integers(1, 500))
def test_whatever_follows_wecom_takes_it(
    title: str, link: str, notes: str, times: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    renderer = Renderer(tmp_path_factory.getbasetemp() / "no-such-folder", SHANGHAI)
    made = event(title=title, link="https://a.b/" + link, notes=notes * times)
    main, *follow = renderer.messages(made, Target("default", ("@all",), attach=BOTH))
    for message in (main, *(m for m in follow if m.msgtype != "file")):
        assert accepted(message)
        json.dumps(message.to_json()).encode()
    for message in follow:
        if message.msgtype == "file":
            assert 5 < len(message.body["data"]) <= 20 << 20


# Mentions


@pytest.mark.parametrize("name", ["@all", "13800138000", "19912345678"])
def test_all_and_mobile_numbers_need_a_list(name: str) -> None:
    assert needs_list(name)


@pytest.mark.parametrize(
    "name",
    ["wang", "all", "@wang", "12800138000", "1380013800", "138001380001", "+8613800138000", "",
     "13800138000x", "x13800138000", "13800138000\n"],
)  # fmt: skip
def test_a_userid_needs_none(name: str) -> None:
    assert not needs_list(name)


@pytest.mark.parametrize("msgtype", ["markdown", "text"])
def test_userids_stand_in_markdown_and_text_once_each_and_in_order(msgtype: str) -> None:
    names = ("wang", "@all", "li", "13800138000", "wang")
    assert inline_mentions(msgtype, names) == "<@wang> <@li>"
    assert inline_mentions(msgtype, ("@all",)) == inline_mentions(msgtype, ()) == ""


@pytest.mark.parametrize("msgtype", ["markdown_v2", "news", "template_card", "image"])
def test_in_other_msgtypes_nobody_stands(msgtype: str) -> None:
    assert inline_mentions(msgtype, ("wang",)) == ""


def test_the_lists_of_a_text_hold_everybody_once_and_in_order() -> None:
    names = ("li", "13900139000", "@all", "wang", "13800138000", "li", "@all", "13900139000")
    mobiles = ["13900139000", "13800138000"]
    assert mention_lists(names) == {"mentioned_list": ["@all"], "mentioned_mobile_list": mobiles}
    assert mention_lists(names, users=True) == {
        "mentioned_list": ["li", "@all", "wang"],
        "mentioned_mobile_list": mobiles,
    }


def test_an_empty_list_is_left_out() -> None:
    assert mention_lists(()) == mention_lists(("wang",)) == {}
    assert mention_lists(("wang",), users=True) == {"mentioned_list": ["wang"]}
    assert mention_lists(("13800138000",)) == {"mentioned_mobile_list": ["13800138000"]}


@pytest.mark.parametrize(
    ("msgtype", "names", "lists"),
    [
        ("markdown", (), None),
        ("markdown", ("wang",), None),
        ("markdown", ("wang", "@all"), {"mentioned_list": ["@all"]}),
        ("markdown", ("13800138000",), {"mentioned_mobile_list": ["13800138000"]}),
        ("markdown_v2", ("wang", "wang"), {"mentioned_list": ["wang"]}),
        ("news", ("wang", "@all"), {"mentioned_list": ["wang", "@all"]}),
        ("template_card", ("13800138000", "wang"),
         {"mentioned_list": ["wang"], "mentioned_mobile_list": ["13800138000"]}),
        ("news", (), None),
        ("text", ("wang", "@all", "13800138000"), None),
    ],
)  # fmt: skip
def test_a_text_follows_that_calls_whom_the_message_cannot(
    msgtype: str, names: tuple[str, ...], lists: dict[str, list[str]] | None
) -> None:
    expected = [] if lists is None else [Message("text", {"content": "A", **lists})]
    assert follow_up(msgtype, names, "A") == expected


def test_the_text_that_calls_says_what_it_is_about_harmlessly_and_briefly() -> None:
    [message] = follow_up("markdown", ("@all",), "<@li> " + "很长" * 999)
    text = str(message.body["content"])
    assert text.startswith(f"<{ZWSP}@li> 很长") and size(text) <= 210
    assert "已截断，共 2004 字" in text


def test_a_text_that_calls_about_nothing_is_still_taken() -> None:
    [message] = follow_up("markdown", ("@all",), "")
    assert accepted(message)


@given(about=st.text(), msgtype=st.sampled_from(["markdown", "markdown_v2", "news"]))
def test_a_text_that_calls_about_anything_calls_nobody_else(about: str, msgtype: str) -> None:
    [message] = follow_up(msgtype, ("@all",), about)
    assert "<@" not in message.body["content"]
    assert accepted(message)
