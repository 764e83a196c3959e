"""Whom a message calls, and how each msgtype can; pure.

A userid is called by `<@userid>` in markdown and text. `@all` and mobile numbers are called by
lists that only a text message has, and markdown_v2 and cards call nobody (document 91770): then
a text message follows.
"""

import re
from collections.abc import Sequence

from bridge.messages.markdown import defuse, shorten, size
from bridge.model import Message

_INLINE = ("markdown", "text")  # msgtypes that know `<@userid>`
_MAX_INLINE = 1000  # bytes; some 40 people
_MAX_ABOUT = 200  # bytes of the title in the message that follows


def inline(msgtype: str, names: Sequence[str]) -> str:
    """Return the mentions that can stand in the message itself, as many as leave it room."""
    users = dict.fromkeys(name for name in names if not needs_list(name))
    mentions = [f"<@{user}>" for user in users] if msgtype in _INLINE else []
    while size(" ".join(mentions)) > _MAX_INLINE:
        mentions.pop()
    return " ".join(mentions)


def calls(msgtype: str, names: Sequence[str], about: str) -> list[Message]:
    """Return the text message that calls whom the main message cannot, if there is anyone."""
    left = [name for name in names if needs_list(name) or msgtype not in _INLINE]
    if msgtype == "text" or not left:
        return []
    content = defuse(shorten(about, _MAX_ABOUT), "text")
    return [Message("text", {"content": content, **mentioned_lists(left, users=True)})]


def mentioned_lists(names: Sequence[str], users: bool = False) -> dict[str, list[str]]:
    """Return a text message's lists: `@all` and mobiles, and with `users` the userids too."""
    mobiles = [name for name in names if name != "@all" and needs_list(name)]
    others = [name for name in names if name == "@all" or (users and not needs_list(name))]
    lists = {"mentioned_list": others, "mentioned_mobile_list": mobiles}
    return {key: list(dict.fromkeys(found)) for key, found in lists.items() if found}


def needs_list(name: str) -> bool:
    """Tell whether a mention is `@all` or a mobile number, which no text can call inline."""
    return name == "@all" or re.fullmatch(r"1[3-9]\d{9}", name) is not None
