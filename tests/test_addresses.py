"""Where the bridge lives: the path in front of its own, the host it listens at, its clients."""

import socket

import pytest

from bridge.addresses import any_host, listen_anywhere, path_of, plain, set_path


def paths(path: str, own: str = "", said: str | None = None) -> tuple[str, str]:
    """Return SCRIPT_NAME and PATH_INFO as the app gets them."""
    environ = {"PATH_INFO": path, "SCRIPT_NAME": ""}
    if said is not None:
        environ["HTTP_X_FORWARDED_PREFIX"] = said
    set_path(environ, own)
    return environ["SCRIPT_NAME"], environ["PATH_INFO"]


@pytest.mark.parametrize("path", ["/pgyer/x", "/console/", "/healthz", "/readyz/", "/metrics", "/"])
def test_a_proxy_may_leave_the_path_out_or_not(path: str) -> None:
    for own, said in (("/a/b", None), ("", "/a/b"), ("", "/a/b/"), ("", "/x, /a/b"), ("/a/b", "")):
        assert paths(path, own, said) == ("/a/b", path)
        assert paths(f"/a/b{path}", own, said) == ("/a/b", path)
        assert paths(f"//a//b/{path}", own, said) == ("/a/b", path)
    assert paths("/a/b", "/a/b") == ("/a/b", "/")


def test_only_the_whole_path_is_taken_away() -> None:
    assert paths("/bridge2/pgyer/x", "/bridge")[1] == "/bridge2/pgyer/x"
    assert paths("/bridgepgyer/x", "/bridge")[1] == "/bridgepgyer/x"
    assert paths("/bridge/other", "/bridge")[1] == "/bridge/other"


def test_it_may_live_at_the_name_of_one_of_its_own_paths() -> None:
    for path in ("/pgyer/a-token", "/pgyer/pgyer/a-token"):
        assert paths(path, "/pgyer") == ("/pgyer", "/pgyer/a-token")


def test_links_are_by_the_public_address_also_where_a_proxy_says_another() -> None:
    assert paths("/inner/console/", "/outer/inner", "/inner") == ("/outer/inner", "/console/")


@pytest.mark.parametrize(
    "said",
    ["//evil.example", "/a//evil.example", "/..", "/a/../b", "/.", "evil", "https://evil.example",
     "/a\r\nSet-Cookie: x=1", "/a\nb", "/a\0", "/a b", "/a;b", "/a?b", "/a#b", "/%2f%2fevil",
     "/\\evil", "/" + "a" * 65, "/a" * 9, "/路", "/a,", ""],
)  # fmt: skip
def test_a_prefix_that_no_proxy_would_say_is_ignored(said: str) -> None:
    assert paths("/console/", "", said) == ("", "/console/")


@pytest.mark.parametrize(
    ("url", "path"),
    [("", ""), ("https://a.example", ""), ("https://a.example/b/c", "/b/c"),
     ("https://a.example//b", "/b"),
     ("https://a.example/%E8%B7%AF", "/路".encode().decode("latin-1")),
     ("https://a.example/路", "/路".encode().decode("latin-1"))],
)  # fmt: skip
def test_the_path_of_the_public_address(url: str, path: str) -> None:
    assert path_of(url) == path


@pytest.mark.parametrize(
    ("address", "written"),
    [("::ffff:203.0.113.9", "203.0.113.9"), ("::FFFF:cb00:7109", "203.0.113.9"),
     ("203.0.113.9", "203.0.113.9"), ("2001:db8::1", "2001:db8::1"), ("::ffff:no", "::ffff:no"),
     ("", "")],
)  # fmt: skip
def test_an_ipv4_address_is_written_as_one(address: str, written: str) -> None:
    assert plain(address) == written


def test_where_it_listens_both_kinds_of_address_reach_it() -> None:
    with listen_anywhere(0) as listening:
        port = listening.getsockname()[1]
        hosts = ["127.0.0.1", "::1"] if any_host() == "[::]" else ["127.0.0.1"]
        for host in hosts:
            socket.create_connection((host, port), 20).close()
        with pytest.raises(OSError, match="in use"):
            listen_anywhere(port)


@pytest.mark.parametrize("failing", ["socket", "V6ONLY"])
def test_without_ipv6_or_with_it_alone_it_listens_to_ipv4(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if failing == "socket":

        def refuse(*_: object, **more: object) -> None:
            raise OSError("no such address family")

        monkeypatch.setattr(socket.socket, "bind", refuse)
    else:
        monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: 1)
    assert any_host() == "0.0.0.0"
