"""What is named like a secret is in no part of an event; everything else stays as it came."""

import json
from urllib.parse import urlencode

import pytest
from bodies import FORM, NOW, decode_one, dumps, multipart

from bridge.receiving.decoding import undecodable
from bridge.receiving.masking import mask

SECRET = "s3cr3t/w0rd"


@pytest.mark.parametrize(
    "name",
    [
        "buildPassword",
        "build_password",
        "PASSWORD",
        "passwd",
        "pwd",
        "admin-pass",
        "api_key",
        "_api_key",
        "apikey",
        "API_KEY",
        "x-api-key",
        "userKey",
        "uKey",
        "user_key2",
        "appKey",
        "buildFileKey",
        "key",
        "accessKeyId",
        "privateKey",
        "PRIVATE_KEY",
        "secret",
        "clientSecret",
        "secrets",
        "token",
        "access_token",
        "tokenValue",
        "X-Cos-Security-Token",
        "Authorization",
        "credentials",
        "cookie",
        "sign",
        "signature",
        "appInstallAnswer",
        "密码",
        "安装密码",
        "密钥",
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_value_with_the_name_of_a_secret_is_masked(name: str, depth: int) -> None:
    value: object = {"title": "OooPlay", name: SECRET, "notes": "more"}
    for _ in range(depth):
        value = {"data": [value]}
    event = decode_one(dumps(value).encode())
    assert SECRET not in dumps(event.payload)
    assert SECRET.encode() not in event.raw
    assert json.loads(event.raw) == event.payload
    assert '"***"' in dumps(event.payload)
    assert "OooPlay" in dumps(event.payload)


@pytest.mark.parametrize(
    "name",
    [
        "buildKey",
        "keyboard",
        "keywords",
        "monkey",
        "turkey",
        "buildSignatureType",
        "design",
        "author",
        "passed",
        "compass",
        "buildInstallType",
        "buildQRCodeURL",
        "appQRCodeURL",
        "downloadURL",
        "关键词",
    ],
)
def test_a_value_with_an_ordinary_name_stays(name: str) -> None:
    body = dumps({"title": "OooPlay", name: "a value"}).encode()
    event = decode_one(body)
    assert event.payload == {"title": "OooPlay", name: "a value"}
    assert event.raw == body


@pytest.mark.parametrize("value", ["", False, True])
def test_a_value_that_is_no_secret_stays_whatever_its_name(value: object) -> None:
    assert mask({"buildPassword": value}) == {"buildPassword": value}


@pytest.mark.parametrize("value", [123456, 1.5, [SECRET], {"a": SECRET}])
def test_a_secret_may_be_of_any_type(value: object) -> None:
    assert mask({"user_key": value}) == {"user_key": "***"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a.example/x.apk?token=s3cr3t", "https://a.example/x.apk?***"),
        ("https://a.example/x.apk?e=1&sign=s3cr3t&b=2", "https://a.example/x.apk?***"),
        ("https://a.example/x?OSSAccessKeyId=a&Signature=s3cr3t", "https://a.example/x?***"),
        ("https://a.example/x?X-Amz-Signature=s3cr3t", "https://a.example/x?***"),
        ("https://a.example/#access_token=s3cr3t", "https://a.example/#***"),
        ("下载https://a.example/x?key=s3cr3t，谢谢", "下载https://a.example/x?***，谢谢"),
        ("a https://a.example/?key=s3cr3t\nb ?pwd=s3cr3t", "a https://a.example/?***\nb ?***"),
        ('{"buildPassword": "s3cr3t", "a": 1}', '{"buildPassword": "***", "a": 1}'),
        ("[{'token':'s3cr3t'}]", "[{'token':'***'}]"),
    ],
)
@pytest.mark.parametrize("name", ["notes", "link", "other"])
def test_a_secret_inside_a_text_is_masked(name: str, text: str, shown: str) -> None:
    event = decode_one(dumps({name: text}).encode())
    assert event.payload == {name: shown}
    assert b"s3cr3t" not in event.raw


@pytest.mark.parametrize(
    "text",
    [
        "https://www.pgyer.com/abcd?from=key",
        "https://a.example/icon?x-oss-process=image/resize,m_lfit,h_120",
        "https://a.example/search?q=token&page=2#top",
        "测试账号 test，密码: 123456",
        "is the key=value pair shown?",
        "why? token=x is in a text",
        "#123 fixed: key events",
    ],
)
def test_an_ordinary_text_stays(text: str) -> None:
    body = dumps({"notes": text}).encode()
    event = decode_one(body)
    assert event.payload == {"notes": text}
    assert event.raw == body


@pytest.mark.parametrize("name", ["downloadURL", "download_url", "downloadUri", "appDownloadLink"])
def test_a_signed_download_link_is_masked_whole(name: str) -> None:
    assert mask({name: "itms-services://?action=download&url=x"})[name] == "***"
    assert mask({name: "https://ci.example/app.apk"})[name] == "https://ci.example/app.apk"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (urlencode({"title": "A", "buildPassword": "s3cr3t"}).encode(), FORM),
        (multipart({"title": "A", "buildPassword": "s3cr3t"}), ""),
        (b"{'title': 'A', 'buildPassword': 's3cr3t',}", ""),
        (dumps([{"title": "A", "buildPassword": "s3cr3t"}]).encode(), ""),
        (dumps({"title": "A", "buildPassword": "s3cr3t"}).encode("utf-16"), ""),
        (dumps(dumps({"title": "A", "buildPassword": "s3cr3t"})).encode(), ""),
    ],
)
def test_a_secret_is_masked_in_whatever_wraps_the_event(body: bytes, content_type: str) -> None:
    event = decode_one(body, content_type)
    assert event.payload == {"title": "A", "buildPassword": "***"}
    assert json.loads(event.raw) == event.payload


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"buildPassword": "s3cr3t", ', b'{"buildPassword": "***", '),
        (b'{"buildPassword":"s3cr3t \\" more', b'{"buildPassword":"***'),
        (
            b'{"data": {"a": "b", "api_key": \'s3cr3t\', "c"',
            b'{"data": {"a": "b", "api_key": \'***\', "c"',
        ),
        (b'{"data": "{\\"userKey\\":\\"s3cr3t\\"', b'{"data": "{\\"userKey\\":\\"***'),
        (b"a: b, token: s3cr3t, c", b"a: b, token: ***, c"),
        (b"a:password:s3cr3t", b"a:password:***"),
        (b"<xml><password>s3cr3t</password></xml>", b"<xml><password>***</password></xml>"),
        ("<密码>s3cr3t</密码>".encode(), "<密码>***</密码>".encode()),
        (b"\xff\xfe password=s3cr3t&x", b"\xff\xfe password=***&x"),
        (b"data[buildPassword]=s3cr3t", b"data[buildPassword]=***"),
        (b"\xff\x00 garbage: 1 <keep> it", b"\xff\x00 garbage: 1 <keep> it"),
    ],
)
def test_a_secret_is_masked_in_a_body_that_cannot_be_decoded(body: bytes, kept: bytes) -> None:
    event = undecodable(body, NOW, "garbage")
    assert event.raw == kept
    assert "s3cr3t" not in event.payload["begins"]
    assert event.payload["bytes"] == len(body)


@pytest.mark.parametrize(
    "text",
    [
        '{"key' + "%5D" * 30_000,
        "{key" + "\\" * 100_000,
        '{"' + 'key="' * 20_000,
        "?" + "a=&" * 30_000,
        "#a" * 50_000,
        "?" + "session" * 14_000,
    ],
    ids=lambda text: text[:10],
)
def test_a_hostile_text_is_masked_in_linear_time(text: str) -> None:
    mask({"notes": text, text: text})  # a quadratic search takes minutes
    undecodable(text.encode(), NOW, "garbage")
