"""Crash logs: the exception and the first lines of its stack."""

import time
from pathlib import Path

import pytest
from rendering import SHANGHAI, SHIPPED_RENDERER, TO_DEFAULT, folder, rendered

from bridge.messages.markdown import shorten, size, stack
from bridge.messages.renderer import Renderer
from bridge.model import Event, Target

FRAMES = [f"\tat com.example.shop.Cart.step{n}(Cart.java:{n})" for n in range(40)]
HEADER = ["Incident Identifier: 6156848E-344E-4D9E-84E0-87AFD0D0AE7B", "Process: Shop [1234]", ""]


@pytest.mark.parametrize(
    "exception",
    [
        "java.lang.NullPointerException: Attempt to invoke a method on a null object",
        "FATAL EXCEPTION: main",
        "Exception Type:  EXC_BAD_ACCESS (SIGSEGV)",
        "*** Terminating app due to uncaught exception 'NSRangeException', reason: 'index 3'",
        "signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0",
        "Fatal signal 6 (SIGABRT)",
        "TypeError: undefined is not an object",
        "Termination Signal: SIGKILL",
        "fatal: out of memory",
        "Crashed by signal 6",
        "Thread 1: EXC_BREAKPOINT (code=1)",
        "    TypeError: of an inner line",
    ],
)
def test_it_begins_with_the_line_that_names_the_exception(exception: str) -> None:
    log = "\n".join([*HEADER, exception, *FRAMES])
    assert stack(log).split("\n") == [
        exception, *FRAMES[:12], f"…（已截断，共 {len(log)} 字）"
    ]  # fmt: skip
    assert stack("\n".join([exception, *FRAMES[:12]])) == "\n".join([exception, *FRAMES[:12]])


@pytest.mark.parametrize(
    "frame",
    [
        "\tat com.example.shop.ErrorHandler.onException(ErrorHandler.java:1)",
        "3   Shop   0x0000000104a1c2d8 -[Cart handleException:] + 64",
        "#03 pc 0000000000023a4c  /system/lib64/libc.so (fatal+12)",
    ],
)
def test_a_frame_that_holds_such_a_word_is_not_its_begin(frame: str) -> None:
    log = "\n".join(["Thread 0 Crashed:", *[frame] * 5])
    assert stack(log) == log


@pytest.mark.parametrize("line", ["ErrorReporter 3.1", "DESIGNATED device", "SIGN IN: done"])
def test_a_line_with_a_longer_word_is_not_its_begin(line: str) -> None:
    assert stack("\n".join([line, "java.lang.Error: x", *FRAMES])).startswith(
        "java.lang.Error: x\n"
    )


def test_a_log_on_one_line_is_cut_by_its_length() -> None:
    shown = stack("libsystem_kernel.dylib 0x3094c49c mach_msg_trap 20 " * 200)
    assert 12 * 120 < size(shown) <= 13 * 120
    assert shown.endswith("…（已截断，共 10200 字）")


def test_a_log_that_was_cut_before_keeps_its_true_length() -> None:
    cut = "\n".join(["java.lang.Error: x", *FRAMES[:20]]) + "…（已截断，共 987654 字）"
    assert stack(cut).endswith(f"{FRAMES[11]}\n…（已截断，共 987654 字）")
    assert stack("short…（已截断，共 987654 字）").count("已截断") == 1


@pytest.mark.parametrize("log", ["", "\n", "one line", "one\ntwo", "Error: in X", "Error: x  "])
def test_a_short_log_is_whole(log: str) -> None:
    assert stack(log) == log.strip("\n")


@pytest.mark.parametrize("text", ["a…（已截断，共 12 字）b", "a…（已截断，共  字）"])
def test_what_only_looks_like_the_mark_of_a_cut_is_text(text: str) -> None:
    log = text * 9
    assert shorten(log, 60).endswith(f"…（已截断，共 {len(log)} 字）")


@pytest.mark.parametrize("length", [14, 40, 4000])
def test_a_crash_shows_the_first_lines_and_the_whole_log_follows(length: int) -> None:
    lines = ["java.lang.IllegalStateException: 购物车为空", *FRAMES, *["\tat x.y.Z(Z.java)"] * 4000]
    log = "\n".join(lines[:length])
    event = Event("crashlog", {"title": "商城", "link": "https://a.b/c", "notes": log}, 0.0)
    main, file = SHIPPED_RENDERER.messages(event, Target("default", attach=("log",)))
    text = str(main.body["content"])
    assert "购物车为空" in text and text.count("\tat ") == 12
    assert f"…（已截断，共 {len(log)} 字）" in text
    assert text.endswith("[查看应用](https://a.b/c)")
    assert file.msgtype == "file" and file.body["data"].decode() == log
    assert SHIPPED_RENDERER.preview(event, TO_DEFAULT)[1]  # it counts as cut


def test_a_crash_that_is_shown_whole_brings_no_file() -> None:
    log = "\n".join(["java.lang.Error: x", *FRAMES[:12]])
    event = Event("crashlog", {"title": "商城", "notes": log}, 0.0)
    text = rendered(SHIPPED_RENDERER, event, Target("default", attach=("log",)))
    assert log in text and "已截断" not in text


def test_a_template_says_how_many_lines(tmp_path: Path) -> None:
    path = folder(tmp_path, default__text="{{ notes|stack(2) }}")
    event = Event("", {"notes": "\n".join(["Error: <@all>", *FRAMES])}, 0.0)
    text = rendered(Renderer(path, SHANGHAI), event)
    assert text.count("\n") == 3 and "<@" not in text


def test_in_a_card_a_stack_that_was_cut_brings_the_file(tmp_path: Path) -> None:
    card = (
        '{"articles": [{"title": "A", "description": {{ notes|stack(1) }}, "url": "https://a.b"}]}'
    )
    renderer = Renderer(folder(tmp_path, default__news=card), SHANGHAI)
    event = Event("", {"notes": "\n".join(["Error: x", *FRAMES])}, 0.0)
    main, file = renderer.messages(event, Target("default", attach=("log",)))
    assert (main.msgtype, file.msgtype) == ("news", "file")


@pytest.mark.parametrize("char", ["\n", " ", "\t", " \n", "\u3000\n", "at \n", "#1 ", "1", "e"])
def test_a_log_of_one_repeated_character_takes_no_time(char: str) -> None:
    log = char * (1_000_000 // len(char)) + "end"
    began = time.process_time()
    stack(log)
    assert time.process_time() - began < 2  # generous: it takes a fiftieth of that
